"""Behaviour cloning network: frames of all views and proprioception to a chunk of actions.

The trunk's features reach the head as key points (spatial softmax: Levine et al. 2016,
"End-to-end training of deep visuomotor policies", section 5.1), since at 64x64 pixels success
hangs on where things are, to less than a pixel.

Legend: N batch, V view, C channel, H, W pixels, P proprioception, K actions of a chunk, A action.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.errors import UsageError
from worldsim.models.heads.state_estimator import SpatialSoftmax
from worldsim.models.weights import shape_of
from worldsim.registry import Registry

PATCH = 4


@dataclass(frozen=True)
class BehaviourConfig:
    """Shape of a `BehaviourNet`.

    Attributes:
        num_views: V.
        agent_dim: P, length of the proprioception that is fed beside the frames; 0 feeds none.
        action_dim: A.
        chunk: K, how many actions are predicted at once.
        image_size: height and width in pixels; multiples of 4.
        width: channels of the convolutions.
        keypoints: key points a view.
        hidden: width of the head.
    """

    num_views: int
    agent_dim: int
    action_dim: int
    chunk: int = 8
    image_size: tuple[int, int] = (64, 64)
    width: int = 48
    keypoints: int = 32
    hidden: int = 256

    def __post_init__(self) -> None:
        sizes = (self.num_views, self.action_dim, self.chunk, self.width, self.keypoints)
        if min(*sizes, self.hidden) < 1 or self.agent_dim < 0:
            raise UsageError(f"BehaviourConfig: sizes must be positive, got {asdict(self)}")
        if any(size % PATCH or size < PATCH for size in self.image_size):
            raise UsageError(
                f"BehaviourConfig: image_size must be multiples of {PATCH}, got {self.image_size}"
            )


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    # Batch normalisation, since it folds into a scale and a shift when acting; group
    # normalisation took 40% more time a training step on a CPU core.
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class BehaviourNet(nn.Module):
    """Convolutions shared by all views, key points a view, one head over views and `agent_pos`.

    Args:
        config: the shape.
    """

    agent_mean: Tensor
    agent_std: Tensor

    def __init__(self, config: BehaviourConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        # Patches rearranged into channels before the first convolution: all of them then run on
        # a grid of a sixteenth of the pixels, and key points still resolve below its spacing.
        self.stem = nn.Sequential(nn.PixelUnshuffle(PATCH), _stage(3 * PATCH**2, width))
        self.view_shift = nn.Parameter(torch.zeros(config.num_views, width))
        self.view_scale = nn.Parameter(torch.zeros(config.num_views, width))
        self.trunk = nn.Sequential(*(_stage(width, width) for _ in range(3)))
        self.scores = nn.Conv2d(width, config.keypoints, 1)
        self.keypoints = SpatialSoftmax(config.keypoints)
        features = config.num_views * config.keypoints * 3 + config.agent_dim
        self.head = nn.Sequential(
            nn.Linear(features, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.chunk * config.action_dim),
        )
        self.register_buffer("agent_mean", torch.zeros(config.agent_dim))
        self.register_buffer("agent_std", torch.ones(config.agent_dim))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def set_normaliser(self, mean: Tensor, std: Tensor) -> None:
        """Store the mean and standard deviation `[P]` of `agent_pos`; constants get std 1."""
        self.agent_mean.copy_(mean)
        self.agent_std.copy_(torch.where(std > 1e-4, std, torch.ones_like(std)))

    def forward(self, frames: Tensor, agent_pos: Tensor) -> Tensor:
        """Predict chunks of normalised actions `[N, K, A]`.

        Args:
            frames: `[N, V, 3, H, W]` in [-1, 1].
            agent_pos: `[N, P]` in physical units.

        Raises:
            UsageError: a shape differs from the config's.
        """
        config = self.config
        expected = (config.num_views, 3, *config.image_size)
        if tuple(frames.shape[1:]) != expected or agent_pos.shape[1:] != (config.agent_dim,):
            raise UsageError(
                f"behaviour network: frames {tuple(frames.shape)} and agent_pos "
                f"{tuple(agent_pos.shape)}, expected [N, {expected}] and [N, {config.agent_dim}]"
            )
        points = self._points(frames)
        agent = (agent_pos - self.agent_mean) / self.agent_std
        out: Tensor = self.head(torch.cat([points, agent.to(points.dtype)], dim=-1))
        return out.float().view(len(frames), config.chunk, config.action_dim)

    def _points(self, frames: Tensor) -> Tensor:
        """Key points of all views `[N, V * keypoints * 3]`."""
        batch = len(frames)
        images = rearrange(frames, "n v c h w -> (n v) c h w")
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        scale = self.view_scale.repeat(batch, 1)[:, :, None, None]
        shift = self.view_shift.repeat(batch, 1)[:, :, None, None]
        points: Tensor = self.keypoints(self.scores(self.trunk(x * (1 + scale) + shift)))
        return points.view(batch, -1)


BEHAVIOURS: Registry[type[BehaviourNet]] = Registry("behaviour network")
BEHAVIOURS.register("keypoint_cnn")(BehaviourNet)


def build_behaviour(name: str, config: dict[str, Any], where: str) -> BehaviourNet:
    """Build the network registered under `name` from plain values read from a file.

    Args:
        where: what is being read, for error messages.

    Raises:
        UsageError: the name is not registered.
        DataError: the values do not describe such a network.
    """
    network = BEHAVIOURS.get(name)
    return network(shape_of(BehaviourConfig, config, where, "a behaviour network"))
