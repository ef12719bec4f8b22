"""A small recorded world, decoded once for all training tests."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from square_world import square_cache, write_square_data  # noqa: E402
from train_testing import train  # noqa: E402
from worldsim_testing import nano_model  # noqa: E402

from worldsim.data.cache import CachedDataset  # noqa: E402
from worldsim.data.clips import ClipDataset  # noqa: E402
from worldsim.models.world_model import WorldModel  # noqa: E402
from worldsim.training.losses.clip import Clip, DropoutConfig, prepare_clip  # noqa: E402


@pytest.fixture(scope="session")
def square_data(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    """Twelve episodes of twelve to fourteen steps."""
    return square_cache(Path(tmp_path_factory.mktemp("squares")) / "data")


@pytest.fixture(scope="session")
def world(square_data: CachedDataset) -> tuple[WorldModel, Clip]:
    """A frozen nano model and a prepared batch of three clips of six frames."""
    model = nano_model(spec=square_data.spec)
    batch = ClipDataset(square_data, 6).batch([0, 5, 9])
    batch["latents"] = model.encode(batch.pop("pixels"))
    generator = torch.Generator().manual_seed(0)
    return model, prepare_clip(model, batch, DropoutConfig(0.0, 0.0, 0.0), generator)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 22 short episodes on disk."""
    return write_square_data(
        Path(tmp_path_factory.mktemp("data")) / "squares", episodes=22, length=9
    )


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages on it."""
    out = Path(tmp_path_factory.mktemp("run")) / "whole"
    assert train(data, out) == 0
    return out
