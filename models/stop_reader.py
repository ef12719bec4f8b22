"""Whether who stops here has reached what was asked: the network of a judge of stops.

Words reach the picture in every block, by scale and shift of its features (FiLM: Perez et al. 2018,
"Visual reasoning with a general conditioning layer"). Beside its verdict it says whether the thing
is seen and where it lies. Nobody asks for these when it judges; they teach it what to look for.

Legend: N batch, V view, H, W pixels, L words.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.blocks import ResBlock, keypoints
from worldsim.models.instructed import GlanceConfig, placed


class StopReading(NamedTuple):
    """Attributes:
    met: `[N]` logit that a stop here meets what was asked.
    seen: `[N]` logit that the thing is in sight.
    offset: `[N, 2]` metres to the thing, ahead and to the left.
    """

    met: Tensor
    seen: Tensor
    offset: Tensor


class StopReader(nn.Module):
    """Frames of one look around and words to a verdict.

    Args:
        config: shape of frames and words; `width` is of the first of two sizes.
        hidden: width of its head.
    """

    def __init__(self, config: GlanceConfig, hidden: int) -> None:
        super().__init__()
        self.config, self.hidden = config, hidden
        width, text = config.width, config.text
        # A sum, so that a word counts the same in a long instruction.
        self.embedding = nn.EmbeddingBag(config.buckets, text, mode="sum", padding_idx=0)
        self.read = nn.Sequential(nn.Linear(text, text), nn.SiLU())
        self.stem = nn.Conv2d(5, width, 4, 2, padding=1)
        self.fine = ResBlock(width, width, text)
        self.shrink = nn.Conv2d(width, 2 * width, 4, 2, padding=1)
        self.coarse = nn.ModuleList([ResBlock(2 * width, 2 * width, text) for _ in range(3)])
        self.scores = nn.Conv2d(2 * width, config.keypoints, 1)
        features = config.num_views * (3 * config.keypoints + 4 * width) + text
        self.head = nn.Sequential(
            nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.out = nn.Linear(hidden, 4)

    def forward(self, frames: Tensor, tokens: Tensor) -> StopReading:
        """What frames `[N, V, 3, H, W]` in [-1, 1] and words `[N, L]` of `tokenise` say.

        Raises:
            UsageError: views or image size differ from the config's.
        """
        self.config.check(frames)
        count, views = frames.shape[:2]
        text = self.read(self.embedding(tokens))
        said = text.repeat_interleave(views, 0)
        x = placed(rearrange(frames, "n v c h w -> (n v) c h w"))
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        x = self.shrink(nn.functional.silu(self.fine(x, said)))
        for block in self.coarse:
            x = block(x, said)
        x = nn.functional.silu(x)
        found = torch.cat([keypoints(self.scores(x)), x.mean((2, 3)), x.amax((2, 3))], dim=1)
        out = self.out(self.head(torch.cat([found.reshape(count, -1), text], dim=1)))
        return StopReading(out[:, 0], out[:, 1], out[:, 2:])
