"""Two worlds in which the rows of registries are tried: an arm over a table, and a room."""

from dataclasses import dataclass

import torch
from torch import Tensor
from toy_room_data import SPEC as ROOM
from toy_room_data import rig as room_rig
from worldsim_testing import nano_spec, nano_start

from worldsim.models.conditioners.steps import RigTensors
from worldsim.spec import WorldSpec

ROWS = 4
ORDER = [2, 0]
"""Some of them, in another order."""


@dataclass(frozen=True)
class Case:
    """States and steps of a world, `ROWS` of them, two frames each."""

    spec: WorldSpec
    agent: Tensor
    objects: Tensor
    action: Tensor
    rig: RigTensors


def table() -> Case:
    start = {name: torch.as_tensor(value) for name, value in nano_start(ROWS).items()}
    agent = start["agent_pos"][:, None].repeat(1, 2, 1)
    agent[..., :3] += 0.05 * drawn(ROWS, 2, 3)
    start["extrinsics"][..., :3, 3] += 0.1 * drawn(ROWS, 3, 3)
    rig = RigTensors(start["intrinsics"], start["extrinsics"], start["mounted"], torch.ones(ROWS))
    return Case(nano_spec(), agent, drawn(ROWS, 2, 2) * 0.1, drawn(ROWS, 2, 5).clamp(-1, 1), rig)


def room() -> Case:
    yaw, place = 3.0 * drawn(ROWS, 2, 1), drawn(ROWS, 2, 2)
    one = room_rig()
    intrinsics, extrinsics, mounted = (
        torch.as_tensor(array)[None].expand(ROWS, *array.shape)
        for array in (one.intrinsics, one.extrinsics, one.mounted)
    )
    return Case(
        ROOM,
        torch.cat([place, yaw.cos(), yaw.sin()], dim=-1),
        torch.zeros(ROWS, 2, 0),
        torch.eye(4)[torch.tensor([[1, 2], [2, 3], [3, 0], [0, 1]])],
        RigTensors(intrinsics, extrinsics, mounted, torch.ones(ROWS)),
    )


def drawn(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


def shaken(network: torch.nn.Module) -> None:
    """No layer stays at zero, so that every path counts."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
