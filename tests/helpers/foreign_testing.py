"""Small MuJoCo envs that do what other people's simulators do; registered by `register`.

An arm that slides along x, a block and a target. Each env keeps its start somewhere else.
"""

import itertools
import random
from itertools import count
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

CAMERA = {"name": "top", "position": [0.0, -0.1, 2.2], "target": [0.0, 0.0, 0.0]}
KWARGS: dict[str, Any] = {"cameras": [CAMERA], "image_size": 32}

XML = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="own" pos="0 0 2.2"/>
    <geom type="plane" size="2 2 .1" rgba=".8 .8 .8 1"/>
    <body name="block" pos="0 .4 .1"><geom name="block" type="box" size=".15 .15 .1"
      rgba=".1 .2 .9 1"/></body>
    <site name="target" type="sphere" pos="0 -.4 .1" size=".1" rgba=".9 .1 .1 1"/>
    <body name="arm" pos="0 0 .2">
      <joint name="slide" type="slide" axis="1 0 0" damping="1"/>
      <geom type="box" size=".1 .1 .1" mass="1" rgba=".1 .8 .1 1"/>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="slide" ctrlrange="-20 20"/></actuator>
</mujoco>
"""


class SlideEnv(gymnasium.Env[Any, Any]):
    """The arm starts at a drawn place, as gymnasium asks: by `np_random`."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-20.0, 20.0, (1,), np.float32)
    dt = 0.05

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(XML)
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[0] = self.np_random.uniform(-0.5, 0.5)
        self.place()
        mujoco.mj_forward(self.model, self.data)
        return self._observe(), {}

    def place(self) -> None:
        """What a reset draws beside the arm's place."""

    def step(self, action: Any) -> Any:
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, 5)
        return self._observe(), 0.0, False, False, self.info()

    def info(self) -> dict[str, Any]:
        return {"success": bool(self.data.qpos[0] > 1.0)}

    def _observe(self) -> Any:
        return np.concatenate([self.data.qpos, self.data.qvel])


class BodyPosition(SlideEnv):
    """The block's place is in the model."""

    def place(self) -> None:
        self.model.body("block").pos[0] = self.np_random.uniform(-0.6, 0.6)


class Colours(SlideEnv):
    """The block's colour is in the model; half of the resets leave it as it was."""

    def place(self) -> None:
        if self.np_random.random() < 0.5:
            self.model.geom("block").rgba[:3] = self.np_random.uniform(size=3)


class Drift(SlideEnv):
    """A site, a camera and gravity move on from where the last episode left them."""

    def place(self) -> None:
        self.model.site("target").pos[0] += self.np_random.uniform(-0.1, 0.1)
        self.model.cam("own").pos[0] += self.np_random.uniform(-0.1, 0.1)
        self.model.opt.gravity[0] += self.np_random.uniform(-1.0, 1.0)


class PythonGoal(SlideEnv):
    """A goal that only Python knows, in nested attributes; it decides the success.

    Like Meta-World's envs, it has an attribute `goal` and is no goal env, and ignores seeds.
    """

    class Goal:
        """Where to go."""

        x = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.goal = np.zeros(1)
        self.nested = self.Goal()
        self.history: list[float] = []
        self.np_random = np.random.default_rng(1)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset()

    def place(self) -> None:
        self.goal = self.np_random.uniform(-1, 1, 1)
        self.nested.x = float(self.np_random.uniform(-1, 1))
        self.history.append(self.nested.x)
        self.model.site("target").pos[:2] = self.goal[0] / 2, self.nested.x / 2

    def info(self) -> dict[str, Any]:
        return {"success": float(np.float64(self.data.qpos[0] > self.goal[0] + self.nested.x))}


class GlobalDraw(SlideEnv):
    """The start, and noise on every step, come from the process's global generators."""

    def place(self) -> None:
        self.model.body("block").pos[0] = np.random.uniform(-0.6, 0.6)
        self.model.body("block").pos[1] = random.uniform(0.2, 0.6)

    def step(self, action: Any) -> Any:
        return super().step(action + np.random.normal(0, 5.0, 1))


class OwnGenerators(SlideEnv):
    """Generators of the env's own, which `reset(seed=...)` does not seed."""

    def __init__(self) -> None:
        super().__init__()
        self.old, self.new = np.random.RandomState(), np.random.default_rng()
        self.more: dict[str, Any] = {"python": random.Random(), "again": [self.new]}

    def place(self) -> None:
        x, y = self.old.uniform(-0.6, 0.6), self.new.uniform(0.2, 0.6)
        self.model.body("block").pos[:] = x, y, self.more["python"].uniform(0.1, 0.3)


class Recompiling(SlideEnv):
    """Compiles a model of another block at every reset, and frees the old one's handles.

    Nothing is compiled before the first reset, and `model` raises until then; there is no `dt`.
    """

    dt = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self._compiled: Any = None

    @property
    def model(self) -> Any:
        if self._compiled is None:
            raise ValueError("not compiled yet; call reset")
        return self._compiled[0]

    @property
    def data(self) -> Any:
        if self._compiled is None:
            raise ValueError("not compiled yet; call reset")
        return self._compiled[1]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        gymnasium.Env.reset(self, seed=seed)
        side = self.np_random.uniform(0.05, 0.3)
        model = mujoco.MjModel.from_xml_string(XML.replace(".15 .15 .1", f"{side} {side} .1"))
        self._compiled = (model, mujoco.MjData(model))
        self.data.qpos[0] = self.np_random.uniform(-0.5, 0.5)
        mujoco.mj_forward(self.model, self.data)
        return self._observe(), {}


class OtherMeshes(Recompiling):
    """Each reset compiles another mesh, as envs with a choice of objects do."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        gymnasium.Env.reset(self, seed=seed)
        corners = self.np_random.uniform(-0.4, 0.4, (8, 3)).round(3).ravel()
        mesh = f'<asset><mesh name="m" vertex="{" ".join(map(str, corners))}"/></asset><worldbody>'
        text = XML.replace("<worldbody>", mesh)
        text = text.replace('type="box" size=".15 .15 .1"', 'type="mesh" mesh="m"')
        model = mujoco.MjModel.from_xml_string(text)
        self._compiled = (model, mujoco.MjData(model))
        mujoco.mj_forward(self.model, self.data)
        return self._observe(), {}


class Unrepeatable(SlideEnv):
    """The start comes from the operating system."""

    def place(self) -> None:
        self.model.body("block").pos[0] = np.random.default_rng().uniform(-0.6, 0.6)


class BuiltAtRandom(SlideEnv):
    """No two that are built have a block of one size, whatever seed comes later."""

    built = count()

    def __init__(self) -> None:
        super().__init__()
        self.model.geom("block").size[:2] = 0.05 + 0.1 * (next(self.built) % 3)


class Frozen(SlideEnv):
    """`model` and `data` are not those that are simulated."""

    def __init__(self) -> None:
        super().__init__()
        self._live = SlideEnv()

    def step(self, action: Any) -> Any:
        return self._live.step(action)


class DrawsItself(SlideEnv):
    """Makes pictures of its own, in an OpenGL context of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._renderer: Any = None

    def step(self, action: Any) -> Any:
        self._renderer = self._renderer or mujoco.Renderer(self.model, 16, 16)
        self._renderer.update_scene(self.data)
        self._renderer.render()
        return super().step(action)


class Stopped(SlideEnv):
    """No `dt`, and a clock that stands."""

    dt = None  # type: ignore[assignment]

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        self.data.time = 0.0
        return answer


class Succeeds(SlideEnv):
    """Success stands under another name."""

    def info(self) -> dict[str, Any]:
        return {"succeed": bool(self.data.qpos[0] > 1.0), "speed": float(self.data.qvel[0])}


class SaysNothing(SlideEnv):
    """No entry of the info looks like success."""

    def info(self) -> dict[str, Any]:
        return {"speed": float(self.data.qvel[0])}


REPEATABLE = (
    SlideEnv,
    BodyPosition,
    Colours,
    Drift,
    PythonGoal,
    GlobalDraw,
    OwnGenerators,
    Recompiling,
    OtherMeshes,
)
_COUNT = itertools.count()


def register(cls: type) -> str:
    """Register an env under an id of its own, and return that."""
    env_id = f"Foreign{cls.__name__}{next(_COUNT)}-v0"
    gymnasium.register(env_id, f"{cls.__module__}:{cls.__name__}", max_episode_steps=50)
    return env_id
