"""Frames of all views to the state of the scene: object poses, success, progress.

Used by the judge (reads imagined and simulated frames) and by policies that act on an estimated
state; each has its own weights. Features are the mean image positions of learned key points
(spatial softmax: Levine et al. 2016, "End-to-end training of deep visuomotor policies",
section 5.1), which localise far below the pixel grid they are computed on.

Legend: N batch, V view, C channel, H, W pixels, S state, K key points.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.errors import UsageError
from worldsim.files import write_json
from worldsim.hardware import has_fast_bf16
from worldsim.models.blocks import linear
from worldsim.models.weights import (
    CONFIG,
    WEIGHTS,
    load_weights,
    read_config,
    save_weights,
    shape_of,
)


@dataclass(frozen=True)
class StateEstimatorConfig:
    """Shape of an `StateEstimator`.

    Attributes:
        num_views: V.
        state_dim: S; 0 reads no state.
        image_size: height and width in pixels that it was trained at; multiples of 4.
        width: channels of the first stage; everything else scales with it.
        keypoints: K, key points a view.
        hidden: width of the two layers that merge the views.
    """

    num_views: int
    state_dim: int
    image_size: tuple[int, int] = (64, 64)
    width: int = 24
    keypoints: int = 32
    hidden: int = 192

    def __post_init__(self) -> None:
        if self.num_views < 1 or self.state_dim < 0 or any(s % 4 or s < 8 for s in self.image_size):
            raise UsageError(
                f"StateEstimatorConfig: need num_views >= 1, state_dim >= 0 and image sizes that "
                f"are multiples of 4, got {asdict(self)}"
            )


class StateReading(NamedTuple):
    """What an `StateEstimator` reads off N observations.

    Attributes:
        state: `[N, S]` in physical units.
        success_logit: `[N]`.
        progress: `[N]` in [0, 1].
    """

    state: Tensor
    success_logit: Tensor
    progress: Tensor


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Convolution and rectifier, no normalisation: what it says of a row depends on that row only,
    and four layers train without."""
    kernel = 2 + stride  # 3 or 4, so that a stride of two halves the grid exactly
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.ReLU(inplace=True))


class SpatialSoftmax(nn.Module):
    """Score maps `[N, K, h, w]` to key points `[N, K, 3]`: mean x, mean y in [-1, 1], peak score.

    The peak says whether the thing looked for is in the picture at all.
    """

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(keypoints))

    def forward(self, scores: Tensor) -> Tensor:
        """See the class."""
        height, width = scores.shape[-2:]
        flat = scores.flatten(2).float() * self.log_temperature.exp()[:, None]
        share = rearrange(flat.softmax(-1), "n k (h w) -> n k h w", h=height)
        xs = torch.linspace(-1, 1, width, device=scores.device)
        ys = torch.linspace(-1, 1, height, device=scores.device)
        x = (share.sum(-2) * xs).sum(-1)
        y = (share.sum(-1) * ys).sum(-1)
        return torch.stack([x, y, torch.tanh(flat.amax(-1) / 8)], dim=-1)


class StateEstimator(nn.Module):
    """Convolutions shared by all views, key points a view, then one head over all views.

    Args:
        config: the shape.
    """

    state_mean: Tensor
    state_std: Tensor

    def __init__(self, config: StateEstimatorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stem = nn.Sequential(_stage(3, width, 2), _stage(width, 2 * width, 2))
        self.view_scale = nn.Parameter(torch.zeros(config.num_views, 2 * width))
        self.view_shift = nn.Parameter(torch.zeros(config.num_views, 2 * width))
        self.trunk = nn.Sequential(_stage(2 * width, 2 * width, 1), _stage(2 * width, 2 * width, 1))
        self.scores = nn.Conv2d(2 * width, config.keypoints, 1)
        self.keypoints = SpatialSoftmax(config.keypoints)
        self.merge = nn.Sequential(
            nn.Linear(config.num_views * config.keypoints * 3, config.hidden),
            nn.LayerNorm(config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
        )
        self.state_head = linear(config.hidden, config.state_dim)
        # Success and progress are mostly comparisons within the state (object against goal), so
        # their head sees the estimate beside the features.
        self.verdict = nn.Sequential(
            nn.Linear(config.hidden + config.state_dim, 64), nn.SiLU(), nn.Linear(64, 2)
        )
        self.register_buffer("state_mean", torch.zeros(config.state_dim))
        self.register_buffer("state_std", torch.ones(config.state_dim))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def set_normaliser(self, mean: Tensor, std: Tensor) -> None:
        """Store the state's mean and standard deviation `[S]`; constant entries get std 1."""
        self.state_mean.copy_(mean)
        self.state_std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def features(self, frames: Tensor) -> Tensor:
        """Merged features `[N, hidden]` of uint8 or float [-1, 1] frames `[N, V, 3, H, W]`."""
        config = self.config
        expected = (config.num_views, 3, *config.image_size)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
            raise UsageError(
                f"state estimator: frames have shape {tuple(frames.shape)}, expected "
                f"[N, {expected}]"
            )
        images = rearrange(frames, "n v c h w -> (n v) c h w")
        if frames.dtype == torch.uint8:
            images = images.float().mul_(1 / 127.5).sub_(1.0)
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        batch = len(frames)
        scale = self.view_scale.repeat(batch, 1)[:, :, None, None]
        shift = self.view_shift.repeat(batch, 1)[:, :, None, None]
        x = self.trunk(x * (1 + scale) + shift)
        points = self.keypoints(self.scores(x))
        merged: Tensor = self.merge(rearrange(points, "(n v) k e -> n (v k e)", n=batch))
        return merged

    def forward_normalised(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised state `[N, S]`, success logit `[N]`, progress logit `[N]`: for training."""
        features = self.features(frames)
        state = self.state_head(features)
        verdict = self.verdict(torch.cat([features, state], dim=-1)).float()
        return state.float(), verdict[:, 0], verdict[:, 1]

    def forward(self, frames: Tensor) -> StateReading:
        """Read frames `[N, V, 3, H, W]`, uint8 or float in [-1, 1].

        Raises:
            UsageError: number of views or image size differ from the config.
        """
        state, success, progress = self.forward_normalised(frames)
        return StateReading(
            state * self.state_std + self.state_mean, success, torch.sigmoid(progress)
        )

    @torch.inference_mode()
    def observe(self, pixels: Tensor, batch_size: int = 64) -> StateReading:
        """Read uint8 pixels `[N, V, H, W, 3]` in batches, in evaluation mode, without gradients."""
        self.eval()
        frames = rearrange(torch.as_tensor(pixels), "n v h w c -> n v c h w")
        with torch.autocast(
            frames.device.type, torch.bfloat16, enabled=has_fast_bf16(frames.device)
        ):
            parts = [self(chunk) for chunk in torch.split(frames, batch_size)]
        return StateReading(*(torch.cat(field) for field in zip(*parts, strict=True)))

    def save_pretrained(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`."""
        save_weights(self, folder / WEIGHTS)
        write_json(folder / CONFIG, asdict(self.config))

    @staticmethod
    def from_pretrained(folder: Path) -> "StateEstimator":
        """Load from `save_pretrained` output, in evaluation mode.

        Raises:
            DataError: files are missing, truncated or do not describe a state estimator.
        """
        return StateEstimator.from_config(folder, read_config(folder))

    @staticmethod
    def from_config(folder: Path, config: dict[str, object]) -> "StateEstimator":
        """Build from a read config and load the weights of `folder`."""
        shape = shape_of(StateEstimatorConfig, config, folder, "a state estimator")
        estimator = StateEstimator(shape)
        load_weights(estimator, folder / WEIGHTS)
        return estimator.eval()
