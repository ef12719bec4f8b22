"""Walls that the newest frame of a stream shows stop the action that comes next.

Legend: N rows, Q width of the queue, D world state. Metres.
"""

from typing import TYPE_CHECKING

import torch

from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.walking import walk
from worldsim.models.world_model import WorldModel

if TYPE_CHECKING:
    from worldsim.sampling.stream_rows import StreamRows


def meet_walls(model: WorldModel, rows: "StreamRows", first: FrameSteps) -> None:
    """Move where the first queued action of every row leads to where it comes, in place.

    All that was pushed after it begins there. Asked again, it leads to the same place. Where a
    recording or a tracker says where an action leads, that holds. Under a rolling schedule an
    action's frame has begun before the frame before it is finished, and is moved while it is made.

    Args:
        model: with a stride head.
        rows: of a batch of streams.
        first: the steps of the first queued actions.
    """
    queue, pushed, facing = rows.queue, rows.pushed, model.facing
    assert facing is not None
    cameras = first.cameras(model.dynamics, facing)[0][:, 0]
    newest, known = rows.sampling.recent[:, -1].float(), first.mask[:, 0]
    came = walk(model, newest, cameras, rows.shown.current, queue.action[:, 0], known)
    plane = torch.tensor(facing.frame.plane, device=came.device)
    gap = (came - queue.after[:, 0])[:, plane] * known[:, None] * queue.free[:, 0]
    each = gap[:, None].expand(-1, queue.after.shape[1], -1)
    queue.after = queue.after.index_add(-1, plane, each)
    later = each.clone()
    later[:, 0] = 0.0
    queue.before = queue.before.index_add(-1, plane, later)
    several = torch.as_tensor(queue.length > 1, device=came.device)[:, None]
    pushed.current = pushed.current.index_add(-1, plane, gap)
    pushed.previous = pushed.previous.index_add(-1, plane, gap * several)
