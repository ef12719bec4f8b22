"""Street: a walker builds a house wherever it comes first, and a counter in the frame counts them.

After Traveler of Model as a Game (2503.21172, section 4), whose houses cannot be foretold either
and must be the same when the walker comes back.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.limits import Count
from worldsim.config.values import check_arguments
from worldsim.envs.registration import HasHorizon, given_state, reset_options
from worldsim.envs.spaces import observation_space
from worldsim.envs.street.drawing import HEIGHT, PALETTE, STOREYS, WIDTH, House, draw
from worldsim.errors import UsageError
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

CAMERA, EVENT = "street", "built"
STAY, LEFT, RIGHT = range(3)
CHOICES = ("stay", "left", "right")
FPS = 10
TASK = "build houses"
_STEPS, _ENOUGH = 100, 20


class Street(HasHorizon, gymnasium.Env[dict[str, Any], Any]):
    """Walk along a street; a cell that is entered for the first time gets a house, and a point.

    Observation: `pixels` {street: uint8 [32, 64, 3]}, `agent_pos` float32 [1] (cell), `task`.
    Action: 0 stay, 1 left, 2 right. Reward: 1 for a house. Success: 20 houses.

    Args:
        length: cells from the middle to either end.
        max_episode_steps: the episode is truncated after so many actions; None: the usual limit.
        render_mode: None or "rgb_array".
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": FPS,
    }

    def __init__(
        self,
        length: Count = 60,
        max_episode_steps: Count | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        given = {"length": length, "max_episode_steps": max_episode_steps}
        check_arguments(Street, {**given, "render_mode": render_mode}, "env")
        self.length, self.render_mode = int(length), render_mode
        self.max_episode_steps = max_episode_steps or self.asked_steps or _STEPS
        self.spec_world = street_spec()
        self.action_space = self.spec_world.action.space
        self.observation_space: spaces.Space[Any] = observation_space(
            self.spec_world, float(self.length)
        )
        self.enough = _ENOUGH
        self._seed, self._place, self._step = 0, 0, 0
        self._built = {0}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin with one house, in the middle.

        Args:
            seed: fixes how the houses will look.
            options: `initial_state` (from `get_state`) fixes everything.

        Raises:
            UsageError: an unknown option, or numbers that are no state.
        """
        super().reset(seed=seed)
        given = reset_options(options, ("initial_state",))
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        if given.get("initial_state") is not None:
            self.set_state(given["initial_state"])
        else:
            self._seed, self._place, self._step, self._built = drawn, 0, 0, {0}
        return self._observe(), self._info(False)

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """A tenth of a second.

        Raises:
            UsageError: the action is none.
        """
        spec = self.spec_world.action
        vector = spec.check(spec.vector(action, "Street"), "Street")
        self._place = int(moved(self._place, vector.argmax(), self.length))
        self._step += 1
        built = self._place not in self._built
        self._built.add(self._place)
        info = self._info(built)
        info["action_achieved"] = vector
        truncated = self._step >= self.max_episode_steps
        return self._observe(), float(built), bool(info["success"]), truncated, info

    @property
    def score(self) -> int:
        """Houses built so far."""
        return len(self._built) - 1

    @property
    def place(self) -> int:
        """The walker's cell."""
        return self._place

    def houses(self) -> dict[int, House]:
        """Those that stand, by their cells."""
        return {cell: house_at(self._seed, cell) for cell in self._built}

    def get_state(self) -> dict[str, Any]:
        """Everything needed to continue exactly."""
        physics = np.array([self._seed, self._place, *sorted(self._built)], np.float64)
        return {"physics": physics, "factors": {}, "seed": self._seed, "step": self._step}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state` output.

        Raises:
            UsageError: the numbers are no state of this env.
        """
        state = given_state(state, "Street")
        numbers = np.zeros(0) if state.get("physics") is None else state["physics"]
        whole = len(numbers) >= 3 and np.isfinite(numbers).all() and not (numbers % 1).any()
        if not whole or numbers[0] < 0 or (np.abs(numbers[1:]) > self.length).any():
            raise UsageError(
                f"state of Street: physics is {numbers.tolist()}, expected whole numbers: a seed, "
                f"a cell and the cells that have houses, within {self.length} of the middle; was "
                "it taken in another env?"
            )
        seed, place, *built = map(int, numbers)
        self._seed, self._place, self._built = seed, place, set(built)
        self._step = state.get("step") or 0

    @property
    def camera_rig(self) -> CameraRig:
        """A flat drawing has no calibration."""
        none = np.zeros((1, 3, 3), np.float32), np.eye(4, dtype=np.float32)[None]
        return CameraRig((CAMERA,), *none, np.zeros(1, bool))

    def render(self) -> NDArray[np.uint8] | None:
        """The frame, uint8 `[H, W, 3]`; None without a render mode."""
        return None if self.render_mode is None else self._frame()

    def _frame(self) -> NDArray[np.uint8]:
        return draw(self._place, self.houses(), self.score)

    def _observe(self) -> dict[str, Any]:
        place = np.array([self._place], np.float32)
        return {"pixels": {CAMERA: self._frame()}, "agent_pos": place, "task": TASK}

    def _info(self, built: bool) -> dict[str, Any]:
        success = self.score >= _ENOUGH
        return {
            "success": success,
            "is_success": success,
            "progress": min(self.score / _ENOUGH, 1.0),
            "state": np.zeros(0, np.float32),
            "events": np.array([built], np.float32),
            "score": self.score,
        }


def street_spec() -> WorldSpec:
    """What a street looks like from outside."""
    return WorldSpec(
        fps=FPS,
        cameras=(CameraSpec(CAMERA, HEIGHT, WIDTH),),
        action=discrete_actions(CHOICES),
        agent_pos=VectorSpec(("cell",), ("1",)),
        state=VectorSpec((), ()),
        events=(EVENT,),
    )


def moved(places: ArrayLike, choices: ArrayLike, length: int) -> NDArray[np.int64]:
    """Where actions `[...]` lead from cells `[...]`."""
    steps = np.equal(choices, RIGHT).astype(np.int64) - np.equal(choices, LEFT)
    return np.clip(np.asarray(places, np.int64) + steps, -length, length)


def house_at(seed: int, cell: int) -> House:
    """The house that a cell gets, of which nothing is known before."""
    rng = np.random.default_rng([seed, cell + 2**20])
    return House(int(rng.integers(len(PALETTE))), int(rng.integers(len(STOREYS))))
