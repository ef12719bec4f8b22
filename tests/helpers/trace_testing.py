"""Product files that a piece of work enters, traced."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("worldsim", "models", "envs")


@contextmanager
def traced(found: Counter[str]) -> Iterator[None]:
    """Within this context, counts into `found` the calls of functions of every product file."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_filename] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)
        for name, count in calls.items():
            path = Path(name).resolve()
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PRODUCT:
                found[str(path.relative_to(ROOT))] += count
