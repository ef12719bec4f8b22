"""Factors of variation: each alone, seeded, within range, without traces."""

from typing import Any

import mujoco
import numpy as np
import pytest

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.variation import TABLETOP_FACTORS
from worldsim.errors import UsageError

NAMES = tuple(TABLETOP_FACTORS.factors)
INVISIBLE = {"friction"}
SEED = 3


def make_env(factors: Any) -> TabletopEnv:
    env = make("worldsim/TabletopPush-v0", image_size=48, factors=factors).unwrapped
    assert isinstance(env, TabletopEnv)
    return env


@pytest.fixture(scope="module")
def nominal() -> TabletopEnv:
    return make_env("none")


@pytest.mark.parametrize("name", NAMES)
def test_each_factor_alone_changes_only_itself(name: str, nominal: TabletopEnv) -> None:
    env = make_env(f"{name}:shifted")
    plain, plain_info = nominal.reset(seed=SEED)
    varied, info = env.reset(seed=SEED)
    others = {key: value for key, value in env.factors.items() if key != name}
    assert others == {key: nominal.factors[key] for key in others}
    assert env.factors[name] != nominal.factors[name]
    np.testing.assert_array_equal(varied["agent_pos"], plain["agent_pos"])
    keep = [0, 1, 3, 4, 5, 6] if name == "object_size" else slice(None)
    np.testing.assert_array_equal(info["state"][keep], plain_info["state"][keep])
    images = zip(plain["pixels"].values(), varied["pixels"].values(), strict=True)
    changed = any((a != b).any() for a, b in images)
    assert changed == (name not in INVISIBLE)


def test_friction_changes_how_far_a_sliding_cube_goes() -> None:
    env = make_env("none")
    speed, scales, ways = 0.6, (0.56, 1.5), []
    for scale in scales:
        _, start = env.reset(seed=SEED, options={"factors": {"friction": scale}})
        env.data.qvel[env.model.joint("object").dofadr[0]] = speed
        for _ in range(8):
            info = env.step(np.zeros(5, np.float32))[4]
        ways.append(float(np.linalg.norm(info["state"][:2] - start["state"][:2])))
    env.reset(seed=SEED)
    cube, joint = env.model.body("object"), env.model.joint("object")
    mass, dry = float(cube.mass[0]), float(env.model.geom("object").friction[0])
    drag = float(env.model.dof_damping[joint.dofadr[0]])
    # m v' = -mu m g - b v, until it stands.
    expected = []
    for scale in scales:
        b, least = drag * scale, dry * scale * mass * 9.81
        expected.append(mass / b * (speed - least / b * np.log1p(b * speed / least)))
    np.testing.assert_allclose(ways, expected, rtol=0.15)


def test_a_hand_that_drags_along_the_cube_does_not_tumble_it() -> None:
    env = make_env("none")
    cube = env.data.body("object")
    tilts = []
    for height in (0.014, 0.036, 0.05):
        env.reset(seed=SEED)
        env.gripper.place(cube.xpos + np.array([-0.06, 0.0, height - cube.xpos[2]]), 0.0, 0.0)
        mujoco.mj_forward(env.model, env.data)
        for _ in range(12):
            env.step(np.array([0.8, 0.0, 0.3, 0.0, -1.0], np.float32))
            tilts.append(float(cube.xmat[8]))
    assert min(tilts) > np.cos(np.radians(8.0))


def test_object_size_scales_geometry_and_mass() -> None:
    env = make_env("none")
    _, small = env.reset(seed=0, options={"factors": {"object_size": 0.84}})
    small_mass = float(env.model.body("object").mass[0])
    _, large = env.reset(seed=0, options={"factors": {"object_size": [1.24]}})
    assert large["state"][2] / small["state"][2] == pytest.approx(1.24 / 0.84, rel=1e-3)
    assert env.model.body("object").mass[0] / small_mass == pytest.approx((1.24 / 0.84) ** 3)


def test_no_trace_is_left_of_earlier_episodes(nominal: TabletopEnv) -> None:
    env = make_env("shifted")
    model = env.model
    for seed in range(5):
        env.reset(seed=seed)
    cleared = {name: nominal.factor_space.factors[name].nominal for name in NAMES}
    observation, _ = env.reset(seed=SEED, options={"factors": cleared})
    expected, _ = nominal.reset(seed=SEED)
    for name, image in expected["pixels"].items():
        np.testing.assert_array_equal(observation["pixels"][name], image)
    action = np.array([0.5, -0.5, -1, 0, 0], np.float32)
    for _ in range(10):
        after, unchanged = env.step(action)[4], nominal.step(action)[4]
        np.testing.assert_array_equal(after["state"], unchanged["state"])
    assert env.model is model


@pytest.mark.parametrize("shifted", [False, True])
def test_named_sets_respect_their_ranges(shifted: bool) -> None:
    word = "shifted" if shifted else "in_distribution"
    for seed in range(40):
        for name, value in TABLETOP_FACTORS.sample(seed, word).items():
            factor = TABLETOP_FACTORS.factors[name]
            in_wide = [low <= v <= high for v, (low, high) in zip(value, factor.wide, strict=True)]
            in_narrow = [
                low <= v <= high for v, (low, high) in zip(value, factor.narrow, strict=True)
            ]
            assert all(in_wide)
            assert all(in_narrow) != shifted, (name, value)


@pytest.mark.parametrize("name", NAMES)
def test_nominal_is_in_distribution(name: str) -> None:
    factor = TABLETOP_FACTORS.factors[name]
    pairs = zip(factor.nominal, factor.narrow, factor.wide, strict=True)
    for value, narrow, wide in pairs:
        assert wide[0] <= narrow[0] <= value <= narrow[1] <= wide[1]


def test_streams_are_independent() -> None:
    alone = TABLETOP_FACTORS.sample(11, "lighting")
    together = TABLETOP_FACTORS.sample(11, "in_distribution")
    assert alone["lighting"] == together["lighting"]
    assert alone["friction"] == TABLETOP_FACTORS.factors["friction"].nominal
    assert TABLETOP_FACTORS.sample(12, "lighting")["lighting"] != alone["lighting"]


def test_words_of_a_config_are_read() -> None:
    assert TABLETOP_FACTORS.parse("none") == {}
    assert TABLETOP_FACTORS.parse(["friction", "lighting:shifted"]) == {
        "friction": False,
        "lighting": True,
    }
    assert TABLETOP_FACTORS.parse("in_distribution, friction:shifted")["friction"] is True


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"color": [1, 0, 0]}, "unknown factor 'color'"),
        ({"friction": 7.0}, "out of range"),
        ({"friction": "high"}, "not numeric"),
        ({"object_color": [1.0, 0.0]}, "got 2 numbers"),
        ({"distractors": [1.5, 0]}, "whole numbers"),
        ({"friction": float("nan")}, "out of range"),
    ],
)
def test_bad_values_are_refused(factors: dict[str, Any], words: str, nominal: TabletopEnv) -> None:
    with pytest.raises(UsageError, match=words):
        nominal.reset(seed=0, options={"factors": factors})


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'lighting'"):
        make_env("lightning")
    with pytest.raises(UsageError, match="mode of factor 'friction'"):
        make_env("friction:more")
