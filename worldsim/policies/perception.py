"""What a scripted controller needs to know of the scene, read off the pixels.

Controllers work on the simulator's state; an imagination has none. With this estimate they act
in both worlds on what a robot would see. The weights are the policies' own: the judge, which
scores them, was trained apart.

Legend: N envs, V view, H, W pixels, S state.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.conventions import Observation, stack_views
from worldsim.errors import DataError
from worldsim.models.heads.state_estimator import StateEstimator
from worldsim.policies.base import require_same_interface
from worldsim.policies.checkpoints import find_checkpoint, read_checkpoint, save_checkpoint
from worldsim.spec import VectorSpec, WorldSpec

KIND = "perception"


class Perception:
    """Pixels of all views to the state of the scene.

    Args:
        spec: world it is used in.
        checkpoint: folder, or name of one that ships, such as `push/perception`.
        batch_size: rows that go through the network at once.

    Raises:
        UsageError: no such checkpoint.
        SpecMismatchError: it was trained in another world.
        DataError: its files are broken.
    """

    def __init__(self, spec: WorldSpec, checkpoint: str, batch_size: int = 128) -> None:
        folder = find_checkpoint(checkpoint)
        self._estimator, self.spec = load_perception(folder)
        require_same_interface(self.spec, spec, f"perception checkpoint {folder}")
        self._batch_size = batch_size

    @property
    def state(self) -> VectorSpec:
        """Names and units of what `estimate` returns."""
        return self.spec.state

    def estimate(self, observation: Observation) -> NDArray[np.float32]:
        """The state `[N, S]`, in physical units, of a batched observation."""
        pixels = torch.from_numpy(stack_views(observation["pixels"], self.spec.camera_names))
        return self._estimator.observe(pixels, self._batch_size).state.float().numpy()


def save_perception(folder: Path, estimator: StateEstimator, spec: WorldSpec) -> None:
    """Write a checkpoint that `Perception` reads."""
    save_checkpoint(folder, estimator, KIND, {"shape": asdict(estimator.config)}, spec)


def load_perception(folder: Path) -> tuple[StateEstimator, WorldSpec]:
    """The network and the world it reads.

    Raises:
        DataError: files are missing or broken, or the state has another length than the spec's.
    """
    config, spec = read_checkpoint(folder, KIND)
    if not isinstance(config.get("shape"), dict):
        raise DataError(f"{folder}: config.json lacks 'shape'")
    estimator = StateEstimator.from_config(folder, config["shape"])
    if estimator.config.state_dim != spec.state.dim:
        raise DataError(
            f"{folder}: the network reads {estimator.config.state_dim} values, its spec names "
            f"{spec.state.dim}"
        )
    return estimator, spec
