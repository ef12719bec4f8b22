"""The GL backend is one that was seen to work, whatever the environment says."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from worldsim.cli.main import main
from worldsim.envs import gl
from worldsim.errors import UsageError, WorldsimError

Works = Callable[..., list[str]]


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Works:
    """Says which backends work here; returns the list of those that are tried."""
    for name in ("MUJOCO_GL", "WORLDSIM_GL_TRIED", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile goes in the end
        monkeypatch.delenv(name)

    def only(*backends: str) -> list[str]:
        tried: list[str] = []

        def why_not(backend: str) -> str | None:
            tried.append(backend)
            return None if backend in backends else f"no {backend} here"

        monkeypatch.setattr(gl, "why_not", why_not)
        monkeypatch.setattr(sys, "platform", "linux")
        return tried

    return only


@pytest.mark.parametrize(
    ("display", "working", "chosen"),
    [
        ("", ("egl", "osmesa"), "egl"),
        ("", ("osmesa", "glfw"), "osmesa"),
        (":0", ("egl", "glfw"), "egl"),
        (":0", ("glfw", "osmesa"), "glfw"),
        (":99", ("egl",), "egl"),
        (":99", ("osmesa",), "osmesa"),
        ("", (), "disable"),
    ],
)
def test_the_first_that_works_is_chosen(
    works: Works, monkeypatch: pytest.MonkeyPatch, display: str, working: tuple[str], chosen: str
) -> None:
    if display:
        monkeypatch.setenv("DISPLAY", display)
    tried = works(*working)
    assert gl.choose_backend() == chosen == os.environ["MUJOCO_GL"]
    count = len(tried)
    assert gl.choose_backend() == chosen and len(tried) == count, "it is not tried again"


def test_where_none_works_drawing_says_why(works: Works) -> None:
    works()
    gl.choose_backend()
    with pytest.raises(WorldsimError, match="egl: no egl here; osmesa: no osmesa here"):
        gl.drawing_backend()


def test_a_backend_that_was_asked_for_is_tried(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = works("egl")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(UsageError, match="no osmesa here"):
        gl.choose_backend()
    monkeypatch.setenv("MUJOCO_GL", "EGL")
    assert gl.drawing_backend() == "EGL" and tried == ["osmesa", "egl"]
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert gl.choose_backend() == "off" and tried == ["osmesa", "egl"]
    with pytest.raises(WorldsimError, match="MUJOCO_GL is 'off'"):
        gl.drawing_backend()


def test_a_command_refuses_a_backend_that_does_not_work(
    works: Works, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works("egl")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert main(["rank", "out=never-made"]) == 2
    assert "no osmesa here" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others have one backend")
def test_a_display_that_is_gone_is_not_drawn_on() -> None:
    """Truly tried, in a process that knows of no choice yet."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", gl._TRIED)}
    code = "from worldsim.envs.gl import drawing_backend; print(drawing_backend())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "DISPLAY": ":4999"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.stdout.strip() in ("egl", "osmesa"), done.stderr


def test_what_goes_wrong_is_told_in_one_line() -> None:
    reason = gl.why_not("no-such-backend")
    assert reason is not None and "no-such-backend" in reason and "\n" not in reason
