"""A GL backend is chosen first: MuJoCo reads MUJOCO_GL once, when something imports it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from worldsim.data.cache import CachedDataset
from worldsim.envs.gl import choose_backend
from worldsim.hardware import has_fast_bf16

choose_backend()
torch.set_num_threads(1)


@pytest.fixture
def float32_inference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a model chooses its precision it takes float32, on every processor.

    Batches of other sizes run through other kernels. In bfloat16 these differ by what its few bits
    round away, and by how much depends on the processor. In float32 they differ by rounding alone.
    """
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    has_fast_bf16.cache_clear()
    yield
    has_fast_bf16.cache_clear()


@pytest.fixture(scope="session")
def square_data(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    """Twelve episodes, of twelve to fourteen steps, of a world without a simulator."""
    from square_world import square_cache

    return square_cache(Path(tmp_path_factory.mktemp("squares")) / "data")
