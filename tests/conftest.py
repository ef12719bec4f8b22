"""Before any test module: a GL backend is chosen (MuJoCo reads MUJOCO_GL once, when something
first imports it), and the helpers beside the tests become importable (importlib mode)."""

import sys
from pathlib import Path

import pytest
import torch

from worldsim.envs.gl import choose_backend

choose_backend()
sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


@pytest.fixture
def float32_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a model chooses its precision it takes float32, on every processor.

    Batches of other sizes run through other kernels. In bfloat16 these differ by what its few bits
    round away, and by how much depends on the processor. In float32 they differ by rounding alone.
    """
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
