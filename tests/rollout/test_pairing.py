"""A simulator that begins elsewhere than its start is not compared with imagination."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from foreign_testing import (
    KWARGS,
    BodyPosition,
    GlobalDraw,
    PythonGoal,
    SlideEnv,
    Unrepeatable,
    register,
)
from gymnasium import spaces

import worldsim.envs
from worldsim.cameras.rig import CameraRig
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import SimulatorStarts
from worldsim.errors import UsageError, WorldsimError
from worldsim.rollout.worlds import SimulatorWorld
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec


def starts_of(env_id: str, count: int = 3) -> list[Start]:
    source = SimulatorStarts(env_id, KWARGS)
    try:
        return [source.seeded(seed) for seed in range(count)]
    finally:
        source.close()


@pytest.mark.parametrize("cls", [BodyPosition, PythonGoal, GlobalDraw])
def test_starts_of_a_simulator_begin_as_they_say_in_other_envs_of_it(cls: type) -> None:
    env_id = register(cls)
    starts = starts_of(env_id)
    world = SimulatorWorld(env_id, KWARGS)
    for order in ([0, 1, 2], [2, 0]):  # the second time in envs that have lived
        moment = world.start([starts[i] for i in order], order, 0)
        world.step(np.ones((len(order), 1), np.float32))
        for row, i in enumerate(order):
            np.testing.assert_array_equal(moment.pixels[row], starts[i].pixels)
    assert len({start.pixels.tobytes() for start in starts}) == 3


def test_other_starts_are_refused() -> None:
    env_id = register(Unrepeatable)
    world = SimulatorWorld(env_id, {**KWARGS, "repeatable": False})
    with pytest.raises(
        WorldsimError, match=r"start 7 \(seed 0\).*begins elsewhere.*camera 'top' by"
    ):
        world.start(starts_of(env_id, 1), [7], 0)
    with pytest.raises(WorldsimError, match="two resets"):
        SimulatorWorld(env_id, KWARGS).check()


def test_decoded_starts_may_have_a_codecs_noise_and_nothing_else() -> None:
    env_id = register(SlideEnv)
    (start,) = starts_of(env_id, 1)
    world = SimulatorWorld(env_id, KWARGS)
    rng = np.random.default_rng(0)
    noise = rng.integers(-20, 21, start.pixels.shape)
    noisy = np.clip(start.pixels.astype(int) + noise, 0, 255).astype(np.uint8)
    world.start([replace(start, pixels=noisy, drawn=False)], [0], 0)
    with pytest.raises(WorldsimError, match="grey levels"):
        world.start([replace(start, pixels=noisy)], [0], 0)
    elsewhere = starts_of(env_id, 2)[1]
    with pytest.raises(WorldsimError, match="camera 'top' by"):
        world.start([replace(start, pixels=elsewhere.pixels, drawn=False)], [0], 0)
    with pytest.raises(WorldsimError, match="state qpos_slide by"):
        world.start([replace(start, state=start.state + np.float32(0.01))], [0], 0)
    world.start([replace(start, state=np.zeros(0, np.float32))], [0], 0)


class OwnWorld(SlideEnv):
    """A simulator of worldsim's interface that sets its attributes in `reset` alone."""

    observation_space = spaces.Dict()  # type: ignore[assignment]
    max_episode_steps = 9

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        unit = VectorSpec(("x",), ("m",))
        action = ActionSpec(("push",), (-1.0,), (1.0,), ("1",), (1.0,))
        self.spec_world = WorldSpec(20, (CameraSpec("top", 8, 8),), action, unit, unit)
        eye = np.eye(4, dtype=np.float32)[None]
        self.camera_rig = CameraRig(("top",), eye[:, :3, :3], eye, np.zeros(1, bool))
        position = self.data.qpos.astype(np.float32)
        pixels = {"top": np.full((8, 8, 3), 7, np.uint8)}
        observation = {"pixels": pixels, "agent_pos": position, "task": "slide"}
        return observation, {"state": position, "success": False, "progress": 0.0}


def test_a_simulator_may_tell_its_world_by_instance_attributes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worldsim.envs, "make", lambda *_, **__: OwnWorld())
    start = SimulatorStarts("Own-v0").seeded(3)
    assert start.rig is not None and start.rig.names == ("top",) and start.drawn
    monkeypatch.setattr(worldsim.envs, "make", lambda *_, **__: SlideEnv())
    with pytest.raises(UsageError, match="no `spec_world` or no `camera_rig`"):
        SimulatorStarts("Own-v0")
