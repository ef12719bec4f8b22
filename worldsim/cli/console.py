"""Words and progress for people, on stderr; stdout stays free for results."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

CONSOLE = Console(stderr=True, highlight=False)
"""Progress, notes and errors."""

LOG_SECONDS = 30.0
"""Where stderr is no terminal, progress is a plain line this often."""

Advance = Callable[[int], None]


def say(text: str) -> None:
    """One plain line on stderr; square brackets are text, not markup."""
    CONSOLE.print(text, markup=False, soft_wrap=True)


def finish(what: str, path: Path) -> None:
    """The last line of a command: what was made and where it lies."""
    say(f"{what}: {path.resolve()}")


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show progress over `total` units; yields a function that advances by n units.

    A bar on a terminal; elsewhere (logs, CI) a plain line now and then and one at the end.

    Args:
        description: what is being counted ("episodes", "rollouts in imagination").
        total: how many units there are.
        done: units already finished by an earlier run.
    """
    if CONSOLE.is_terminal:
        with _bar() as bar:
            task = bar.add_task(description, total=total, completed=done)
            yield lambda n: bar.advance(task, n)
        return
    lines = _ProgressLines(description, total, done)
    yield lines.advance
    lines.close()


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """As `progress`, for work that says itself (done, total); nothing is shown before it does."""
    with ExitStack() as bars:
        advance: Advance | None = None
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal advance, shown
            if advance is None:
                advance = bars.enter_context(progress(description, total))
            advance(done - shown)
            shown = done

        yield show


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=CONSOLE,
    )


class _ProgressLines:
    """Progress as occasional plain lines, for logs."""

    def __init__(self, description: str, total: int, done: int) -> None:
        self._description, self._total, self._count = description, total, done
        self._start = self._last = time.monotonic()

    def advance(self, n: int) -> None:
        self._count += n
        if time.monotonic() - self._last >= LOG_SECONDS:
            self._print()

    def close(self) -> None:
        self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        say(f"{self._description}: {self._count}/{self._total} after {elapsed:.0f} s")
