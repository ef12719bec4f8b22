"""A small recorded world, decoded once for all training tests."""

from pathlib import Path

import pytest
import torch
from square_world import write_square_data
from train_testing import train
from worldsim_testing import nano_model

from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.clip import Clip, DropoutConfig, prepare_clip


@pytest.fixture(scope="session")
def world(square_data: CachedDataset) -> tuple[WorldModel, Clip]:
    """A frozen nano model and a prepared batch of three clips of six frames."""
    model = nano_model(spec=square_data.spec)
    batch = ClipDataset(square_data, 6).batch([0, 5, 9])
    batch["latents"] = model.encode(batch.pop("pixels"))
    generator = torch.Generator().manual_seed(0)
    return model, prepare_clip(model, batch, DropoutConfig(0.0, 0.0, 0.0), generator)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 22 short episodes on disk."""
    return write_square_data(
        Path(tmp_path_factory.mktemp("data")) / "squares", episodes=22, length=9
    )


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages on it."""
    out = Path(tmp_path_factory.mktemp("run")) / "whole"
    assert train(data, out) == 0
    return out
