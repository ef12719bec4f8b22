"""Recordings without progress: judge, training, envs and rankings say so, and invent none."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from imagination_testing import REPORT, nano_judge, nano_starts
from rank_testing import rank_config, save_nano_run
from worldsim_testing import nano_model, nano_spec

import worldsim.cli.train as train_module
from worldsim.cli import rank
from worldsim.config.compose import compose_config
from worldsim.envs.imagination import FrameStarts
from worldsim.errors import QualityWarning
from worldsim.files import read_json, write_json
from worldsim.judge.judge import ObservedFrame, load_pretrained_judge
from worldsim.judge.sampling import JudgeConfig
from worldsim.judge.training import train_judge
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec
from worldsim.training.run_folder import RunFolder

SIZE, EPISODES, ROWS = 16, 20, 4
SPEC = WorldSpec(
    fps=10,
    cameras=(CameraSpec("top", SIZE, SIZE),),
    action=ActionSpec(("dx",), (-1.0,), (1.0,), ("m",), (0.05,)),
    agent_pos=VectorSpec(("ee_x",), ("m",)),
    state=VectorSpec((), ()),
)
QUICK = JudgeConfig(width=8, keypoints=4, hidden=16, steps=2, batch_size=8)


class Recorded:
    """Every other episode succeeds; progress as given."""

    root = Path("recorded")
    spec = SPEC
    fingerprint = "recorded"

    def __init__(self, progress: np.ndarray) -> None:
        count = EPISODES * ROWS
        self.pixels = np.random.default_rng(0).integers(0, 255, (count, 1, SIZE, SIZE, 3), np.uint8)
        self.state = np.zeros((count, 0), np.float32)
        self.success = (np.arange(count) % (2 * ROWS)) == 2 * ROWS - 1
        self.progress = np.tile(progress.astype(np.float32), EPISODES)
        self.episode_start = np.arange(EPISODES + 1) * ROWS
        self.folds = [episode % 10 for episode in range(EPISODES)]


TOLD: Any = Recorded(np.linspace(0, 1, ROWS))
UNTOLD: Any = Recorded(np.zeros(ROWS))


def test_a_judge_knows_whether_it_learnt_progress(tmp_path: Path) -> None:
    for name, data in (("told", TOLD), ("untold", UNTOLD)):
        train_judge(data, SPEC, QUICK, tmp_path / name, show_progress=False)
    told, untold = (load_pretrained_judge(tmp_path / name) for name in ("told", "untold"))
    shown = (ObservedFrame(TOLD.pixels, np.zeros((len(TOLD.pixels), 1), np.float32)), None)
    assert told.report.reads_progress and told.read(*shown).progress.all()
    assert not untold.report.reads_progress
    assert not untold.read(*shown).progress.any()
    assert read_json(tmp_path / "untold" / "judge.json")["report"]["progress_error"] is None
    assert untold.read(*shown).success_probability.all()


@pytest.mark.parametrize(("data", "said"), [(TOLD, False), (UNTOLD, True)])
def test_training_says_what_the_reward_will_lack(
    data: Any,
    said: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worldsim.judge.training.env_of", lambda root: None)
    words = [f"judge.{name}={getattr(QUICK, name)}" for name in ("steps", "batch_size", "width")]
    config = compose_config("train", ["dataset=none", "out=none", "trainer.progress=false", *words])
    assert train_module._judge(config, data, RunFolder(tmp_path))
    assert ("tell no progress" in capsys.readouterr().err) == said


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize(("reads", "bonus"), [(True, 2.0), (False, 2.0), (False, 0.0)])
def test_an_env_says_what_its_reward_is_made_of(vector: bool, reads: bool, bonus: float) -> None:
    report = REPORT if reads else replace(REPORT, progress_error=None)
    given: dict[str, Any] = {
        "model": nano_model(),
        "judge": replace(nano_judge(0.001), report=report),  # calls everything a success
        "starts": FrameStarts(nano_starts(), nano_spec()),
        "sampling_steps": 1,
        "success_bonus": bonus,
    }
    make: Any = gymnasium.make_vec if vector else gymnasium.make
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = make("worldsim/Imagination-v0", **given)
    told = [str(w.message) for w in caught if issubclass(w.category, QualityWarning)]
    terms = (("progress_change",) if reads else ()) + (("success_bonus",) if bonus else ())
    assert env.metadata["reward"] == terms
    assert [("progress" in text and f"{bonus:g}" in text) for text in told] == [True] * (not reads)
    before = env.reset(seed=0)[1]["progress"]
    _, reward, _, _, info = env.step(env.action_space.sample())
    change = np.asarray(info["progress"]) - np.asarray(before)
    np.testing.assert_allclose(reward, change + bonus, atol=1e-6)
    assert reads or (not np.any(info["progress"]) and not np.any(before))
    assert not reads or np.any(change)


def test_a_ranking_compares_no_progress_that_nobody_reads(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_nano_run(run)
    path = run / "judge" / "judge.json"
    data = read_json(path)
    for error, name in ((0.1, "read"), (None, "unread")):
        write_json(path, {**data, "report": {**data["report"], "progress_error": error}})
        rank.run(rank_config(run, tmp_path / name))
    read, unread = (
        read_json(next((tmp_path / name).rglob("ranking.json"))) for name in ("read", "unread")
    )
    assert read["progress"] is not None and read["policies"][0]["imagined_progress"] is not None
    assert unread["progress"] is None
    assert all(policy["imagined_progress"] is None for policy in unread["policies"])
