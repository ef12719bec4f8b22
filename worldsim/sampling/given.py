"""Checks of what a stream is given: actions, and where they lead.

Legend: n rows, K actions, A action, D world state (agent and objects).
"""

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

Array = np.ndarray | Tensor


def check_actions(spec: WorldSpec, actions: Array, count: int, *, chunks: bool) -> np.ndarray:
    """Float32 actions `[count, K, A]`, clipped to the spec's limits.

    Args:
        spec: of the world.
        actions: `[count, K, A]`, or one action for every row, `[count, A]`.
        count: of rows.
        chunks: which of the two is expected.

    Raises:
        UsageError: wrong shape, or NaN.
    """
    array = np.asarray(actions, dtype=np.float32)
    fits = array.ndim == (3 if chunks else 2) and array.shape[0] == count
    if not fits or array.shape[-1] != spec.action.dim:
        expected = f"[{count}, {'K, ' if chunks else ''}{spec.action.dim}]"
        raise UsageError(f"actions have shape {list(array.shape)}, expected {expected}")
    checked = spec.action.check(array, "stream")
    return checked if chunks else checked[:, None]


def check_world_states(world_states: Array | None, actions: Tensor, dim: int) -> Tensor | None:
    """Where these actions lead, `[n, K, D]` on their device; None where that is not given.

    Raises:
        UsageError: wrong shape, or not finite.
    """
    if world_states is None:
        return None
    given = torch.as_tensor(np.asarray(world_states, dtype=np.float32), device=actions.device)
    expected = [*actions.shape[:2], dim]
    if list(given.shape) == expected and bool(given.isfinite().all()):
        return given
    shape = list(given.shape)
    raise UsageError(f"world_states have shape {shape}, expected {expected}, all finite")
