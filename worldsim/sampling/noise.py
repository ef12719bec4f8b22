"""Noise that depends on (seed, env, step) only, whatever batch a row runs in."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


def env_noise(keys: Iterable[tuple[int, ...]], shape: Sequence[int]) -> Tensor:
    """Unit Gaussian noise `[N, *shape]` float32; row i is a function of keys[i] alone.

    Args:
        keys: (seed, env id, step of its episode, and rung where there are several) of each row.
        shape: of one row.
    """
    rows = [
        np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).standard_normal(
            tuple(shape), dtype=np.float32
        )
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, *shape)
