"""How many product files `write_ranking` enters once the rollouts are there.

`python tests/ranking/test_trace_ranking.py` (with `tests/helpers` on the path) prints them.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from rank_testing import rank_config, save_nano_run

from worldsim.cli import rank
from worldsim.cli.rank_report import write_ranking

ROOT = Path(__file__).resolve().parents[2]
LOWEST = ("worldsim/files.py", "worldsim/registry.py", "worldsim/errors.py", "worldsim/config/")
"""Shared by everything; reading a file or checking a number is no step of a ranking."""
MOST = 25
"""Product files that it may enter. 14 is the aim; what runs is some 4300 lines, which files of 300
lines at most hold in no less than 15."""


def entered(run: Callable[[], Any]) -> Counter[str]:
    """Product files whose functions `run` calls, and how many calls each gets."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            calls[frame.f_code.co_filename] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(before)
    found: Counter[str] = Counter()
    for name, count in calls.items():
        path = Path(name).resolve()
        if path.suffix == ".py" and path.is_relative_to(ROOT):
            place = str(path.relative_to(ROOT))
            if place.startswith(("worldsim/", "models/", "envs/")):
                found[place] += count
    return found


def traced_ranking(folder: Path) -> Counter[str]:
    """Files that ranking and its page enter, without films."""
    save_nano_run(folder / "run")
    out = folder / "out"
    rank.run(rank_config(folder / "run", out, "films.starts=0"))
    files = entered(lambda: write_ranking(out, {"title": "t", "summary": ""}, 0))
    return Counter({name: n for name, n in files.items() if not name.startswith(LOWEST)})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    return traced_ranking(tmp_path_factory.mktemp("ranking"))


def test_a_ranking_enters_few_product_files(files: Counter[str]) -> None:
    assert len(files) <= MOST, sorted(files)


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as made:
        for name, count in traced_ranking(Path(made)).most_common():
            print(f"{count:7} {name}")
