"""Networks that follow instructions as policies: one that looks back a little, one that remembers.

Both read what a robot sees, its odometry, and the sub-task under way. They count their own stops to
know which that is.

Legend: N envs, V view, H, W pixels, A choices.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.cameras.poses import frame_of
from worldsim.config.limits import Weight
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation, stack_views, to_model_video
from worldsim.data.navigation.sub_tasks import sub_tasks
from worldsim.data.navigation.walk import STOP
from worldsim.errors import DataError, SpecMismatchError
from worldsim.models.instructed import (
    GlanceConfig,
    InstructedConfig,
    InstructedNet,
    relative_poses,
    tokenise,
)
from worldsim.models.remembering import MemoryConfig, RememberingNet, ShortTermMemory
from worldsim.models.weights import WEIGHTS, load_weights, shape_of
from worldsim.policies.base import (
    POLICIES,
    EpisodePolicy,
    FloatArray,
    require_same_interface,
)
from worldsim.policies.checkpoints import (
    Checkpoint,
    find_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from worldsim.spec import ActionKind, WorldSpec

KIND = "instructed"


@dataclass
class _Walk:
    """One episode: what was seen and where, and how often it stopped.

    Attributes:
        looks: uint8 `[V, H, W, 3]` of each step, as far back as they are read.
        poses: `[4]` of each step, likewise.
        stops: made so far.
        memory: of the variant that remembers.
    """

    looks: list[NDArray[np.uint8]] = field(default_factory=list)
    poses: list[NDArray[np.float32]] = field(default_factory=list)
    stops: int = 0
    memory: ShortTermMemory | None = None


@POLICIES.register(KIND)
class InstructedPolicy(EpisodePolicy[_Walk]):
    """Chooses as the network of a checkpoint does.

    Args:
        spec: world it acts in.
        checkpoint: folder that `worldsim train stage=policies` made.
        name: shown in rankings; the checkpoint's by default.
        temperature: of the draw among choices; 0 takes the likeliest.

    Raises:
        UsageError: no such checkpoint.
        SpecMismatchError: it was trained in another world, or that has no poses.
        DataError: its files are broken.
    """

    action_kinds: tuple[ActionKind, ...] = ("discrete",)

    def __init__(
        self,
        spec: WorldSpec,
        checkpoint: Checkpoint = "",
        name: str = "",
        temperature: Weight = 0.0,
    ) -> None:
        super().__init__()
        check_arguments(InstructedPolicy, {"temperature": temperature}, name)
        folder = find_checkpoint(checkpoint)
        self.name, self.n_action_steps = name or folder.name, 1
        self._network, trained_in = load_instructed(folder)
        require_same_interface(trained_in, spec, f"policy checkpoint {folder}")
        frame = frame_of(spec.agent_pos)
        if frame is None or frame.heading is None:
            raise SpecMismatchError(f"policy {self.name!r}: proprioception tells no pose")
        self._plane = [*frame.plane, *frame.heading]
        self._cameras, self._temperature = trained_in.camera_names, temperature
        self._stop = spec.action.names.index(STOP)
        self._shape = self._plain.config
        self._kept = self._shape.stride * (self._shape.history - 1) + self._shape.trail + 1

    @property
    def _plain(self) -> InstructedNet:
        net = self._network
        return net.plain if isinstance(net, RememberingNet) else net

    def _begin(self) -> _Walk:
        net = self._network
        return _Walk(memory=net.fresh() if isinstance(net, RememberingNet) else None)

    @torch.inference_mode()
    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        walks = [self._notes[int(i)] for i in env_ids]
        pixels = stack_views(observation["pixels"], self._cameras)
        poses = np.asarray(observation["agent_pos"], np.float32)[:, self._plane]
        for walk, look, pose in zip(walks, pixels, poses, strict=True):
            walk.looks = [*walk.looks, look][-self._kept :]
            walk.poses = [*walk.poses, pose][-self._kept :]
        parts = map(sub_tasks, observation["task"])
        asked = [each[min(w.stops, len(each) - 1)] for each, w in zip(parts, walks, strict=True)]
        share = self._shares(walks, asked).float().numpy()
        chosen = [self._choose(row, int(i)) for row, i in zip(share, env_ids, strict=True)]
        for walk, choice in zip(walks, chosen, strict=True):
            walk.stops += int(choice == self._stop)
        return np.eye(share.shape[1], dtype=np.float32)[chosen][:, None]

    def _choose(self, share: NDArray[np.float32], env_id: int) -> int:
        if not self._temperature:
            return int(share.argmax())
        # By the likeliest, so that no temperature is so low that nothing is left.
        weight = (share.astype(np.float64) / share.max()) ** (1.0 / self._temperature)
        return int(self._streams[env_id].choice(len(share), p=weight / weight.sum()))

    def _shares(self, walks: list[_Walk], asked: list[str]) -> Tensor:
        """What speaks for each choice `[N, A]`, summing to 1."""
        shape = self._shape
        looks = [[w.looks[row] for row in shape.rows(len(w.looks) - 1)] for w in walks]
        frames = to_model_video(torch.from_numpy(np.array(looks)))
        trails = [relative_poses(torch.from_numpy(np.array(w.poses)), shape.trail) for w in walks]
        tokens = tokenise(asked, shape.glance)
        if isinstance(self._network, RememberingNet):
            memories = [walk.memory for walk in walks if walk.memory is not None]
            return self._network.decide(frames, torch.stack(trails), tokens, memories)
        logits: Tensor = self._network(frames, torch.stack(trails), tokens)
        return logits.softmax(dim=-1)


def save_instructed(folder: Path, network: InstructedNet | RememberingNet, spec: WorldSpec) -> None:
    """Write a checkpoint that `InstructedPolicy` reads."""
    plain = network.plain if isinstance(network, RememberingNet) else network
    config = {"shape": asdict(plain.config), "memory": None}
    if isinstance(network, RememberingNet):
        config["memory"] = asdict(network.config)
    save_checkpoint(folder, network, KIND, config, spec)


def load_instructed(folder: Path) -> tuple[InstructedNet | RememberingNet, WorldSpec]:
    """The network in evaluation mode, and its world.

    Raises:
        DataError: files are missing or broken.
    """
    config, spec = read_checkpoint(folder, KIND)
    shape = config.get("shape")
    if not isinstance(shape, dict) or not isinstance(shape.get("glance"), dict):
        raise DataError(f"{folder}: config.json lacks 'shape' of an instructed network")
    what = "an instructed network"
    glance = shape_of(GlanceConfig, shape["glance"], folder, what)
    rest = {name: value for name, value in shape.items() if name != "glance"}
    try:
        plain = InstructedNet(InstructedConfig(glance, **rest))
    except TypeError as error:
        raise DataError(f"{folder} does not describe {what}: {error}") from error
    network: InstructedNet | RememberingNet = plain
    if config.get("memory") is not None:
        network = RememberingNet(plain, shape_of(MemoryConfig, config["memory"], folder, what))
    load_weights(network, folder / WEIGHTS)
    return network.eval(), spec
