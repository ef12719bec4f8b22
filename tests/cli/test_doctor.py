"""The doctor's table, its verdict, and single checks that must be able to fail."""

import json
from pathlib import Path

import pytest

from worldsim.cli import doctor_checks
from worldsim.cli.doctor_checks import Finding, all_findings
from worldsim.cli.main import main


def fake(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    monkeypatch.setattr("worldsim.cli.doctor.all_findings", lambda size, disk: list(findings))


@pytest.mark.slow
def test_this_machine_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "matmul_size=64", f"out={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    written = json.loads((tmp_path / "doctor.json").read_text())
    status = {finding["name"]: finding["status"] for finding in written}
    assert status["GL"] == "OK" and status["H.264 encode+decode"] == "OK"


def test_failure_of_a_required_part_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, Finding("disk", "OK", "much"), Finding("GL", "FAIL", "no [EGL] here"))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "no [EGL] here" in captured.out
    assert captured.err == "worldsim: doctor: GL failed; see the table for what to do\n"


def test_absent_optional_packages_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, Finding("rerun", "absent", "optional"))
    assert main(["doctor"]) == 0


def test_broken_gl_backend_is_reported_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "no-such-backend")
    with pytest.raises(RuntimeError, match="MUJOCO_GL=egl"):
        doctor_checks._gl()


def test_decoder_of_another_codec_is_noticed() -> None:
    with pytest.raises(Exception, match=r".+"):
        doctor_checks._codec("libx264", "libdav1d")


def test_full_disk_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor_checks, "LEAST_FREE_GB", 1e9)
    with pytest.raises(RuntimeError, match="at least"):
        doctor_checks._disk(tmp_path / "not" / "yet" / "made")


def test_missing_package_is_absent_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "EXTRAS", {"no_such_package_here": "web"})
    monkeypatch.setattr(doctor_checks, "_guarded", lambda name, check: Finding(name, "OK", ""))
    finding = all_findings(8, Path("."))[-1]
    assert finding.status == "absent" and "worldsim[web]" in finding.detail


def test_a_check_that_raises_is_a_failure_of_its_own() -> None:
    def broken() -> str:
        raise OSError("no such device")

    finding = doctor_checks._guarded("GL", broken)
    assert finding == Finding("GL", "FAIL", "OSError: no such device")


def habitat(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """What is found of a habitat-sim whose module holds this code."""
    (folder / "habitat_sim.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{root}")
    return doctor_checks._habitat()


def test_habitat_sim_is_told_with_its_version_or_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = habitat(tmp_path, "__version__ = '0.3.4'", monkeypatch)
    assert found.status == "OK" and "version 0.3.4" in found.detail
    found = habitat(tmp_path, "__version__ = '0.2.4'", monkeypatch)
    assert found.status == "absent" and "version 0.2.4, expected 0.3.x" in found.detail
    found = habitat(tmp_path, "import os; os.abort()", monkeypatch)
    assert found.status == "absent" and "ends with" in found.detail
    monkeypatch.setattr("worldsim.envs.habitat.library.find_spec", lambda name: None)
    found = doctor_checks._habitat()
    assert found.status == "absent" and "conda install habitat-sim" in found.detail
