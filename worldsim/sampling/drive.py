"""Where actions take hand and scene, before any frame is made of it.

Legend: n rows, K actions, A action, D body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.dynamics.base import Dynamics
from worldsim.sampling.start import Array, Places
from worldsim.spec import WorldSpec


@dataclass(frozen=True, eq=False)
class Drive:
    """A way through K actions.

    Attributes:
        before: `[n, K, D]` body before each action.
        after: `[n, K, D]` body after it.
        places: where it ends.
    """

    before: Tensor
    after: Tensor
    places: Places


def driven(dynamics: Dynamics, start: Places, actions: Tensor, known: Tensor | None) -> Drive:
    """The way from `start` under actions `[n, K, A]`, of which there is at least one.

    Args:
        dynamics: says where an action leads.
        start: of n rows.
        actions: normalised.
        known: `[n, K, D]` where the actions lead, if that need not be asked.
    """
    places, before, after = start, [], []
    told = actions.new_ones(len(actions))
    for step in range(actions.shape[1]):
        if known is None:
            moved = dynamics.step(places.before, places.now, actions[:, step], told)
        else:
            moved = known[:, step]
        before.append(places.now)
        after.append(moved)
        places = Places(moved, places.now)
    return Drive(torch.stack(before, 1), torch.stack(after, 1), places)


def check_actions(spec: WorldSpec, actions: Array, count: int) -> np.ndarray:
    """Float32 actions `[count, K, A]`, clipped to the spec's limits.

    Raises:
        UsageError: wrong shape, or NaN.
    """
    array = np.asarray(actions, dtype=np.float32)
    if array.ndim != 3 or array.shape[0] != count or array.shape[2] != spec.action.dim:
        raise UsageError(
            f"actions have shape {array.shape}, expected [{count}, K, {spec.action.dim}]"
        )
    flat = spec.action.check(array.reshape(-1, array.shape[2]), "stream")
    return flat.reshape(array.shape)


def check_bodies(bodies: Array, actions: Tensor, now: Tensor) -> Tensor:
    """Bodies `[n, K, D]` for these actions, where the actions are.

    Raises:
        UsageError: wrong shape, or not finite.
    """
    known = torch.as_tensor(np.asarray(bodies, dtype=np.float32), device=actions.device)
    expected = (*actions.shape[:2], now.shape[-1])
    if known.shape != expected or not bool(known.isfinite().all()):
        raise UsageError(
            f"bodies have shape {list(known.shape)}, expected {list(expected)}, all finite"
        )
    return known
