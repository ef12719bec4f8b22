"""What a kept result depends on: change one of these and it no longer holds, or else it does."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from ranking_testing import made_up_batch

from worldsim.errors import UsageError, WorldsimError
from worldsim.files import read_json, write_json
from worldsim.hardware import has_fast_bf16
from worldsim.rollout import eval_config as eval_config_module
from worldsim.rollout import jobs
from worldsim.rollout.episodes import RolloutBatch
from worldsim.rollout.eval_config import EvalConfig, StartPlan
from worldsim.rollout.jobs import standing
from worldsim.rollout.results import Job, read_result, result_path, write_result

FILES = {
    "model/config.json": "{}",
    "model/model.safetensors": "weights",
    "model/README.md": "a card",
    "model/training.yaml": "a: 1",
    "judge/config.json": "{}",
    "data/meta/info.json": "{}",
    "data/meta/episodes/chunk-000/file-000.parquet": "episodes",
    "data/data/chunk-000/file-000.parquet": "rows",
    "data/videos/front/chunk-000/file-000.mp4": "frames",
    "data/cache/pixels.npy": "decoded",
    "weights/deep/er.bin": "weights of a policy",
    "weights/README.md": "a card",
    "scene.xml": "<mujoco/>",
    "code/mine.py": "import helper\nfrom tools.inner import two\nclass Policy: pass\n",
    "code/helper.py": "ONE = 1\n",
    "code/tools/__init__.py": "",
    "code/tools/inner.py": "from tools import deepest\ntwo = 2\n",
    "code/tools/deepest.py": "",
    "code/unused.py": "",
    "path/kept_module/__init__.py": "",
    "path/kept_module/policy.py": "import kept_beside\nfrom kept_module import base\n",
    "path/kept_module/base.py": "",
    "path/kept_beside.py": "",
    "path/kept_env.py": "class Env: pass\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Files of all kinds, in a folder whose `path` Python looks for modules in."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path"), *sys.path])
    gymnasium.register("KeptEnv-v0", entry_point="kept_env:Env")
    yield tmp_path
    gymnasium.registry.pop("KeptEnv-v0")


def compared(place: Path, **changes: Any) -> EvalConfig:
    nested = {"banks": [{"folder": str(place / "weights")}], "prompt": "push " * 200}
    policies = {
        "file": {"kind": "python", "target": f"{place}/code/mine.py:Policy", "arguments": nested},
        "module": {"kind": "python", "target": "kept_module.policy:Policy"},
        "replay": {"kind": "replay", "dataset": str(place / "data")},
    }
    given: dict[str, Any] = {
        "policies": policies,
        "env_id": "KeptEnv-v0",
        "env_kwargs": {"source_kwargs": {"model": str(place / "scene.xml")}},
        "model": str(place / "model"),
        "judge": str(place / "judge"),
        "starts": StartPlan(2, 0, dataset=str(place / "data")),
    }
    return EvalConfig(**given | changes)


def changed(before: EvalConfig, change: Callable[[], object], policy: str = "file") -> list[str]:
    """Parts of the result in imagination that `change` changes."""
    first = before.parts(policy, "imagination")
    change()
    then = before.parts(policy, "imagination")
    return [name for name in first if first[name] != then[name]]


@pytest.mark.parametrize(
    ("file", "policy", "part"),
    [
        ("model/model.safetensors", "file", "the world model"),
        ("judge/config.json", "file", "the judge"),
        ("data/meta/info.json", "file", "the starts"),
        ("data/meta/episodes/chunk-000/file-000.parquet", "file", "the starts"),
        ("data/data/chunk-000/file-000.parquet", "file", "the starts"),
        ("data/data/chunk-000/file-000.parquet", "replay", "the policy"),
        ("data/videos/front/chunk-000/file-000.mp4", "file", "the starts"),
        ("weights/deep/er.bin", "file", "the policy"),
        ("code/mine.py", "file", "the policy"),
        ("code/helper.py", "file", "the policy"),
        ("code/tools/inner.py", "file", "the policy"),
        ("code/tools/deepest.py", "file", "the policy"),
        ("path/kept_module/policy.py", "module", "the policy"),
        ("path/kept_module/base.py", "module", "the policy"),
        ("path/kept_beside.py", "module", "the policy"),
        ("path/kept_env.py", "file", "the simulator env"),
        ("scene.xml", "file", "the simulator env"),
    ],
)
def test_a_changed_file_is_another_result(place: Path, file: str, policy: str, part: str) -> None:
    def change() -> None:
        path = place / file
        path.write_text(FILES[file] + "# else\n")
        os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))

    assert part in changed(compared(place), change, policy)


@pytest.mark.parametrize(
    "file",
    [
        *("model/README.md", "model/training.yaml", "weights/README.md", "data/cache/pixels.npy"),
        *("code/unused.py", "model/judge/model.safetensors"),
    ],
)
def test_what_describes_or_follows_from_the_rest_is_no_other_result(place: Path, file: str) -> None:
    def change() -> None:
        (place / file).parent.mkdir(exist_ok=True)
        (place / file).write_text("something else")

    assert changed(compared(place), change) == []


def test_results_written_into_a_folder_that_a_policy_names_change_nothing(place: Path) -> None:
    def change() -> None:
        write_json(place / "weights" / "ranking" / "comparison.json", {})
        write_json(place / "weights" / "ranking" / "results" / "a.json", {})

    assert changed(compared(place), change) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"device": "meta"}, "the device"),
        ({"sampling_steps": 1}, "sampling_steps"),
        ({"max_steps": 3}, "max_steps, seed or films"),
        ({"films": 1}, "max_steps, seed or films"),
        ({"env_kwargs": {}}, "the simulator env"),
        ({"starts": StartPlan(2, (0, 7))}, "the starts"),
    ],
)
def test_a_changed_setting_is_another_result(
    place: Path, change: dict[str, Any], part: str
) -> None:
    before = compared(place)
    first = before.parts("file", "imagination")
    then = replace(before, **change).parts("file", "imagination")
    assert [name for name in first if first[name] != then[name]] == [part]


def test_other_packages_or_another_precision_are_another_result(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = compared(place)
    updated = changed(
        ours, lambda: monkeypatch.setattr(eval_config_module, "software", lambda: {"torch": "0"})
    )
    assert updated == ["worldsim or its packages"]
    faster = not has_fast_bf16()
    moved = changed(
        ours, lambda: monkeypatch.setattr(eval_config_module, "has_fast_bf16", lambda _: faster)
    )
    assert moved == ["the device"]


def test_a_folder_named_like_a_kind_is_none_of_its_business(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    ours = compared(place, policies={"file": {"kind": "weights", "mark": "."}})
    assert changed(ours, lambda: (place / "weights" / "more.bin").write_text("x")) == []


def batch(policy: str) -> RolloutBatch:
    return made_up_batch(policy, "imagination", [False, False])


def test_what_is_kept_and_what_is_not_is_said_with_the_reason(place: Path, tmp_path: Path) -> None:
    ours = compared(place)
    ours.policies["remote"] = {"kind": "remote", "port": 1}
    wanted = {job: ours.parts(*job) for job in (Job(n, "imagination") for n in ours.policies)}
    for job, parts in wanted.items():
        write_result(tmp_path, job, parts, batch(job.policy))
    assert standing(tmp_path, wanted).missing == ()
    (place / "code" / "helper.py").write_text("ONE = 2\n")
    old = result_path(tmp_path, Job("module", "imagination"))
    write_json(old, {"digest": "of format 1", "rollouts": read_json(old)["rollouts"]})
    found = standing(tmp_path, {job: ours.parts(*job) for job in wanted})
    assert [job.policy for job in found.kept] == ["replay", "remote"]
    assert found.missing == (Job("file", "imagination"), Job("module", "imagination"))
    assert found.stale[Job("file", "imagination")] == "the policy changed"
    assert "older version" in found.stale[Job("module", "imagination")]
    lines = found.in_words(ours)
    assert any("2 of 4" in line and "replay, remote (imagination)" in line for line in lines)
    assert any("the policy changed: file (imagination)" in line for line in lines)
    assert any("server" in line and line.endswith(": remote (imagination)") for line in lines)


JOB, PARTS = Job("a", "imagination"), {"all": "x"}


def test_trajectories_are_read_again(tmp_path: Path) -> None:
    won = made_up_batch("a", "imagination", [True, False, True], [0.25, 0.5, 1.0])
    write_result(tmp_path, JOB, PARTS, won)
    again = read_result(tmp_path, JOB)
    assert again is not None and again.success.tolist() == [True, False, True]
    assert again.outcomes("path_length").tolist() == [0.25, 0.5, 1.0]
    for ours, theirs in zip(won.trajectories, again.trajectories, strict=True):
        assert np.array_equal(ours.agent_pos, theirs.agent_pos)
        assert np.array_equal(ours.action, theirs.action)


def test_halves_of_two_results_are_none(tmp_path: Path) -> None:
    write_result(tmp_path, JOB, PARTS, batch("a"))
    arrays = result_path(tmp_path, JOB).with_suffix(".npz")
    before = arrays.read_bytes()
    write_result(tmp_path, JOB, {"all": "y"}, batch("a"))
    arrays.write_bytes(before)
    assert read_result(tmp_path, JOB) is None
    arrays.write_bytes(before[:40])
    assert read_result(tmp_path, JOB) is None
    arrays.unlink()
    assert read_result(tmp_path, JOB) is None


def test_results_without_trajectories_are_read_too(tmp_path: Path) -> None:
    """As worldsim wrote them before it stored trajectories."""
    rollouts = {
        **{"policy": "a", "world": "imagination", "start_ids": [0, 1, 2]},
        **{"success": [True, False, False], "judged": [True, False, False]},
        **{"progress": [0.9, 0.5, 0.0], "length": [2, 3, 0]},
        "errors": [None, None, "it broke"],
        "probability_trace": [[0.1, 0.2, 0.9], [0.1, 0.1, 0.1, 0.1], []],
        "progress_trace": [[0.0, 0.9, 0.8], [0.0, 0.5, 0.4, 0.3], []],
    }
    write_json(result_path(tmp_path, JOB), {"digest": "d", "rollouts": rollouts})
    old = read_result(tmp_path, JOB, "d")
    assert old is not None and old.length.tolist() == [2, 3, 0]
    assert old.success.tolist() == [True, False, False]
    assert old.judged is not None and old.judged.tolist() == [True, False, False]
    assert old.outcomes("progress").tolist() == pytest.approx([0.9, 0.5, 0.0])
    assert old.outcomes("steps_to_success").tolist() == [2, 3, 3]
    assert np.isnan(old.outcomes("path_length")).all()


def test_a_result_whose_policy_was_edited_meanwhile_is_not_kept(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = compared(place)
    wanted = {job: ours.parts(*job) for job in [Job("file", "imagination")]}

    class Editing:
        def __init__(self, _: EvalConfig) -> None:
            pass

        def roll_out(self, policy: str, world: str) -> RolloutBatch:
            (place / "code" / "helper.py").write_text("ONE = 3\n")
            return batch(policy)

    monkeypatch.setattr(jobs, "Evaluator", Editing)
    with pytest.raises(WorldsimError, match="the policy changed while file"):
        list(jobs.run_missing(ours, tmp_path, wanted, 0))
    assert read_result(tmp_path, Job("file", "imagination")) is None


def test_starts_come_in_blocks_of_seeds() -> None:
    assert StartPlan(4, 7).seeds == [7, 8, 9, 10]
    assert StartPlan(4, (7, 20)).seeds == [7, 8, 20, 21]
    with pytest.raises(UsageError, match="multiple of 2"):
        StartPlan(3, (7, 20))
    with pytest.raises(UsageError, match="overlap"):
        StartPlan(4, (7, 8))
