"""`worldsim rank`: what it writes, resumption after a kill, failing policies, logged rates."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank_testing
from omegaconf import OmegaConf
from rank_testing import rank_config, save_nano_run

from worldsim.cli import rank, rollout
from worldsim.cli.main import main
from worldsim.cli.rank_report import earlier_sections, write_ranking
from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.files import read_json, write_json
from worldsim.models.pretrained import SHIPPED
from worldsim.models.world_model import WorldModel
from worldsim.reporting.open_loop import read_open_loop


@pytest.fixture(scope="module")
def nano_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_nano_run(folder)
    return folder


@pytest.fixture(scope="module")
def finished(nano_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted ranking."""
    out = tmp_path_factory.mktemp("rank")
    rank.run(rank_config(nano_run, out))
    return out


def test_writes_results_ranking_films_and_report(finished: Path) -> None:
    ranking = read_json(finished / "ranking.json")
    assert {policy["name"] for policy in ranking["policies"]} == {"zero", "random", "slow"}
    for key in ("pearson", "spearman", "kendall", "mmrv"):
        assert {"value", "interval"} <= set(ranking[key])
    watched = ranking["judge"]["in_this_simulation"]
    assert watched["positives"] + watched["negatives"] == 3 * 4
    for world in ("simulator", "imagination"):
        assert len(list((finished / "results" / world).glob("*.json"))) == 3
        assert len(list((finished / "results" / world).glob("*.npz"))) == 3
        assert (finished / "films" / "random" / f"0000.{world}.npz").is_file()
    page = (finished / "report.html").read_text()
    assert ranking["state_assisted"] is True
    assert page.index("State-assisted") < page.index(ranking["verdict"][:30])
    assert ranking["judge"]["do_nothing"]["judged_in_simulation_rate"] is not None


@pytest.mark.slow
def test_goes_on_after_a_kill_to_the_same_ranking(
    nano_run: Path, finished: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    script = [sys.executable, rank_testing.__file__, str(nano_run), str(tmp_path)]
    found = [str(Path(rank_testing.__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    process = subprocess.Popen(script, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(results.glob("*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in results.glob("*/*.json")}
    assert kept and not (tmp_path / "ranking.json").exists()
    rank.run(rank_config(nano_run, tmp_path))
    assert read_json(tmp_path / "ranking.json") == read_json(finished / "ranking.json")
    assert (tmp_path / "report.html").read_text() == (finished / "report.html").read_text()
    for path, written in kept.items():
        assert path.stat().st_mtime_ns == written, "a finished result was made again"


@pytest.mark.slow
def test_worker_processes_give_the_same_ranking(
    nano_run: Path, finished: Path, tmp_path: Path
) -> None:
    rank.run(rank_config(nano_run, tmp_path, "workers=2"))
    assert read_json(tmp_path / "ranking.json") == read_json(finished / "ranking.json")


def test_blocks_of_starts_are_those_of_each_seed(nano_run: Path, tmp_path: Path) -> None:
    def progress(seed: str, count: int) -> list[float]:
        out = tmp_path / f"{seed}_{count}"
        few = ("films.starts=0", "name=zero", "world=simulator", f"starts.count={count}")
        rollout.run(rank_config(nano_run, out, *few, f"starts.seed={seed}"))
        values = read_json(out / "results" / "simulator" / "zero.json")["rollouts"]["outcomes"][
            "progress"
        ]
        return [float(value) for value in values]

    joined = progress("[3,50]", 4)
    assert joined == progress("3", 2) + progress("50", 2) and len(set(joined)) == 4


def test_a_result_of_another_setting_is_not_taken(nano_run: Path, tmp_path: Path) -> None:
    few = ("only=[random]", "films.starts=0", "starts.count=2")
    rank.run(rank_config(nano_run, tmp_path, *few))
    path = tmp_path / "results" / "imagination" / "random.json"
    first, written = read_json(path)["digest"], path.stat().st_mtime_ns
    rank.run(rank_config(nano_run, tmp_path, *few))
    assert path.stat().st_mtime_ns == written
    rank.run(rank_config(nano_run, tmp_path, *few, "sampling_steps=1"))
    assert path.stat().st_mtime_ns > written and read_json(path)["digest"] != first


def test_a_policy_that_breaks_is_reported_and_the_others_are_ranked(
    nano_run: Path, tmp_path: Path
) -> None:
    config = rank_config(nano_run, tmp_path, "films.starts=0", "starts.count=2")
    # A scripted policy without perception asks for privileged state, which nobody shows it.
    config.policy.policies = {
        "blind": {"kind": "scripted", "task": "reach"},
        "zero": {"kind": "zero"},
    }
    rank.run(config)
    ranking = read_json(tmp_path / "ranking.json")
    rows = {policy["name"]: policy for policy in ranking["policies"]}
    # It did not run; a rate of nothing in both worlds would be an agreement that nobody saw.
    assert rows["blind"]["imagined_rate"] is rows["blind"]["reference_rate"] is None
    assert any("blind has no rate in one world" in note for note in ranking["notes"])
    assert rows["blind"]["failures"]["count"] == 4
    assert "privileged state" in rows["blind"]["failures"]["messages"][0]
    assert rows["zero"]["failures"]["count"] == 0
    # What a policy broke off tells nothing of the judge.
    seen = ranking["judge"]["in_this_simulation"]
    assert seen["positives"] + seen["negatives"] == 2


def test_logged_rates_stand_for_the_simulator(nano_run: Path, tmp_path: Path) -> None:
    csv = tmp_path / "real.csv"
    csv.write_text("policy,successes,trials\nzero,0,10\nrandom,3,10\nslow,5,10\n")
    out = tmp_path / "out"
    rank.run(rank_config(nano_run, out, f"reference.csv={csv}"))
    ranking = read_json(out / "ranking.json")
    rates = {policy["name"]: policy["reference_rate"] for policy in ranking["policies"]}
    assert rates == {"zero": 0.0, "random": 0.3, "slow": 0.5}
    assert not (out / "results" / "simulator").exists()


def test_logged_rates_are_checked_before_any_rollout(nano_run: Path, tmp_path: Path) -> None:
    csv = tmp_path / "real.csv"
    csv.write_text("policy,successes,trials\nrandom,3,10\nslow,5,10\n")
    with pytest.raises(UsageError, match=r"zero.*only=\[random,slow\]"):
        rank.run(rank_config(nano_run, tmp_path / "out", f"reference.csv={csv}"))
    assert not (tmp_path / "out").exists()


def test_starts_from_recordings_of_another_size_without_a_simulator(
    nano_run: Path, tmp_path: Path
) -> None:
    data, csv, out = tmp_path / "data", tmp_path / "real.csv", tmp_path / "out"
    words = "env=reach env.image_size=48 episodes=20 max_steps=2 workers=0 mixture=unscripted"
    assert main(["collect", f"out={data}", *words.split()]) == 0
    csv.write_text("policy,success_rate\nzero,0\nrandom,0.3\nslow,0.5\n")
    extra = (f"reference.csv={csv}", f"starts.dataset={data}", "starts.count=2")
    rank.run(rank_config(nano_run, out, *extra))
    ranking = read_json(out / "ranking.json")
    assert {p["name"]: p["starts"] for p in ranking["policies"]} == dict.fromkeys(
        ("zero", "random", "slow"), 2
    )
    with pytest.raises(UsageError, match=r"2 episodes in split 'val', 3 starts"):
        rank.run(rank_config(nano_run, tmp_path / "more", *extra[:2], "starts.count=3"))
    assert not (tmp_path / "more").exists()


def test_rollout_keeps_films_of_every_start(nano_run: Path, tmp_path: Path) -> None:
    config = rank_config(nano_run, tmp_path, "films.starts=4", "name=random", "world=simulator")
    rollout.run(config)
    assert len(list((tmp_path / "films" / "random").glob("*.simulator.npz"))) == 4
    assert not (tmp_path / "results" / "imagination").exists()


def test_bad_requests_say_what_was_expected(nano_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nobody"):
        rank.run(rank_config(nano_run, tmp_path, "only=[nobody]"))
    with pytest.raises(UsageError, match="no such file"):
        rank.run(rank_config(nano_run, tmp_path, "reference.csv=missing.csv"))
    with pytest.raises(SpecMismatchError, match="cameras"):
        rank.run(rank_config(nano_run, tmp_path, "env.image_size=64"))
    with pytest.raises(UsageError, match="judge"):
        rank.run(rank_config(nano_run / "model", tmp_path, f"model={tmp_path}"))
    with pytest.raises(UsageError, match="count"):
        rank.run(rank_config(nano_run, tmp_path, "starts.count=0"))


def test_an_edited_policy_is_rolled_out_again_and_said_so(
    nano_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = tmp_path / "mine.py", tmp_path / "out"
    code.write_text("from worldsim.policies.simple import ZeroPolicy as Mine\n")
    config = rank_config(nano_run, out, "films.starts=0", "starts.count=2")
    config.policy.policies = {
        "mine": {"kind": "python", "target": f"{code}:Mine"},
        "zero": {"kind": "zero"},
    }
    rank.run(config)
    result = out / "results" / "simulator" / "mine.json"
    before = read_json(result)["rollouts"]
    code.write_text("from worldsim.policies.simple import RandomPolicy as Mine\n")
    capsys.readouterr()
    rank.run(config)
    assert read_json(result)["rollouts"] != before
    said = capsys.readouterr().err
    assert "2 of 4 results are kept" in said
    assert "the policy changed: mine (imagination); mine (simulator)" in said


def renamed(ranking: Path, folder: Path, title: str) -> Path:
    """A copy of a ranking under another title."""
    shutil.copytree(ranking, folder)
    config = OmegaConf.load(folder / "config.yaml")
    OmegaConf.update(config, "report.title", title)
    OmegaConf.save(config, folder / "config.yaml")
    return folder


def test_an_earlier_ranking_keeps_its_own_title_in_a_report(finished: Path, tmp_path: Path) -> None:
    earlier = renamed(finished, tmp_path / "earlier", "As it was yesterday")
    sections = earlier_sections([str(earlier)], 1)
    write_ranking(finished, {"title": "Today", "summary": ""}, 1, sections)
    page = (finished / "report.html").read_text()
    assert "As it was yesterday" in page and page.index("Today") < page.index("As it was yesterday")


def test_words_of_somebody_elses_ranking_are_shown_as_typed(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDSIM_SECRET", "hunter2")
    folder = renamed(finished, tmp_path / "theirs", "${oc.env:WORLDSIM_SECRET}")
    (section,) = earlier_sections([str(folder)], 1)
    assert section.title == "${oc.env:WORLDSIM_SECRET}"
    (folder / "config.yaml").write_text("report: {title: '${oc.env:', summary: [")
    with pytest.raises(DataError, match="not valid YAML"):
        earlier_sections([str(folder)], 1)


def test_an_earlier_ranking_is_what_it_was_when_model_and_data_are_gone(
    nano_run: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(nano_run, run)
    rank.run(rank_config(run, out, "only=[zero,random]", "films.starts=0", "starts.count=2"))
    (before,) = earlier_sections([str(out)], 1)
    shutil.rmtree(run)
    assert earlier_sections([str(out)], 1)[0].ranking == before.ranking
    broken = out / "results" / "simulator" / "zero.json"
    write_json(broken, read_json(broken) | {"digest": "of another comparison"})
    with pytest.raises(DataError, match=r"'zero' in simulator"):
        earlier_sections([str(out)], 1)


def test_earlier_rankings_are_looked_for_before_any_rollout(nano_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="none holds no ranking"):
        rank.run(rank_config(nano_run, out, "report.also=[none]"))
    assert not out.exists()


@pytest.mark.parametrize("name", sorted(p.parent.name for p in SHIPPED.glob("*/config.json")))
def test_what_ships_was_measured_as_reports_read_it(name: str) -> None:
    curves, notes = read_open_loop(SHIPPED / name / "validation.json")
    cameras = WorldModel.from_pretrained(f"shipped/{name}").spec.cameras
    assert [each.camera for each in curves] == [camera.name for camera in cameras]
    assert "] dB over 24 episodes" in notes[0]
    # Walkers' actions were not exchanged: an agent's would lead through other walls.
    swapped = read_json(SHIPPED / name / "validation.json").get("swap") is not None
    assert (
        swapped == (name != "indoor")
        and ["end effector" in n for n in notes[1:]] == [True] * swapped
    )


def test_open_loop_quality_stands_in_the_report_where_training_left_it(
    nano_run: Path, finished: Path
) -> None:
    psnr = {name: [[30.0] * 3, [20.0] * 3] for name in ("model", "first_frame", "shuffled_actions")}
    validation = {
        "cameras": ["exterior_1", "exterior_2", "wrist"],
        "psnr": psnr,
        "summary": {
            "psnr_moving_model": 17.31,
            "psnr_moving_first_frame": 9.4,
            "psnr_static_model": 31.2,
        },
        "intervals": {"psnr_moving_model": [16.02, 18.9]},
        "episodes": [24, 24],
        "swap": {"effect_m": 0.2044, "followed_m": 0.0123},
    }
    path = nano_run / "validation.json"
    write_json(path, validation)
    try:
        write_ranking(finished, {"title": "x", "summary": "", "also": []}, 1)
        page = (finished / "report.html").read_text()
        for expected in ("17.3 [16.0, 18.9] dB over 24", "9.4 dB", "0.204 m", "0.012 m"):
            assert expected in page, expected
        write_json(path, {"cameras": []})
        with pytest.raises(DataError, match="no open-loop validation"):
            write_ranking(finished, {"title": "x", "summary": "", "also": []}, 1)
    finally:
        path.unlink()


def test_policies_that_go_by_the_simulators_state_are_ranked_by_a_model_without_it(
    tmp_path: Path,
) -> None:
    save_nano_run(tmp_path / "run", pixels_alone=True)
    out = tmp_path / "out"
    scripted = "policy.policies={expert: {kind: scripted}, zero: {kind: zero}}"
    config = rank_config(tmp_path / "run", out, scripted, "films.starts=0", "max_steps=3")
    rank.run(config)
    report = read_json(out / "ranking.json")
    assert "expert" in {policy["name"] for policy in report["policies"]}
    assert "the world model" not in report["state_assisted_parts"]
