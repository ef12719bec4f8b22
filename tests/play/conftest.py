"""Fixtures of a played nano world."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from play_testing import Served, new_session, serving

from worldsim.play.session import PlaySession


@pytest.fixture
def session() -> PlaySession:
    return new_session()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "out", new_session, max_sessions=1) as running:
        yield running
