"""`worldsim COMMAND key=value ...`: parse, compose the config, run, map failures to exit codes.

Exit codes: 0 done, 1 failed, 2 wrong request, 130 interrupted, 143 terminated.
"""

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, TextIO

from worldsim.cli.commands import COMMANDS
from worldsim.cli.help import command_help, overview
from worldsim.errors import (
    EXTRAS,
    MissingExtraError,
    UsageError,
    WorldsimError,
    in_one_line,
    unknown_name,
)
from worldsim.hardware import keep_freed_memory

DEBUG_VARIABLE = "WORLDSIM_DEBUG"
INTERRUPTED, BROKEN_PIPE, TERMINATED = 130, 141, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM ended the command, as Ctrl-C does: workers stop and what is theirs is freed."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; prints, never raises for known failures.

    Args:
        argv: arguments after the program name; None takes them from the process.
    """
    arguments = sys.argv[1:] if argv is None else argv
    command = next((word for word in arguments if word in COMMANDS), None)
    try:
        with warnings.catch_warnings(), _orderly_end():
            warnings.showwarning = in_one_line(warnings.showwarning)
            _dispatch(arguments)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt as error:
        kept = COMMANDS[command].kept if command else "nothing was started"
        code = TERMINATED if isinstance(error, Terminated) else INTERRUPTED
        return _fail(f"interrupted: {kept}", code)
    except BrokenPipeError:
        _silence(sys.stdout)
        return BROKEN_PIPE
    except (WorldsimError, OSError, ModuleNotFoundError) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _report(error, command)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM; only a process's main thread may say what a signal does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return
    name, *rest = arguments
    if name == "--version":
        print(f"worldsim {version('worldsim')}")
        return
    if name not in COMMANDS:
        raise unknown_name("option" if name.startswith("-") else "command", name, COMMANDS)
    if "-h" in rest or "--help" in rest:
        print(command_help(name), end="")
        return
    show = "--config" in rest
    overrides = _overrides(name, [word for word in rest if word != "--config"])
    _run(name, overrides, show)


def _overrides(name: str, words: list[str]) -> list[str]:
    """Arguments as Hydra overrides; a leading action word becomes `action=WORD`."""
    actions = COMMANDS[name].actions
    if actions and words and "=" not in words[0] and not words[0].startswith("-"):
        if words[0] not in actions:
            raise unknown_name(f"action of `worldsim {name}`", words[0], actions)
        words = [f"action={words[0]}", *words[1:]]
    for word in words:
        if word.startswith("-"):
            hint = word.lstrip("-").replace(" ", "=")
            raise UsageError(
                f"unknown option {word!r}; settings are written without dashes as key=value, "
                f"here perhaps {hint if '=' in hint else hint + '=VALUE'} "
                f"(see `worldsim {name} --help`)"
            )
    return words


def _run(name: str, overrides: list[str], show: bool) -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from worldsim.config.compose import compose_config

    config = compose_config(name, overrides)
    if show:
        print(OmegaConf.to_yaml(config), end="")
        return
    if missing := sorted(OmegaConf.missing_keys(config)):
        wanted = " ".join(f"{key}=VALUE" for key in missing)
        raise UsageError(f"`worldsim {name}` needs {wanted} (see `worldsim {name} --help`)")
    keep_freed_memory()
    if COMMANDS[name].renders:
        # MuJoCo reads MUJOCO_GL once, when it is first imported, so this comes before anything.
        import_module("worldsim.envs.gl").choose_backend()
    try:
        _import_own_parts(OmegaConf.to_container(config))
        import_module("worldsim.cli.settings.check").check_options(name, config, overrides)
        command = import_module(f"worldsim.cli.{name}")
        if hasattr(command, "prepare"):  # what hangs on which settings were given
            config = command.prepare(config, overrides)
        with _held(name, config):
            command.run(config)
    except OmegaConfBaseException as error:
        raise UsageError(f"configuration of `worldsim {name}`: {error}") from error


def _held(name: str, config: Any) -> AbstractContextManager[None]:
    """The folder of a command that continues what stands there, for it alone."""
    from worldsim.files import sole_writer

    return sole_writer(Path(str(config.out))) if COMMANDS[name].continues else nullcontext()


def _import_own_parts(config: Any) -> None:
    """Import what `parts` of the command line names, before any name of a part is looked up."""
    from worldsim.config.limits import OwnParts
    from worldsim.config.values import read_value
    from worldsim.own_imports import import_parts

    import_parts(read_value(OwnParts, config.get("parts", ()), "parts"))


def _report(error: Exception, command: str | None) -> int:
    """Print one message for a known kind of failure; returns its exit code."""
    if isinstance(error, WorldsimError):
        return _fail(str(error), error.exit_code)
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise error
        return _fail(str(MissingExtraError(package, EXTRAS[package])), MissingExtraError.exit_code)
    assert isinstance(error, OSError)
    if error.errno == errno.ENOSPC:
        kept = f"; {COMMANDS[command].kept}" if command else ""
        return _fail(f"the disk is full ({_where(error)}){kept}. Free space and run again", 1)
    if error.errno is None:
        raise error
    return _fail(f"{error.strerror}: {_where(error)}", 1)


def _where(error: OSError) -> str:
    return str(error.filename or "while writing")


def _fail(message: str, code: int) -> int:
    print(f"worldsim: {' '.join(message.split())}", file=sys.stderr)
    return code


def _silence(stream: TextIO) -> None:
    """Point a closed pipe at nothing, so that the interpreter's last flush stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
