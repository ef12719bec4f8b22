"""What recorded actions mean is read off what they did; what a network would not see is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_testing import ForeignSet
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from worldsim.cli.main import main
from worldsim.data.action_checks import action_faults
from worldsim.data.action_evidence import ActionEvidence, action_evidence
from worldsim.data.angles import angle_entries, unwrapped, wrapped, wraps
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import errors_of
from worldsim.data.verify import verify
from worldsim.spec import ActionSpec

Array = NDArray[Any]
POSE = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
DROID = Path(__file__).resolve().parents[2].parent / "shared/data/droid_sample"


def walks(seed: int = 0, count: int = 6, rows: int = 60) -> list[Array]:
    """Poses `[N, 7]` that wander smoothly; rolls pass half a turn."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        speed = rng.normal(0, 1, (rows, 7))
        for t in range(1, rows):
            speed[t] = 0.8 * speed[t - 1] + 0.3 * speed[t]
        pose = np.cumsum(speed * [0.01, 0.01, 0.01, 0.05, 0.02, 0.02, 0.05], axis=0)
        pose += [0.5, 0.0, 0.3, np.pi, 0.0, 0.0, 0.5]
        pose[:, 3:6] = wrapped(pose[:, 3:6])
        found.append(pose.astype(np.float32))
    return found


def evidence(action: list[Array], state: list[Array], names: tuple[str, ...]) -> ActionEvidence:
    return action_evidence(list(zip(action, state, strict=True)), names, POSE)


def noisy(values: Array, size: float = 0.1) -> Array:
    noise = np.random.default_rng(1).normal(0, 1, values.shape)
    return np.asarray(values + size * values.std(axis=0) * noise)


TURNS = np.array([0, 0, 0, 1, 1, 1, 0], bool)
D_POSE = tuple(f"d{name}" for name in POSE)


def test_achieved_and_commanded_targets_are_told_apart() -> None:
    states = walks()
    achieved = evidence([s[1:] for s in states], states, POSE)
    assert (achieved.mode, achieved.frame, achieved.commanded) == ("absolute", "base", False)
    assert {entry.lag for entry in achieved.entries} == {1}
    sent = [wrapped(s[1:] + 0.003 * np.sin(np.arange(len(s) - 1))[:, None], TURNS) for s in states]
    commanded = evidence(sent, states, POSE)
    assert (commanded.mode, commanded.frame, commanded.commanded) == ("absolute", "base", True)
    roll = commanded.entries[3]
    assert roll.fit > 0.99 and roll.error < 0.01, "a turn more or less is no error"
    assert "absolute, base frame, commanded" in commanded.lines()[0]


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_deltas_in_the_base_are_found_with_their_scale(scale: float) -> None:
    states = walks()
    steps = [noisy(wrapped(np.diff(s, axis=0), TURNS)) / scale for s in states]
    found = evidence(steps, states, D_POSE)
    assert (found.mode, found.frame) == ("delta", "base")
    np.testing.assert_allclose([e.scale for e in found.entries[:6]], scale, rtol=0.1)
    spec = found.applied(spec_of(np.concatenate(steps), D_POSE))
    assert spec.units == ("m", "m", "m", "rad", "rad", "rad", "1")


def test_deltas_in_the_hands_own_axes_are_found() -> None:
    states = walks()
    steps = []
    for state in states:
        turn = Rotation.from_euler("xyz", state[:-1, 3:6]).inv()
        steps.append(noisy(turn.apply(np.diff(state[:, :3], axis=0)), 0.05))
    found = evidence(steps, states, ("a", "b", "c"))
    assert (found.mode, found.frame) == ("delta", "end_effector")


def test_joint_targets_are_in_the_joint_frame() -> None:
    names = tuple(f"joint_{i}" for i in range(7))
    states = walks()
    found = action_evidence([(s[1:], s) for s in states], names, names)
    assert (found.mode, found.frame) == ("absolute", "joint")


def test_nothing_is_claimed_without_evidence() -> None:
    states = walks()
    rng = np.random.default_rng(3)
    found = evidence([rng.normal(size=(len(s) - 1, 7)) for s in states], states, D_POSE)
    assert found.mode == "unknown" and "too few" in found.lines()[0]
    short = evidence([states[0][1:9]], [states[0][:9]], POSE)
    assert short.mode == "unknown" and "too little" in short.lines()[0]
    spec = spec_of(states[0], POSE)
    assert found.applied(spec) == spec


@pytest.mark.skipif(not DROID.exists(), reason="the sample lies beside the repository")
def test_droids_actions_are_absolute_commanded_and_in_the_base() -> None:
    spec = LeRobotDataset(DROID).spec.action
    assert (spec.mode, spec.frame, spec.commanded) == ("absolute", "base", True)
    assert spec.units == ("m", "m", "m", "rad", "rad", "rad", "1") and set(spec.scale) == {1.0}


def test_angles_go_on_past_half_a_turn() -> None:
    turning = np.linspace(2.5, 9.0, 40)[:, None].repeat(2, 1)
    recorded = wrapped(turning)
    assert wraps(recorded).tolist() == [True, True]
    assert wraps(turning).tolist() == wraps(np.sign(recorded)).tolist() == [False, False]
    np.testing.assert_allclose(unwrapped(recorded, np.array([True, True])), turning, atol=1e-9)
    np.testing.assert_allclose(wrapped(recorded[1:] - recorded[:-1]), np.diff(turning, axis=0))
    told = angle_entries(("roll", "joint_1", "z"), [np.zeros((3, 3))])
    assert told.tolist() == [True, False, False]


def test_a_roll_that_passes_half_a_turn_makes_no_step_of_a_whole_one(tmp_path: Path) -> None:
    data = ForeignSet(lengths=(20, 20))
    roll = wrapped(np.linspace(2.8, 4.0, 20))
    assert np.abs(np.diff(roll)).max() > 6
    for rows in data.rows:
        state = np.stack([np.linspace(0, 1, 20), roll, np.linspace(1, 0, 20)], axis=1)
        rows["observation.state"] = state.astype(np.float32).tolist()
    found = LeRobotDataset(data.write(tmp_path / "set")).episode(1).agent_pos
    np.testing.assert_allclose(found[:, 1], np.linspace(2.8, 4.0, 20), atol=1e-5)


def spec_of(action: Array, names: tuple[str, ...], limits: Any = "measured") -> ActionSpec:
    low, high = (tuple(map(float, each)) for each in (action.min(0), action.max(0)))
    count = len(names)
    return ActionSpec(names, low, high, ("1",) * count, (1.0,) * count, limits=limits)


def faults_of(action: Array, limits: Any = "measured") -> list[tuple[str, str]]:
    names = tuple(f"a{i}" for i in range(action.shape[1]))
    found = action_faults(spec_of(action, names, limits), action)
    return [(fault.severity, fault.message) for fault in found]


NORMAL = np.random.default_rng(0).uniform(-1, 1, (300, 4))


def test_normalised_actions_are_no_fault() -> None:
    assert faults_of(NORMAL) == []
    switch = NORMAL.copy()
    switch[:, 3] = np.sign(switch[:, 3])
    assert faults_of(switch) == [], "a gripper stands at its ends"
    targets = NORMAL * [0.1, 0.2, 0.1, 1] + [0.5, 0, 0.3, 0]
    assert faults_of(targets) == [], "targets in metres spread enough"


def test_steps_in_metres_are_too_small_for_a_network() -> None:
    """DROID 55 times too small was seen only as a gripper that never closes."""
    small = NORMAL * [0.01, 0.01, 0.01, 1]
    [(severity, message)] = faults_of(small)
    assert severity == "error" and "a0 0.0058" in message and "data import" in message
    assert faults_of(small, "declared")[0][0] == "warning"
    one = NORMAL * [0.01, 1, 1, 1]
    assert [severity for severity, _ in faults_of(one)] == ["warning"]
    [(severity, message)] = faults_of(NORMAL * [300, 300, 1, 1])
    assert severity == "warning" and "swamp" in message


def test_clipped_actions_are_found() -> None:
    cut = np.clip(NORMAL, -0.3, 0.3)
    [(severity, message)] = faults_of(cut)
    assert severity == "error" and "as if clipped" in message
    assert faults_of(cut, "declared") == [], "an expert pushes an environment to its limits"
    one = np.concatenate([cut[:, :1], NORMAL[:, 1:]], axis=1)
    assert [severity for severity, _ in faults_of(one)] == ["warning"]


def test_constant_actions_are_found() -> None:
    [(severity, message)] = faults_of(np.full((40, 2), 0.5))
    assert severity == "error" and "no action ever changes" in message
    half = np.concatenate([NORMAL, np.zeros((300, 1))], axis=1)
    assert faults_of(half) == [("warning", "a4 of the action never change, and so teach nothing")]


def faint_set(root: Path) -> Path:
    data = ForeignSet(lengths=(15,) * 4)
    for rows in data.rows:
        action = 0.01 * np.asarray(rows["action"], np.float32)
        rows["action"] = action.tolist()
        rows["observation.state"] = np.vstack([[0] * 3, np.cumsum(action, 0)[:-1]]).tolist()
    return data.write(root)


def test_train_and_verify_refuse_what_a_network_would_not_see_and_import_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = faint_set(tmp_path / "set")
    assert errors_of(verify(root))
    capsys.readouterr()
    assert main(["train", f"dataset={root}", f"out={tmp_path / 'run'}", "image_size=32"]) == 1
    told = capsys.readouterr().err
    assert "hardly sees them" in told and "worldsim data import kind=lerobot" in told
    assert not (tmp_path / "run").exists() and main(["data", "verify", f"root={root}"]) == 1
    mended = tmp_path / "mended"
    assert main(["data", "import", f"source={root}", f"out={mended}"]) == 0
    assert "divided by" in capsys.readouterr().err
    assert verify(mended) == []
    before, after = LeRobotDataset(root), LeRobotDataset(mended)
    scale = after.spec.action.scale
    np.testing.assert_allclose(np.array(after.spec.action.high), 1, atol=0.1)
    np.testing.assert_allclose(scale, 0.01, rtol=0.1)
    for episode in range(4):
        physical = after.episode(episode).action * np.abs(np.array(scale))
        np.testing.assert_allclose(physical, before.episode(episode).action, atol=1e-4)


def test_evidence_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = faint_set(tmp_path / "set")
    assert main(["data", "inspect", f"root={root}"]) == 0
    told = capsys.readouterr().out
    assert "action: delta" in told and "a unit moves state_0 by 1 (fit 1.000" in told
