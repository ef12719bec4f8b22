"""Arguments, help, and how failures become one line and an exit code."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from worldsim.cli.commands import COMMANDS
from worldsim.cli.main import main
from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.files import sole_writer


@pytest.fixture
def run_doctor(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[DictConfig], None]], int]:
    """Run `worldsim doctor` with its `run` replaced; returns the exit code."""

    def run_with(body: Callable[[DictConfig], None]) -> int:
        monkeypatch.setattr("worldsim.cli.doctor.run", body)
        return main(["doctor"])

    return run_with


def raising(error: BaseException) -> Callable[[DictConfig], None]:
    def run(config: DictConfig) -> None:
        raise error

    return run


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, expect exit code 2 and one line on stderr; returns that line."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_overview_lists_every_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_help_has_examples_and_keys(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: worldsim {name}")
    assert f"worldsim {name}" in shown.split("examples:")[1]
    assert "out:" in shown and "How overrides work" in shown
    assert "defaults:" not in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("worldsim ")


def test_config_prints_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--config", "matmul_size=7"]) == 0
    assert capsys.readouterr().out == "out: null\nmatmul_size: 7\n"


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'collect'?" in refused(capsys, "colect")


def test_unknown_option_shows_the_override(capsys: pytest.CaptureFixture[str]) -> None:
    assert "matmul_size=3" in refused(capsys, "doctor", "--matmul_size=3")


def test_unknown_key_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'matmul_size'?" in refused(capsys, "doctor", "matmul_sise=3")


def test_word_that_is_no_override(capsys: pytest.CaptureFixture[str]) -> None:
    assert "key=value" in refused(capsys, "doctor", "quickly")


def test_wrong_type_names_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert "matmul_size" in refused(capsys, "doctor", "matmul_size=big")


def test_unparsable_override_is_quoted_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'out=[1'" in refused(capsys, "doctor", "out=[1")


def test_unknown_action_of_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'verify'?" in refused(capsys, "data", "verfy")


def test_failure_is_one_line_and_exit_code_1(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_doctor(raising(DataError("a.mp4 is truncated;\nrecord it again"))) == 1
    assert capsys.readouterr().err == "worldsim: a.mp4 is truncated; record it again\n"


def test_usage_errors_keep_their_exit_code(
    run_doctor: Callable[[Callable[[DictConfig], None]], int],
) -> None:
    assert run_doctor(raising(SpecMismatchError("fps 10 and 20"))) == 2


def test_interruption_says_what_is_kept(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_doctor(raising(KeyboardInterrupt())) == 130
    assert COMMANDS["doctor"].kept in capsys.readouterr().err


def test_termination_ends_as_an_interruption_does(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_doctor(lambda config: os.kill(os.getpid(), signal.SIGTERM)) == 143
    assert COMMANDS["doctor"].kept in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_full_disk_is_told_plainly(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/data.parquet")
    assert run_doctor(raising(full)) == 1
    said = capsys.readouterr().err
    assert "disk is full" in said and "runs/a/data.parquet" in said


def test_missing_optional_package_names_the_extra(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    absent = ModuleNotFoundError("No module named 'rerun.sinks'", name="rerun.sinks")
    assert run_doctor(raising(absent)) == 2
    assert "worldsim[rerun]" in capsys.readouterr().err


def test_unexpected_errors_keep_their_traceback(
    run_doctor: Callable[[Callable[[DictConfig], None]], int],
) -> None:
    with pytest.raises(ZeroDivisionError):
        run_doctor(raising(ZeroDivisionError()))


def test_debug_shows_the_traceback_of_known_errors(
    run_doctor: Callable[[Callable[[DictConfig], None]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLDSIM_DEBUG", "1")
    with pytest.raises(DataError):
        run_doctor(raising(DataError("broken")))


def test_as_a_process_with_a_closed_pipe() -> None:
    """The reader goes away before anything is written: quiet, whatever the timing."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "worldsim", "--help"], stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert process.returncode == 141
    assert process.stderr == b""


def test_as_a_process_exit_code_reaches_the_shell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worldsim", "trian"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == "" and "Did you mean 'train'?" in done.stderr


@pytest.mark.parametrize("command", [name for name, each in COMMANDS.items() if each.continues])
def test_a_folder_that_another_command_continues_is_left_to_it(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, ran = tmp_path / "run", []
    monkeypatch.setattr("worldsim.cli.settings.check.check_options", lambda *_: None)
    monkeypatch.setattr(f"worldsim.cli.{command}.run", lambda config: ran.append(config.out))
    monkeypatch.setattr(f"worldsim.cli.{command}.prepare", lambda config, _: config, raising=False)
    words = [command, f"out={folder}"]
    words += {"train": ["dataset=d"], "rollout": ["name=zero"], "rank": ["model=m"]}[command]
    with sole_writer(folder):
        assert "another process is writing to" in refused(capsys, *words)
    assert main(words) == 0 and ran == [str(folder)]
    assert not folder.exists(), "nothing was put into it"


def test_a_file_where_results_should_go_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("mine")
    for folder in (file, file / "deeper"):
        with pytest.raises(UsageError, match=f"{file} is a file"), sole_writer(folder):
            pass
    assert file.read_text() == "mine"
