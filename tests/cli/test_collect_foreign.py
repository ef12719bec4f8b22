"""Foreign envs through the command line, as a user without code would."""

from pathlib import Path

import numpy as np
import pytest

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset
from worldsim.rollout.record import RolloutRecord

LOOK = "{name: front, position: [1.7,-0.3,0.9], target: [0.25,-0.25,-0.2]}"
SMALL = ("episodes=2", "max_steps=6", "workers=0")


def collect(*overrides: str) -> int:
    return main(["collect", *overrides])


def test_fetch_push_by_its_config(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium_robotics")
    assert collect("env=fetch_push", f"out={tmp_path / 'data'}", *SMALL) == 0
    dataset = LeRobotDataset(tmp_path / "data")
    assert dataset.num_episodes == 2
    assert dataset.spec.fps == 25 and dataset.spec.camera_names == ("front", "side")
    episode = dataset.episode(0)
    assert episode.length == 6 and episode.pixels["front"].shape == (7, 64, 64, 3)
    assert len(episode.meta.initial_state) > 0 and episode.meta.rig is not None
    assert np.ptp(episode.agent_pos[:, :3], axis=0).max() > 0 or episode.meta.policy == "zero"
    assert main(["data", "verify", f"root={tmp_path / 'data'}"]) == 0


TRAIN = (
    "experiment=smoke plan.length=4 tokenizer.max_steps=6 tokenizer.batch_size=4 "
    "trainer.max_steps=4 trainer.batch_size=2 trainer.threads=1 trainer.progress=false "
    "dynamics.max_steps=5 validation.films=0 validation.max_steps=3 judge.steps=3 "
    "judge.batch_size=8 judge.buffer_size=20 judge.imagined_size=20 judge.imagined_steps=1"
).split()


@pytest.mark.slow
def test_fetch_push_through_collect_train_and_rollout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run, out = (tmp_path / name for name in ("data", "run", "rollouts"))
    assert collect("env=fetch_push", f"out={data}", "episodes=22", "max_steps=8", "workers=0") == 0
    assert main(["train", f"dataset={data}", f"out={run}", *TRAIN]) == 0
    assert "swapped actions move" in capsys.readouterr().err
    rollout = ["rollout", "env=fetch_push", "policy=baselines", "name=random", f"model={run}"]
    assert main([*rollout, f"out={out}", "starts.count=2", "env.max_episode_steps=4"]) == 0
    for world in ("simulator", "imagination"):
        (record,) = [RolloutRecord.load(p) for p in (out / "films").rglob(f"0000.{world}.npz")]
        frames = record.truth if world == "simulator" else record.imagined
        # An imagined episode ends where this hardly trained judge sees success.
        assert frames is not None and frames.shape[1:] == (2, 64, 64, 3)
        assert 2 <= len(frames) <= 5


def test_any_id_with_cameras_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "data"
    cameras = f"env.cameras=[{LOOK}]"
    arguments = ("env=gymnasium", "env.id=Pusher-v5", cameras, "env.image_size=32", f"out={out}")
    source = ("env.source_kwargs={frame_skip: 10}", "env.success=false")
    assert collect(*arguments, *source, *SMALL) == 0
    dataset = LeRobotDataset(out)
    assert dataset.spec.fps == 10
    assert dataset.spec.action.dim == 7 and dataset.spec.cameras[0].height == 32


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("env=gymnasium",), "needs env.id=VALUE"),
        (("env=gymnasium", "env.id=CartPole-v1", "env.cameras=[a]"), "no MuJoCo environment"),
        (("env=gymnasium", "env.id=Pusher-v5"), "look-at cameras"),
        (("env=gymnasium", "env.id=Pushr-v5", f"env.cameras=[{LOOK}]"), "Did you mean 'Pusher-v5'"),
        (("env=gymnasiums",), "Did you mean 'gymnasium'"),
        (("env=fetch_push", "env.camera=[]"), "Did you mean 'env.cameras'"),
        (("env=fetch_push", "env.image_size=0"), "image_size"),
    ],
)
def test_refusals(
    overrides: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect(*overrides, f"out={tmp_path / 'data'}", *SMALL) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_missing_out_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert collect("env=fetch_push") == 2
    assert "out=VALUE" in capsys.readouterr().err
