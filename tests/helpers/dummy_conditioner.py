"""A conditioner of one's own: the sine of the angle by which an action turns the agent."""

import torch
from torch import Tensor

from worldsim.cameras.poses import frame_of
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import Conditioner, register_conditioner
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.spec import WorldSpec

NAME = "turning"


@register_conditioner(NAME)
class Turning(Conditioner):
    """One constant map a step; it needs no calibrated cameras."""

    calibrated = False

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = ("turning_sine",)
        self.frame = frame_of(spec.agent_pos)

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        assert self.frame is not None
        before, after = (self.frame.pose(agent)[..., :2, 0] for agent in step.agent_pos)
        sine = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
        views, (height, width) = len(self.spec.cameras), step.size
        flat = sine[:, :, None, None, None, None]
        return torch.tile(flat, (1, 1, views, 1, height, width))
