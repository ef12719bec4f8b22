"""The long task: a visit moves disc and bead, four visits solve it."""

import numpy as np
import pytest

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.shuttle import VISITS, TabletopShuttle

STILL = np.array([0, 0, 0, 0, -1], np.float32)
GOAL, BEAD = slice(5, 7), slice(7, 9)


def put_on_disc(env: TabletopEnv) -> None:
    """Move the cube, and the hand out of its way."""
    joint = env.model.joint("object").qposadr[0]
    disc = env.data.mocap_pos[env.model.body("goal").mocapid[0], :2]
    env.data.qpos[joint : joint + 2] = disc
    env.gripper.place(np.array([0.0, 0.0, 0.2]), 0.0, 0.0)


@pytest.fixture
def env() -> TabletopEnv:
    env = make("worldsim/TabletopShuttle-v0", image_size=8).unwrapped
    assert isinstance(env, TabletopEnv)
    env.reset(seed=3)
    return env


def test_a_visit_moves_disc_and_bead_once(env: TabletopEnv) -> None:
    before = env.step(STILL)[-1]["state"]
    put_on_disc(env)
    after = env.step(STILL)[-1]["state"]
    np.testing.assert_allclose(after[GOAL], -before[GOAL], atol=1e-6)
    np.testing.assert_allclose(after[BEAD] - before[BEAD], [0.0, 0.06], atol=1e-6)
    later = env.step(STILL)[-1]["state"]
    np.testing.assert_array_equal(later[[*range(5, 9)]], after[[*range(5, 9)]])


def test_the_fourth_visit_solves_it(env: TabletopEnv) -> None:
    progress = []
    for visit in range(VISITS):
        put_on_disc(env)
        _, reward, terminated, _, info = env.step(STILL)
        progress.append(info["progress"])
        assert terminated == info["success"] == (visit == VISITS - 1)
        assert (reward > 0) == terminated
    assert progress == sorted(progress) and progress[-1] == 1.0
    assert all(p >= (n + 1) / VISITS for n, p in enumerate(progress))


def test_a_state_restored_midway_counts_on(env: TabletopEnv) -> None:
    put_on_disc(env)
    env.step(STILL)
    other = make("worldsim/TabletopShuttle-v0", image_size=8).unwrapped
    assert isinstance(other, TabletopEnv)
    other.reset(options={"initial_state": env.get_state()})
    for each in (env, other):
        put_on_disc(each)
    np.testing.assert_array_equal(env.step(STILL)[-1]["state"], other.step(STILL)[-1]["state"])


def test_a_bead_read_slightly_off_is_the_same_visit() -> None:
    state = np.zeros((3, 9), np.float32)
    state[:, 8] = (0.11, 0.12, 0.07)
    done = TabletopShuttle.score.success(np.zeros((3, 10), np.float32), state)
    assert done.tolist() == [True, True, False]
