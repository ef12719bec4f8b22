"""Which sampler a stream uses, as a config says it."""

from dataclasses import dataclass
from typing import Literal

from worldsim.config.limits import Count, Positive, Steps
from worldsim.config.values import Checked
from worldsim.diffusion.ladder import sampling_ladder
from worldsim.diffusion.schedule import Schedule
from worldsim.models.world_model import WorldModel
from worldsim.sampling.acceleration import Acceleration
from worldsim.sampling.flight import Descent
from worldsim.sampling.stream import Stream

Kind = Literal["autoregressive", "rolling", "full_sequence"]


@dataclass(frozen=True)
class Sampler(Checked):
    """Attributes:
    kind: autoregressive, rolling or full_sequence; see `worldsim.diffusion.schedule`.
    steps: rungs of the ladder.
    chunk: frames that go down it together.
    shift: moves the ladder's levels toward noise; 1 leaves them even.
    window: chunks of a full sequence.
    descent: flow, or fresh noise on every rung.
    bidirectional: whether frames in flight also see the later ones among them.
    acceleration: none, compile or cuda_graphs; see `worldsim.sampling.acceleration`.
    """

    kind: Kind = "autoregressive"
    steps: Steps = 2
    chunk: Count = 1
    shift: Positive = 1.0
    window: Count = 4
    descent: Descent = "flow"
    bidirectional: bool = False
    acceleration: Acceleration = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule()

    def schedule(self) -> Schedule:
        """The staircase of this sampler.

        Raises:
            UsageError: it is impossible.
        """
        ladder = tuple(sampling_ladder(self.steps, self.shift).tolist())
        slope, window = {
            "autoregressive": (self.steps, 1),
            "rolling": (1, self.steps),
            "full_sequence": (0, self.window),
        }[self.kind]
        return Schedule(ladder, self.chunk, slope, window, self.bidirectional)

    @staticmethod
    def of(model: WorldModel, steps: int, acceleration: Acceleration = "none") -> "Sampler":
        """Frame by frame, by the ladder and the way down that `model` was trained for."""
        ladder = model.config.ladder
        return Sampler(
            steps=steps,
            shift=ladder.shift if ladder.rungs else 1.0,
            descent="fresh" if ladder.jumps_to_end else "flow",
            acceleration=acceleration,
        )

    @staticmethod
    def default(model: WorldModel) -> "Sampler":
        """`Sampler.of` with two steps, or as few as the model's ladder allows."""
        return Sampler.of(model, model.config.ladder.nearest(2))

    def stream(self, model: WorldModel) -> Stream:
        """A stream of `model` that is sampled so.

        Raises:
            UsageError: see `Stream`.
        """
        return Stream(model, self.schedule(), self.descent, acceleration=self.acceleration)
