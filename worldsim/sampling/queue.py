"""Actions that wait for their frames.

Legend: N rows, Q width of the queue, A action, D body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(eq=False)
class Queue:
    """Actions whose frames are not finished, oldest first; rows may hold differently many.

    Attributes:
        action: `[N, Q, A]`.
        before: `[N, Q, D]` body before each.
        after: `[N, Q, D]` body after it.
        length: `[N]` how many of Q are real.
    """

    action: Tensor
    before: Tensor
    after: Tensor
    length: np.ndarray


def padded(queue: Queue, width: int) -> Queue:
    """The same queue, at least `width` wide."""
    lacking = max(width - queue.action.shape[1], 0)
    wide = [
        torch.nn.functional.pad(part, (0, 0, 0, lacking))
        for part in (queue.action, queue.before, queue.after)
    ]
    return Queue(wide[0], wide[1], wide[2], queue.length)


def appended(queue: Queue, rows: list[int], action: Tensor, before: Tensor, after: Tensor) -> Queue:
    """A queue with K more entries in `rows`: `[n, K, A]`, `[n, K, D]` and `[n, K, D]`."""
    added, length = action.shape[1], queue.length.copy()
    length[rows] += added
    wide = padded(queue, int(length.max()))
    device = queue.action.device
    index = torch.as_tensor(rows, device=device)[:, None]
    columns = torch.as_tensor(queue.length[rows], device=device)[:, None]
    columns = columns + torch.arange(added, device=device)
    parts = []
    for part, new in ((wide.action, action), (wide.before, before), (wide.after, after)):
        fresh = part.clone()
        fresh[index, columns] = new
        parts.append(fresh)
    return Queue(parts[0], parts[1], parts[2], length)


def dropped(queue: Queue, frames: np.ndarray) -> Queue:
    """A queue without the first `frames` `[N]` entries of each row."""
    length = queue.length - frames
    width = int(length.max())
    device = queue.action.device
    columns = torch.as_tensor(frames, device=device)[:, None] + torch.arange(width, device=device)
    columns = columns.clamp(max=max(queue.action.shape[1] - 1, 0))
    index = torch.arange(len(frames), device=device)[:, None]
    parts = [part[index, columns] for part in (queue.action, queue.before, queue.after)]
    return Queue(parts[0], parts[1], parts[2], length)
