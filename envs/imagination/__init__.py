"""Envs whose next frame is imagined: one, or many in one batched model call."""

from worldsim.envs.imagination.single import ImaginationEnv
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import DatasetStarts, FrameStarts, SimulatorStarts
from worldsim.envs.imagination.vector import ImaginationVectorEnv

__all__ = [
    "DatasetStarts",
    "FrameStarts",
    "ImaginationEnv",
    "ImaginationVectorEnv",
    "SimulatorStarts",
    "Start",
]
