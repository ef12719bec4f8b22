"""Whether a simulator does what a data set and a ranking rest on, found out before work begins.

Actions move it, its seeds fix episodes, and its states restore them. Nothing else in worldsim would
notice: a frozen film is a film, and a ranking of different scenes has a correlation too.

Legend: V view, H, W pixels, P proprioception, S state, A action.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import stack_views
from worldsim.envs.imagination.start import Start
from worldsim.errors import QualityWarning, WorldsimError
from worldsim.spec import VectorSpec, WorldSpec

Float = NDArray[np.float32]

SAME_GREY = 3.0
"""Grey levels by which two drawings of one scene may differ."""
SAME_NUMBER = 1e-4
"""Share by which a number of one scene may differ; what is below 1 counts as 1."""
_DECODED_GREY = 40.0
"""Grey levels by which a small square of a decoded and resized frame may miss the drawing."""
_DECODED_SQUARE = 4
"""Pixels of its side: a codec errs at edges, a thing that stands elsewhere fills squares."""
_STEPS, _SEED = 5, 0
_REMEDY = (
    "What its episodes depend on is kept where neither seed nor state reaches it: draw it from "
    "`self.np_random` in reset, and keep it in the model, in its data or in plain attributes of "
    "the env; a seed of the constructor's own goes into env.source_kwargs. env.repeatable=false "
    "records the env as it is, but a ranking refuses to compare starts that are not the same"
)
_OURS = "worldsim.envs.tabletop."
"""Envs that worldsim's own tests hold to all this."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a simulator shows at one step.

    Attributes:
        pixels: uint8 `[V, H, W, 3]`.
        agent_pos: `[P]`.
        state: `[S]`; empty if unknown.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    state: Float

    @staticmethod
    def of(observation: dict[str, Any], info: dict[str, Any], spec: WorldSpec) -> "Seen":
        """What an env's `reset` or `step` returned."""
        return Seen(
            stack_views(observation["pixels"], spec.camera_names),
            np.asarray(observation["agent_pos"], np.float32),
            np.asarray(info["state"], np.float32),
        )

    def is_same(self, other: "Seen") -> bool:
        """Whether nothing at all differs."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(np.array_equal(one, two) for one, two in pairs)

    def differences(self, other: "Seen", spec: WorldSpec, grey: float, block: int = 1) -> list[str]:
        """What differs by more than it may, in words; empty if nothing does.

        Args:
            other: what it is compared with.
            spec: names cameras and numbers.
            grey: levels by which pixels may differ.
            block: side of the squares of pixels whose means are compared.
        """
        found = []
        for name, one, two in zip(spec.camera_names, self.pixels, other.pixels, strict=True):
            apart = float(np.abs(_means(one, block) - _means(two, block)).max())
            if apart > grey:
                found.append(f"camera {name!r} by up to {apart:.0f} of 255 grey levels")
        found += _furthest("agent_pos", spec.agent_pos, self.agent_pos, other.agent_pos)
        if self.state.shape == other.state.shape:
            found += _furthest("state", spec.state, self.state, other.state)
        return found


def check_simulator(make: Callable[[], gymnasium.Env[Any, Any]], name: str) -> None:
    """Begin one episode four ways and compare: fresh, again, from its state, and in another env.

    An env whose `repeatable` is False need not repeat itself; it must move all the same.

    Args:
        make: makes the env, of worldsim's interface.
        name: for messages.

    Raises:
        UsageError: the env does not tell what success is.
        WorldsimError: actions change nothing, or an episode is not the same again.
    """
    env = make()
    try:
        if type(env.unwrapped).__module__.startswith(_OURS):
            return
        trial = _Trial(env)
        first, state = trial.play(_SEED), trial.state
        if all(first[0].is_same(later) for later in first[1:]):
            raise WorldsimError(
                f"{name} does not move: {len(first) - 1} random actions changed neither frames nor "
                "states. Its `model` and `data` may be copies, or its actions too small"
            )
        if not getattr(env.unwrapped, "repeatable", True):
            return
        if first[0].is_same(trial.play(_SEED + 1, turn=-1)[0]):
            warnings.warn(
                f"{name} begins the same way with seeds {_SEED} and {_SEED + 1}: its episodes may "
                "all have one start, and a ranking of many starts would be one of a single start",
                QualityWarning,
                stacklevel=2,
            )
        trial.compare(first, trial.play(_SEED), f"{name}: two resets with seed {_SEED} differ")
        restored = trial.play(_SEED + 1, {"initial_state": state})
        trial.compare(first, restored, f"{name}: what get_state returned restores another episode")
    finally:
        env.close()
    twin = make()
    try:
        again = _Trial(twin).play(_SEED)
        trial.compare(first, again, f"{name}: two envs that are reset with seed {_SEED} differ")
    finally:
        twin.close()


class _Trial:
    """Plays short episodes of one env, all with the same actions."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env, self.state = env, None
        inner: Any = env.unwrapped
        self._inner, self._spec = inner, inner.spec_world
        shape = (_STEPS, self._spec.action.dim)
        self._actions = np.random.default_rng(_SEED).uniform(-1, 1, shape).astype(np.float32)

    def play(self, seed: int, options: dict[str, Any] | None = None, turn: int = 1) -> list[Seen]:
        """What is seen at the start and after each action (times `turn`), up to the end."""
        seen = [Seen.of(*self._env.reset(seed=seed, options=options), self._spec)]
        self.state = self._inner.get_state()
        for action in turn * self._actions:
            observation, _, terminated, truncated, info = self._env.step(
                self._spec.action.command(action)
            )
            seen.append(Seen.of(observation, info, self._spec))
            if terminated or truncated:
                break
        return seen

    def compare(self, first: Sequence[Seen], other: Sequence[Seen], what: str) -> None:
        """Refuse two episodes that are not the same.

        Raises:
            WorldsimError: see above.
        """
        for step, (one, two) in enumerate(zip(first, other, strict=False)):
            if found := one.differences(two, self._spec, SAME_GREY):
                when = "at the start" if step == 0 else f"after {step} equal actions"
                raise WorldsimError(f"{what} {when}: {'; '.join(found)}. {_REMEDY}")


def _means(image: NDArray[np.uint8], block: int) -> Float:
    """Means over squares of pixels `[H // block, W // block, 3]`."""
    height, width = (side - side % block for side in image.shape[:2])
    squares = image[:height, :width].reshape(height // block, block, width // block, block, 3)
    means: Float = squares.astype(np.float32).mean(axis=(1, 3))
    return means


def _furthest(kind: str, spec: VectorSpec, one: Float, two: Float) -> list[str]:
    """The number that differs most, if any differs by more than it may."""
    if not one.size:
        return []
    apart = np.abs(one - two) / np.maximum(1.0, np.maximum(np.abs(one), np.abs(two)))
    worst = int(np.nan_to_num(apart, nan=np.inf).argmax())
    if apart[worst] <= SAME_NUMBER:
        return []
    return [f"{kind} {spec.names[worst]} by {abs(float(one[worst] - two[worst])):.3g}"]


def require_paired(
    starts: Sequence[Start], ids: Sequence[int], seen: Sequence[Seen], spec: WorldSpec, name: str
) -> None:
    """Refuse simulator episodes that begin elsewhere than the starts that imagination gets.

    Args:
        starts: N starts.
        ids: their numbers, for messages.
        seen: what the simulator shows at the beginning of each.
        spec: of the world.
        name: of the simulator.

    Raises:
        WorldsimError: a first frame, proprioception or state differs; says by how much.
    """
    for number, start, here in zip(ids, starts, seen, strict=True):
        there = Seen(start.pixels, start.agent_pos, start.state)
        square, grey = (1, SAME_GREY) if start.drawn else (_DECODED_SQUARE, _DECODED_GREY)
        if found := there.differences(here, spec, grey, square):
            raise WorldsimError(
                f"start {number} (seed {start.seed}): {name} begins elsewhere than the start that "
                f"imagination gets: {'; '.join(found)}. Only the same starts can be compared: take "
                "starts from this simulator, or a data set that was recorded in it with the same "
                "env options; its reset(seed) must fix the scene"
            )
