"""Names that Hydra would read as numbers or switches stay names, wherever a path is asked for."""

from pathlib import Path

import pytest
from lerobot_testing import ForeignSet

from worldsim.cli.main import main
from worldsim.config.compose import compose_config


@pytest.mark.parametrize("name", ["20261126", "2026_11_26", "1.10", "1e3", "true", "0x10"])
def test_paths_are_what_was_typed(name: str) -> None:
    rank = compose_config(
        "rank",
        [f"{key}={name}" for key in ("out", "model", "judge", "starts.dataset", "reference.csv")]
        + [f"report.also=[{name},other/{name}]", "seed=3"],
    )
    texts = (rank.out, rank.model, rank.judge, rank.starts.dataset, rank.reference.csv)
    assert texts == (name,) * 5
    assert list(rank.report.also) == [name, f"other/{name}"] and rank.seed == 3
    train = compose_config("train", [f"dataset={name}", f"out={name}", f"start_from={name}"])
    assert (train.dataset, train.out, train.start_from) == (name,) * 3
    assert compose_config("train", ["dataset=a", "out=b", "reuse=null"]).reuse is None


def test_a_data_set_named_by_a_date_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ForeignSet().write(Path("20261126"))
    ForeignSet().write(Path("2026_11_27"))
    for action in ("inspect", "verify"):
        assert main(["data", action, "root=20261126"]) == 0
    assert main(["data", "preview", "root=2026_11_27", "out=20.png"]) == 0
    assert main(["data", "merge", "roots=[20261126,2026_11_27]", "out=2026"]) == 0
    assert Path("2026/meta/info.json").is_file() and Path("20.png").is_file()
