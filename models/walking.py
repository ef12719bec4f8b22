"""Where an action takes an agent that sees walls: dynamics, corrected by what is seen.

Legend: N frames, V views, c h w latent, D state, A action. Metres.
"""

import torch
from torch import Tensor

from worldsim.models.world_model import WorldModel


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
