"""A behaviour-cloned network as a policy."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from worldsim.config.limits import Count, Whole
from worldsim.conventions import Observation, stack_views, to_model_video
from worldsim.errors import DataError, UsageError
from worldsim.models.behaviour import BehaviourNet, build_behaviour
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.policies.base import POLICIES, FloatArray, require_same_interface
from worldsim.policies.checkpoints import (
    Checkpoint,
    find_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from worldsim.spec import WorldSpec

KIND = "behaviour"


@POLICIES.register("behaviour_cloning")
class BCPolicy:
    """Acts as the network of a checkpoint predicts; keeps nothing between calls.

    Args:
        spec: world it acts in.
        checkpoint: folder, or name of a checkpoint that ships, such as `push/bc_1`.
        name: shown in rankings; the checkpoint's by default.
        n_action_steps: how many actions of a chunk are executed; 0 takes what the checkpoint says.
        batch_size: rows that go through the network at once.

    Raises:
        UsageError: no such checkpoint, or an unknown network in it.
        SpecMismatchError: it was trained in another world.
        DataError: its files are broken.
    """

    def __init__(
        self,
        spec: WorldSpec,
        checkpoint: Checkpoint = "",
        name: str = "",
        n_action_steps: Whole = 0,
        batch_size: Count = 128,
    ) -> None:
        folder = find_checkpoint(checkpoint)
        self.name = name or folder.name
        self._network, trained_in, steps = load_behaviour(folder)
        require_same_interface(trained_in, spec, f"policy checkpoint {folder}")
        chunk = self._network.config.chunk
        self.n_action_steps = n_action_steps or steps
        if not 1 <= self.n_action_steps <= chunk:
            raise UsageError(
                f"policy {self.name!r}: n_action_steps is {self.n_action_steps}, "
                f"its chunks have {chunk} actions"
            )
        self._cameras = trained_in.camera_names
        self._action = spec.action
        self._batch_size = batch_size

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Nothing is remembered."""

    @torch.inference_mode()
    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Chunks `[N, K, A]`."""
        pixels = torch.from_numpy(stack_views(observation["pixels"], self._cameras))
        agent = torch.from_numpy(np.asarray(observation["agent_pos"], np.float32))
        size = self._batch_size
        parts = [
            self._network(to_model_video(pixels[at : at + size]), agent[at : at + size])
            for at in range(0, len(pixels), size)
        ]
        actions: FloatArray = torch.cat(parts).numpy()
        return self._action.clip(actions)


def save_behaviour(
    folder: Path, network: BehaviourNet, spec: WorldSpec, n_action_steps: int
) -> None:
    """Write a checkpoint that `BCPolicy` reads."""
    config = {
        "network": "keypoint_cnn",
        "shape": asdict(network.config),
        "n_action_steps": n_action_steps,
    }
    save_checkpoint(folder, network, KIND, config, spec)


def load_behaviour(folder: Path) -> tuple[BehaviourNet, WorldSpec, int]:
    """The network in evaluation mode, its world, and its actions per chunk to execute.

    Raises:
        UsageError: the file names an unknown network.
        DataError: files are missing or broken.
    """
    config, spec = read_checkpoint(folder, KIND)
    shape, steps = config.get("shape"), config.get("n_action_steps")
    if not isinstance(shape, dict) or not isinstance(steps, int):
        raise DataError(f"{folder}: config.json lacks 'shape' or 'n_action_steps'")
    network = build_behaviour(str(config.get("network")), shape, str(folder))
    load_weights(network, folder / WEIGHTS)
    return network.eval(), spec, steps
