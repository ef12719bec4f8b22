"""The rows of a batch of imagined rollouts, and how to keep, branch or exchange some of them."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from worldsim.geometry.body_maps import RigTensors
from worldsim.models.conditioning import Conditioning
from worldsim.streaming.context import Context

Rows = TypeVar("Rows", Conditioning, RigTensors)


@dataclass(eq=False)
class Streams:
    """Everything that belongs to the rows of a batch; all first axes are N.

    Attributes:
        context: keys and values of committed frames.
        pending: `[N, 1, V, c, h, w]` newest frame, not yet committed.
        pending_cond: its conditions.
        body: `[N, D]` proprioception and tracked state in that frame, physical units.
        body_before: `[N, D]` the same one frame earlier.
        rig: calibration of each row's cameras.
        view_mask: `[N, 1, V]`.
        keys: (seed, env id) of each row's noise.
        steps: `[N]` frames since each row's reset.
    """

    context: Context
    pending: Tensor
    pending_cond: Conditioning
    body: Tensor
    body_before: Tensor
    rig: RigTensors
    view_mask: Tensor
    keys: list[tuple[int, int]]
    steps: np.ndarray


def _pick(rows: Rows, index: Tensor) -> Rows:
    return replace(rows, **{n: getattr(rows, n)[index] for n in rows.__dataclass_fields__})


def _join(first: Rows, second: Rows) -> Rows:
    names = first.__dataclass_fields__
    parts = {n: torch.cat([getattr(first, n), getattr(second, n)]) for n in names}
    return replace(first, **parts)


def take_rows(streams: Streams, rows: list[int]) -> Streams:
    """A copy that holds only `rows`, in that order; repeated rows branch."""
    index = torch.as_tensor(rows, dtype=torch.long)
    return Streams(
        context=streams.context.select(index),
        pending=streams.pending[index],
        pending_cond=_pick(streams.pending_cond, index),
        body=streams.body[index],
        body_before=streams.body_before[index],
        rig=_pick(streams.rig, index),
        view_mask=streams.view_mask[index],
        keys=[streams.keys[row] for row in rows],
        steps=streams.steps[rows],
    )


def replace_rows(running: Streams, fresh: Streams, rows: list[int]) -> Streams:
    """`running` with `rows` exchanged for the rows of `fresh`, in order."""
    count = len(running.keys)
    order = list(range(count))
    for position, row in enumerate(rows):
        order[row] = count + position
    joined = Streams(
        context=running.context.joined(fresh.context),
        pending=torch.cat([running.pending, fresh.pending]),
        pending_cond=_join(running.pending_cond, fresh.pending_cond),
        body=torch.cat([running.body, fresh.body]),
        body_before=torch.cat([running.body_before, fresh.body_before]),
        rig=_join(running.rig, fresh.rig),
        view_mask=torch.cat([running.view_mask, fresh.view_mask]),
        keys=running.keys + fresh.keys,
        steps=np.concatenate([running.steps, fresh.steps]),
    )
    return take_rows(joined, order)
