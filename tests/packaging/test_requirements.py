"""Least versions in pyproject.toml that were tried and found not to work together."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("package", "broken"),
    [
        ("numpy", "1.26.4"),  # pyarrow 26 ends at import under it
        ("av", "14.1.0"),  # copies no packets of AV1 without its decoder's name
    ],
)
def test_versions_that_do_not_work_are_ruled_out(package: str, broken: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {r.name: r for r in map(Requirement, project["dependencies"])}
    assert not required[package].specifier.contains(broken)
