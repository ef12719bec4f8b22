"""Networks that read what is seen together with what is asked.

Words reach the picture by scale and shift of its features (FiLM: Perez et al. 2018, "Visual
reasoning with a general conditioning layer"), so that a net looks for what is asked. Words are
hashed (Weinberger et al. 2009, "Feature hashing"), so that any instruction can be read.

Legend: N batch, T frames of a history, V view, C channel, H, W pixels, L words, B buckets, F
features, R poses of a trail, A choices.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.errors import UsageError
from worldsim.models.heads.state_estimator import SpatialSoftmax

PATCH = 4
POSE = 4
"""Numbers of a pose of the trail: place ahead and to the left, cosine and sine of the turn."""


@dataclass(frozen=True)
class GlanceConfig:
    """Shape of what reads one look around.

    Attributes:
        num_views: V.
        image_size: height and width in pixels, multiples of 4.
        width: channels of the first convolution.
        keypoints: key points a view.
        text: width of what is read of the words.
        buckets: B, into which words are hashed; 0 is for none.
        words: L, most words of an instruction.
    """

    num_views: int
    image_size: tuple[int, int]
    width: int = 24
    keypoints: int = 16
    text: int = 48
    buckets: int = 512
    words: int = 16

    def __post_init__(self) -> None:
        sizes = (self.num_views, self.width, self.keypoints, self.text, self.words)
        if min(sizes) < 1 or self.buckets < 2 or any(s % PATCH or s < 8 for s in self.image_size):
            raise UsageError(
                f"GlanceConfig: need sizes above 0 and images of multiples of {PATCH} from 8, got "
                f"{asdict(self)}"
            )

    @property
    def features(self) -> int:
        """F."""
        return self.num_views * (3 * self.keypoints + 2 * self.width)

    def check(self, frames: Tensor) -> None:
        """Hold frames to views and image size.

        Raises:
            UsageError: they differ.
        """
        expected = (self.num_views, 3, *self.image_size)
        if tuple(frames.shape[1:]) != expected:
            raise UsageError(
                f"instructed network: frames {tuple(frames.shape)}, expected [N, {expected}]"
            )


def tokenise(texts: Sequence[str], config: GlanceConfig) -> Tensor:
    """Buckets int64 `[N, L]` of the words of N texts; 0 where there is none.

    Stop words stay: "not" or "left of" may be what matters. What is too long is cut.
    """
    rows = torch.zeros(len(texts), config.words, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()[: config.words]
        for place, word in enumerate(words):
            row[place] = 1 + zlib.crc32(word.encode()) % (config.buckets - 1)
    return rows


class Glance(nn.Module):
    """Frames of one look around and words to features.

    Args:
        config: the shape.
    """

    def __init__(self, config: GlanceConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = nn.EmbeddingBag(config.buckets, config.text, mode="mean", padding_idx=0)
        self.reader = nn.Sequential(nn.Linear(config.text, config.text), nn.SiLU())
        # Two more channels say where a pixel is: what lies ahead is not what lies behind.
        self.stem = nn.Sequential(_stage(5, width, 2), _stage(width, 2 * width, 2))
        self.middle = _stage(2 * width, 2 * width, 1)
        self.film = nn.Linear(config.text, 4 * width)
        self.last = _stage(2 * width, 2 * width, 1)
        self.scores = nn.Conv2d(2 * width, config.keypoints, 1)
        self.keypoints = SpatialSoftmax(config.keypoints)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def read(self, tokens: Tensor) -> Tensor:
        """What words `[N, L]` say, `[N, text]`."""
        said: Tensor = self.reader(self.embedding(tokens))
        return said

    def forward(self, frames: Tensor, text: Tensor) -> Tensor:
        """Features `[N, F]`.

        Args:
            frames: `[N, V, 3, H, W]` in [-1, 1].
            text: `[N, text]` of `read`.

        Raises:
            UsageError: views or image size differ from the config's.
        """
        config, count = self.config, len(frames)
        config.check(frames)
        x = self.stem(placed(rearrange(frames, "n v c h w -> (n v) c h w")))
        x = self.middle(x)
        film = self.film(text).repeat_interleave(config.num_views, 0)[:, :, None, None]
        scale, shift = film.chunk(2, dim=1)
        x = self.last(torch.relu(x * (1 + scale) + shift))
        points = self.keypoints(self.scores(x)).flatten(1)
        features = torch.cat([points, x.mean(dim=(2, 3))], dim=1)
        return features.reshape(count, -1)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 2 + stride, stride, padding=1)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return nn.Sequential(conv, nn.ReLU())


def placed(images: Tensor) -> Tensor:
    """Images `[M, 3, H, W]` with their columns and rows from -1 to 1 as channels."""
    height, width = images.shape[-2:]
    x = torch.linspace(-1, 1, width, device=images.device).expand(1, 1, height, width)
    y = torch.linspace(-1, 1, height, device=images.device)[:, None].expand(1, 1, height, width)
    place = torch.cat([x, y], dim=1).expand(len(images), 2, height, width)
    return torch.cat([images, place.to(images)], dim=1)


@dataclass(frozen=True)
class InstructedConfig:
    """Shape of an `InstructedNet`.

    Attributes:
        glance: of what reads one look around.
        choices: A.
        history: T, looks around that it reads, the present one counted.
        stride: steps between them.
        trail: R, latest poses that it is told, relative to the present one.
        hidden: width of the head.
    """

    glance: GlanceConfig
    choices: int
    history: int = 2
    stride: int = 3
    trail: int = 8
    hidden: int = 128

    def __post_init__(self) -> None:
        if min(self.choices, self.history, self.stride, self.trail, self.hidden) < 1:
            raise UsageError(f"InstructedConfig: sizes must be positive, got {asdict(self)}")

    def rows(self, now: int) -> list[int]:
        """Rows of an episode that it reads at row `now`, newest first, none before the first."""
        return [max(now - self.stride * back, 0) for back in range(self.history)]


class InstructedNet(nn.Module):
    """Looks around, the way walked and an instruction to a choice of what to do.

    Args:
        config: the shape.
    """

    def __init__(self, config: InstructedConfig) -> None:
        super().__init__()
        self.config = config
        glance = config.glance
        self.glance = Glance(glance)
        inputs = config.history * glance.features + glance.text + POSE * config.trail
        self.head = nn.Sequential(
            nn.Linear(inputs, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.choices),
        )

    def forward(self, frames: Tensor, trail: Tensor, tokens: Tensor) -> Tensor:
        """Logits `[N, A]`.

        Args:
            frames: `[N, T, V, 3, H, W]` in [-1, 1], newest first.
            trail: `[N, R, 4]` of `relative_poses`.
            tokens: `[N, L]` of `tokenise`.
        """
        text = self.glance.read(tokens)
        return self.choose(self.looks(frames, text), text, trail)

    def looks(self, frames: Tensor, text: Tensor) -> list[Tensor]:
        """T features `[N, F]`, newest first, of frames and words.

        Args:
            frames: `[N, T, V, 3, H, W]`, see `forward`.
            text: `[N, text]` of `Glance.read`.
        """
        return [self.glance(frames[:, i], text) for i in range(self.config.history)]

    def choose(self, looks: list[Tensor], text: Tensor, trail: Tensor) -> Tensor:
        """Logits `[N, A]` of what `looks` gave."""
        chosen: Tensor = self.head(torch.cat([*looks, text, trail.flatten(1)], dim=1))
        return chosen


def relative_poses(poses: Tensor, count: int) -> Tensor:
    """Trail `[..., count, 4]` of the latest poses, in the axes of the last one.

    Args:
        poses: `[..., n, 4]` x, y, cosine and sine of the heading, oldest first; n from 1.
        count: how many before the last; the first stands for those that are not there.
    """
    now, cos, sin = poses[..., -1:, :2], poses[..., -1:, 2], poses[..., -1:, 3]
    index = torch.arange(poses.shape[-2] - 2, poses.shape[-2] - 2 - count, -1).clamp_min(0)
    past = poses[..., index, :]
    x, y = (past[..., :2] - now).unbind(dim=-1)
    ahead, aside = x * cos + y * sin, y * cos - x * sin
    turned = past[..., 2] * cos + past[..., 3] * sin, past[..., 3] * cos - past[..., 2] * sin
    return torch.stack([ahead, aside, *turned], dim=-1)
