"""How far an imagined step disagrees with itself, drawn again from the same past by other noise.

Two readings of each step: how much its frames differ, where they differ most, and how much the
judge's success probabilities do. Each is measured in what it is on held-out replays, so that 1 is
usual. The spread of an ensemble is the usual doubt of a world model (PETS, 1805.12114); here the
members are draws of one model. It tells what the model holds to be open, not what it has wrong.

Legend: N rows, n draws, V view, c latent channels, h, w latent size, A action.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from dacite import DaciteError, from_dict
from numpy.typing import NDArray
from torch import Tensor

from worldsim.errors import DataError, UsageError
from worldsim.files import read_json, write_json
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.models.world_model import WorldModelConfig
from worldsim.sampling.stream import Stream

Float = NDArray[np.float32]

SETTINGS = "resampling.json"
SQUARES = 4
"""Frames are compared in so many squares a side: a small thing fills one."""
LEAST_FRAMES, LEAST_JUDGE = 1e-4, 0.02
"""Of unit-variance latents and of probabilities: smaller spreads are no unit to measure in. A judge
is so sure of most replayed steps that without this a hundredth more or less would decide."""


@dataclass(frozen=True)
class Resampling:
    """What disagreements are measured in.

    Attributes:
        draws: n, the imagined step itself among them.
        frames: root mean square of the frames' disagreement on held-out replays.
        judge: the same of the judge's.
    """

    draws: int
    frames: float
    judge: float

    @staticmethod
    def of(draws: int, replays: Sequence[Float]) -> "Resampling":
        """From the readings `[T, 2]` of held-out replays.

        Raises:
            DataError: no draw differs from another, so there is nothing to measure in.
        """
        steps = np.concatenate([*replays, np.zeros((0, 2), np.float32)]).astype(np.float64)
        frames, judge = np.sqrt(np.square(steps).mean(axis=0)) if len(steps) else (0.0, 0.0)
        if frames < LEAST_FRAMES:
            raise DataError(
                f"{draws} draws of each of {len(steps)} replayed steps give the same frames, so "
                "their disagreement tells nothing; set judge.gate_draws=0"
            )
        return Resampling(draws, float(frames), max(float(judge), LEAST_JUDGE))

    def error(self, readings: Float) -> Float:
        """Root mean square of readings `[..., 2]`, each in what it usually is: `[...]`."""
        usual = np.array([self.frames, self.judge], np.float32)
        return np.asarray(np.sqrt(np.square(readings / usual).mean(axis=-1)), np.float32)

    def save(self, folder: Path) -> None:
        """Write it into a gate's folder."""
        write_json(folder / SETTINGS, asdict(self))

    @staticmethod
    def of_folder(folder: Path) -> "Resampling":
        """Inverse of `save`.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            return from_dict(Resampling, read_json(folder / SETTINGS))
        except (DaciteError, TypeError) as error:
            raise DataError(f"{folder / SETTINGS} describes no resampling: {error}") from error


def require_noise(config: WorldModelConfig, steps: int, asked: str) -> None:
    """Refuse to draw again what does not depend on noise.

    Args:
        config: of the world model.
        steps: denoising steps a frame.
        asked: what asks for draws, such as a key of a config.

    Raises:
        UsageError: a denoiser that is not shown pure noise gives the same frame in one step.
    """
    if steps == 1 and not config.denoiser.pure_noise:
        raise UsageError(
            f"{asked}: this world model is deterministic in one denoising step, as its denoiser is "
            "not shown pure noise (model.denoiser.pure_noise=false). Drawn again, every step is "
            "the same, so that no disagreement would mean nothing. Leave it out, and gate by "
            "gate_kind=inverse_dynamics, or take more denoising steps"
        )


def frame_spread(latents: Tensor) -> Tensor:
    """How much draws `[n, N, V, c, h, w]` differ, `[N]`: standard deviation over draws, root mean
    square over the channels and pixels of the square where it is greatest."""
    spread = latents.float().var(dim=0).mean(dim=2)  # [N, V, h, w]
    height, width = spread.shape[-2:]
    sides = min(SQUARES, height), min(SQUARES, width)
    squares = torch.nn.functional.adaptive_avg_pool2d(spread, sides)
    return squares.flatten(1).amax(dim=1).sqrt()


class ResamplingGate:
    """Draws every imagined step again and says how far the draws disagree.

    Args:
        judge: reads every draw.
        draws: n, at least two.
        scale: what disagreements are measured in; None gives the two readings as they are.
    """

    def __init__(self, judge: Judge, draws: int, scale: Resampling | None = None) -> None:
        self.judge, self.draws, self.scale = judge, draws, scale

    @torch.inference_mode()
    def begin(self, stream: Stream, actions: Float) -> Callable[[Stream, Float], Float]:
        """See `worldsim.judge.gates.RolloutGate`."""
        others, taken = self.draws - 1, np.asarray(actions, np.float32)
        twin = stream.fork(others)
        repeated = np.concatenate([taken] * others)
        twin.act(repeated)
        agent = twin.spec.agent_pos.dim
        pose = None if twin.pose is None else twin.pose.cpu().numpy()
        agent_pos = twin.world_state[:, :agent].cpu().numpy()
        shown = ObservedFrame(twin.pixels(), agent_pos, pose)
        said = self.judge.read(shown, repeated).success_probability.reshape(others, -1)
        frames = twin.newest.reshape(others, len(taken), *twin.newest.shape[1:])

        def check(moved: Stream, probability: Float) -> Float:
            drawn = torch.cat([moved.newest[None], frames])
            judged = np.concatenate([probability[None], said]).std(axis=0, ddof=1)
            readings = np.stack([frame_spread(drawn).cpu().numpy(), judged], axis=-1)
            readings = readings.astype(np.float32)
            return readings if self.scale is None else self.scale.error(readings)

        return check

    def fit(self, replays: list[Float]) -> list[Float]:
        """See `worldsim.judge.gates.RolloutGate`; readings of a gate without scale.

        Raises:
            DataError: no draw differs from another.
        """
        self.scale = Resampling.of(self.draws, replays)
        return [self.scale.error(each) for each in replays]

    def save(self, folder: Path) -> None:
        """See `worldsim.judge.gates.RolloutGate`; after `fit`."""
        assert self.scale is not None
        self.scale.save(folder)
