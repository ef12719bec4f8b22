"""A street that a world model imagines, while the env keeps its counter and its map.

Legend: N envs, H W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from worldsim.envs.imagination.engine import happened
from worldsim.envs.imagination.ledger import Bool, EventReader, ExploredMap, Ledger, Pixels, Whole
from worldsim.envs.registration import HasHorizon, reset_options
from worldsim.envs.spaces import observation_space
from worldsim.envs.street.drawing import AHEAD, CELL, COUNTER, HEIGHT, draw_counter
from worldsim.envs.street.env import CAMERA, EVENT, FPS, TASK, Street, moved, street_spec
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.sampling.observed import amend
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream


@dataclass(frozen=True, eq=False)
class Modules:
    """Attributes:
    ledger: whether the counter is the ledger's, else what the model draws.
    map: whether known cells are what they first were, else what the model draws.
    """

    ledger: bool = True
    map: bool = True


@dataclass(frozen=True, eq=False)
class Played:
    """One step of N games.

    Attributes:
        frames: uint8 `[N, H, W, 3]` as they are shown and lead on.
        events: `[N]` houses that the reader saw built.
        scores: `[N]` of the ledger.
    """

    frames: Pixels
    events: Bool
    scores: Whole


class ImaginedGames:
    """N streets in one stream of a world model.

    Args:
        model: a world model of streets.
        reader: says when a house was built; None asks the model's own event head.
        modules: which of the env's own records are shown.
        length: cells from the middle to either end.

    Attributes:
        places: `[N]` the walkers' cells.
        frames: uint8 `[N, H, W, 3]` as they are shown and lead on.
        imagined: the newest of them as the model made them.

    Raises:
        SpecMismatchError: the model is of another world.
        UsageError: it is not told where the walker is, or shall read events and has no head.
    """

    def __init__(
        self, model: WorldModel, reader: EventReader | None, modules: Modules, length: int = 60
    ) -> None:
        model.spec.require_compatible(street_spec(), "the model", "a street", stateless=True)
        if model.dynamics.dim != model.spec.agent_pos.dim:
            raise UsageError(
                "an imagined street tells its model where the walker is; train the model with "
                "model.dynamics.name=none"
            )
        if reader is None and (model.event_head is None or EVENT not in model.spec.events):
            raise UsageError(
                f"nobody says when a house was built: this model does not read {EVENT!r}; "
                "train it with model.head.events=true, or give a reader of events"
            )
        self.stream = Stream.of(model, Sampler.default(model))
        self.reader, self.modules, self.length = reader, modules, length
        self.places = np.zeros(0, np.int64)
        self.frames: Pixels = np.zeros((0, 0, 0, 3), np.uint8)
        self.imagined = self.frames

    def reset(self, frames: Pixels, seed: int = 0) -> None:
        """Begin N games in the middle of their streets, with first frames `[N, H, W, 3]`."""
        count = len(frames)
        self.places = np.zeros(count, np.int64)
        self.stream.reset(frames[:, None], np.zeros((count, 1), np.float32), seed=seed)
        if self.reader is not None:
            self.reader.begin(count)
        self.ledger = Ledger.of(np.zeros(count, np.int64))
        self.map = ExploredMap.of(count, CELL, AHEAD, (COUNTER, HEIGHT))
        self.frames = self.imagined = frames.copy()
        self.map.update(self.places, self.frames, np.zeros(count, bool))

    def step(self, choices: Whole) -> Played:
        """One action in each game.

        Args:
            choices: `[N]`.
        """
        self.places = moved(self.places, choices, self.length)
        action = self.stream.spec.action.vector(choices, "ImaginedGames")
        chunk = self.stream.act(action, self.places[:, None].astype(np.float32))
        self.imagined = imagined = self.stream.pixels()[:, 0]
        if self.reader is not None:
            events = self.reader.read(self.frames, imagined, choices, self.places)
        else:
            assert chunk.events is not None
            told = happened(chunk.events[:, 0, self.stream.spec.events.index(EVENT)])
            events = told.astype(bool)
        self.ledger.book(events)
        self.map.update(self.places, imagined, events)
        shown = self.map.paste(self.places, imagined) if self.modules.map else imagined.copy()
        if self.modules.ledger:
            for frame, score in zip(shown, self.ledger.values.tolist(), strict=True):
                draw_counter(frame, score)
        if self.modules.map or self.modules.ledger:
            amend(self.stream, shown[:, None])
        self.frames = shown
        return Played(shown, events, self.ledger.values.copy())


class ImaginedStreet(HasHorizon, gymnasium.Env[dict[str, Any], Any]):
    """The env `Street` with a world model in the place of its drawing.

    Reward is what the ledger books, and 20 houses are a success; neither is read off pixels.

    Args:
        model: a world model of streets.
        reader: says when a house was built; None asks the model's own event head.
        modules: which of the env's own records are shown.
        max_episode_steps: the episode is truncated after so many actions.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": FPS,
    }
    render_mode = "rgb_array"

    def __init__(
        self,
        model: WorldModel,
        reader: EventReader | None = None,
        modules: Modules | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        self._simulator = Street(max_episode_steps=max_episode_steps or self.asked_steps)
        self.games = ImaginedGames(model, reader, modules or Modules(), self._simulator.length)
        self.max_episode_steps = self._simulator.max_episode_steps
        self.spec_world = model.spec
        self.action_space = self.spec_world.action.space
        self.observation_space = observation_space(self.spec_world, float(self._simulator.length))
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin as the simulator does; the first frame is its own."""
        super().reset(seed=seed)
        reset_options(options, ())
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        first, _ = self._simulator.reset(seed=drawn)
        self.games.reset(first["pixels"][CAMERA][None], drawn)
        self._step = 0
        return self._observe(), self._info(0)

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One imagined frame."""
        spec = self.spec_world.action
        vector = spec.check(spec.vector(action, "ImaginedStreet"), "ImaginedStreet")
        played = self.games.step(np.array([int(vector.argmax())]))
        self._step += 1
        info = self._info(int(played.events[0]))
        truncated = self._step >= self.max_episode_steps
        return self._observe(), float(played.events[0]), info["success"], truncated, info

    def render(self) -> Pixels:
        """The frame."""
        return np.array(self.games.frames[0])

    def _observe(self) -> dict[str, Any]:
        place = self.games.places.astype(np.float32)
        return {"pixels": {CAMERA: self.games.frames[0].copy()}, "agent_pos": place, "task": TASK}

    def _info(self, built: int) -> dict[str, Any]:
        score = int(self.games.ledger.values[0])
        success = score >= self._simulator.enough
        return {
            "success": success,
            "is_success": success,
            "progress": min(score / self._simulator.enough, 1.0),
            "events": np.array([built], np.float32),
            "score": score,
        }


def first_frames(seeds: Sequence[int]) -> Pixels:
    """What streets of these seeds show at first, `[N, H, W, 3]`."""
    env = Street()
    return np.stack([env.reset(seed=seed)[0]["pixels"][CAMERA] for seed in seeds])
