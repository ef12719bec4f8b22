"""Inverse dynamics: the action that led from one frame's latents to the next one's.

What an imagined step shows can so be held against the action that it was given (SC3-Eval,
2606.18610). The residual spread on recorded frames is stored beside the weights: an action that
frames do not tell, such as a gripper's command while it is shut, then counts for little.

Legend: N pairs, V view, c latent channels, h, w latent size, A action.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from worldsim.files import write_json
from worldsim.models.weights import (
    CONFIG,
    WEIGHTS,
    load_weights,
    read_config,
    save_weights,
    shape_of,
)


@dataclass(frozen=True)
class InverseDynamicsConfig:
    """Shape of an `InverseDynamics`.

    Attributes:
        latent: V, c, h, w.
        action_dim: A.
        width: channels of the first convolution.
        hidden: width of the layer that merges the views.
    """

    latent: tuple[int, int, int, int]
    action_dim: int
    width: int = 24
    hidden: int = 128


class InverseDynamics(nn.Module):
    """Convolutions over both frames and their difference, shared by all views, and one head.

    Args:
        config: the shape.
    """

    action_mean: Tensor
    action_std: Tensor
    spread: Tensor

    def __init__(self, config: InverseDynamicsConfig) -> None:
        super().__init__()
        self.config = config
        views, channels, height, width = config.latent
        inner = config.width
        self.trunk = nn.Sequential(
            nn.Conv2d(3 * channels, inner, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, 2, 1),
            nn.ReLU(),
        )
        small = -(-height // 4) * -(-width // 4)
        self.head = nn.Sequential(
            nn.Linear(views * inner * small, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.action_dim),
        )
        for name in ("action_mean", "action_std", "spread"):
            start = torch.zeros if name == "action_mean" else torch.ones
            self.register_buffer(name, start(config.action_dim))

    def standardised(self, before: Tensor, after: Tensor) -> Tensor:
        """Actions `[N, A]` in the data's standard deviations, of latents `[N, V, c, h, w]`."""
        pair = torch.cat([before, after, after - before], dim=2).float()
        features = self.trunk(pair.flatten(0, 1)).reshape(len(pair), -1)
        out: Tensor = self.head(features)
        return out

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Normalised actions `[N, A]` of latents `[N, V, c, h, w]` of two frames."""
        return self.standardised(before, after) * self.action_std + self.action_mean

    def error(self, before: Tensor, after: Tensor, action: Tensor) -> Tensor:
        """How far `action` `[N, A]` is from the one recovered, `[N]`: root mean square over its
        entries, each in its spread. About 1 on recorded frames."""
        gap: Tensor = (self(before, after) - action) / self.spread
        return gap.square().mean(-1).sqrt()

    def save_pretrained(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        save_weights(self, folder / WEIGHTS)
        write_json(folder / CONFIG, asdict(self.config))

    @staticmethod
    def from_pretrained(folder: Path) -> "InverseDynamics":
        """Load from `save_pretrained` output, in evaluation mode.

        Raises:
            DataError: files are missing, truncated or do not describe inverse dynamics.
        """
        config = read_config(folder)
        network = InverseDynamics(
            shape_of(InverseDynamicsConfig, config, folder, "inverse dynamics")
        )
        load_weights(network, folder / WEIGHTS)
        return network.eval().requires_grad_(False)
