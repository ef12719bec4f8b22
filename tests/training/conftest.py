"""A small recorded world, decoded once for all training tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from square_world import square_cache  # noqa: E402

from worldsim.data.cache import CachedDataset  # noqa: E402


@pytest.fixture(scope="session")
def square_data(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    """Twelve episodes of twelve to fourteen steps."""
    return square_cache(Path(tmp_path_factory.mktemp("squares")) / "data")
