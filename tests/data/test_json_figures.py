"""JSON files hold no NaN: figures that are not finite are null, anything else is refused."""

import json
import math
from pathlib import Path

import pytest

from worldsim.errors import DataError
from worldsim.files import write_figures, write_json


def test_figures_that_are_not_finite_are_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_figures(path, {"a": math.nan, "b": [1.5, (math.inf, 2)], "c": {"d": -math.inf, "e": "x"}})
    assert json.loads(path.read_text()) == {
        "a": None,
        "b": [1.5, [None, 2]],
        "c": {"d": None, "e": "x"},
    }


def test_what_must_be_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.json was not written"):
        write_json(tmp_path / "a.json", {"mean": math.nan})
    assert not list(tmp_path.iterdir())
