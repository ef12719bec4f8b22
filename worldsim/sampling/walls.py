"""Where an action takes an agent that sees walls, and how a stream meets them.

Legend: N rows, V views, c h w latent, Q width of the queue, A action, D world state. Metres.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.world_model import WorldModel

if TYPE_CHECKING:
    from worldsim.sampling.stream_rows import StreamRows


def walk(
    model: WorldModel, latents: Tensor, cameras: Tensor, state: Tensor, action: Tensor, mask: Tensor
) -> Tensor:
    """States `[N, D]` after actions.

    Args:
        model: with a stride head; without one it is the dynamics' own step.
        latents: `[N, V, c, h, w]` of the frames before the actions.
        cameras: `[N, V, 4, 4]` poses of their views, as latents show them.
        state: `[N, D]`.
        action: `[N, A]`.
        mask: `[N]` 1 where the action is known.
    """
    # Walls are seen; what the step before was blocked by says nothing of this one.
    after = model.dynamics.step(state, state, action, mask)
    head, facing = model.stride_head, model.facing
    if head is None or facing is None:
        return after
    view, plane = facing.views.index(True), list(facing.frame.plane)
    turn = cameras[:, view, :2, :3][..., [0, 2]]
    # Of the camera's axes, what lies in the plane of the floor: right and ahead.
    own = torch.einsum("nij,ni->nj", turn, after[:, plane] - state[:, plane])
    scale = model.dynamics.step_size[plane].mean()
    told = head(latents[:, view], own, scale)
    place = state[:, plane] + torch.einsum("nij,nj->ni", turn, told)
    index = torch.tensor(plane, device=state.device)
    return after.index_copy(-1, index, place.to(after.dtype))


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
