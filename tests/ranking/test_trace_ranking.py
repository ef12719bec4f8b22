"""How many product files `write_ranking` enters once the rollouts are there.

`python tests/ranking/test_trace_ranking.py` (with `tests/helpers` on the path) prints them.
"""

from collections import Counter
from pathlib import Path

import pytest
from rank_testing import rank_config, save_nano_run
from trace_testing import traced

from worldsim.cli import rank
from worldsim.cli.rank_report import write_ranking

LOWEST = ("worldsim/files.py", "worldsim/registry.py", "worldsim/errors.py", "worldsim/config/")
"""Shared by everything; reading a file or checking a number is no step of a ranking."""
MOST = 21
"""Product files that it may enter: cli 2, judge 1, ranking 12, reporting 2, rollout 4.

Later came intervals by tests, baselines, the judge's trial, agreement of episodes, the gate.

A page with films enters six more, which read and draw them. One of a model with a
`validation.json` enters `open_loop.py`; logged rates enter `logged.py` and `unpaired.py`.
"""


def traced_ranking(folder: Path) -> Counter[str]:
    """Files that ranking and its page enter, without films."""
    save_nano_run(folder / "run")
    out = folder / "out"
    rank.run(rank_config(folder / "run", out, "films.starts=0"))
    found: Counter[str] = Counter()
    with traced(found):
        write_ranking(out, {"title": "t", "summary": ""}, 0)
    modules = {name: n for name, n in found.items() if name.endswith(".py")}  # no templates
    return Counter({name: n for name, n in modules.items() if not name.startswith(LOWEST)})


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
