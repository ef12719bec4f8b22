"""Where a map has the depth of frames from: the simulator, the model's own head, a reconstructor.

One key, `model.memory.depth`, names the source. The simulator's depth is privileged: a model whose
memory reads it is `depth_assisted`, and the frames that it imagines have none.

Legend: N rows, K frames, F frames of one row, V views, H W pixels of the depth.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from worldsim.cameras.alignment import FitLimits, align
from worldsim.cameras.projection import scale_intrinsics
from worldsim.errors import DataError, QualityWarning, UsageError
from worldsim.memory.base import ShownFrames
from worldsim.registry import Registry
from worldsim.spec import DepthKind, WorldSpec


@dataclass(frozen=True, eq=False)
class Depth:
    """Attributes:
    metres: `[N, K, V, H, W]`, NaN where unknown.
    kind: along the optical axis or from the camera's centre.
    """

    metres: Tensor
    kind: DepthKind


class DepthSource(ABC):
    """Attributes:
    privileged: whether it is the simulator's, which no robot knows.
    window: newest frames of before that `depth` is shown again.
    """

    privileged: ClassVar[bool] = False
    window: ClassVar[int] = 0

    def __init__(self, spec: WorldSpec, reconstructor: str | None) -> None:
        self.spec = spec

    @abstractmethod
    def depth(self, shown: ShownFrames, past: ShownFrames | None) -> Depth | None:
        """Depth of frames; None where there is none at all.

        Args:
            shown: the frames.
            past: `window` frames of before, in order, where the source asks for them.
        """


DEPTHS: Registry[type[DepthSource]] = Registry("depth source")


@DEPTHS.register("simulator")
class SimulatorDepth(DepthSource):
    """What was recorded, or what a caller gives with the frames."""

    privileged = True

    def depth(self, shown: ShownFrames, past: ShownFrames | None) -> Depth | None:
        if shown.depth is None:
            return None
        if self.spec.depth is None:
            raise UsageError(
                "frames came with depth, and the world's spec does not say of which kind; set "
                "WorldSpec(depth='planar') for depth along the optical axis, or 'radial' for "
                "distance from the camera's centre: depth without its kind means nothing"
            )
        return Depth(shown.depth, self.spec.depth)


@DEPTHS.register("head")
class HeadDepth(DepthSource):
    """What the model's depth head reads off the latents, recorded or imagined."""

    def depth(self, shown: ShownFrames, past: ShownFrames | None) -> Depth | None:
        if shown.reader is None:
            return None
        if shown.reader.depth is None:
            raise UsageError(
                "model.memory.depth=head needs a model that tells depth, and this one has no depth "
                "head; train it with model.head.depth=true, or name another source"
            )
        return Depth(shown.reader.depth(shown.latents), shown.reader.kind)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a reconstructor makes of F frames of V views.

    Attributes:
        depth: `[F, V, H, W]` in its own unit of length, NaN where it does not know.
        kind: of the depth.
        poses: `[F, V, 4, 4]` cameras to a frame of its own, OpenCV axes.
        metric: whether its unit is the metre.
    """

    depth: Tensor
    kind: DepthKind
    poses: Tensor
    metric: bool = False


Reconstruct = Callable[[Tensor, Tensor], Reconstruction]
"""Pixels uint8 `[F, V, H, W, 3]` and intrinsics `[V, 3, 3]` in these pixels to their geometry."""
RECONSTRUCTORS: Registry[Reconstruct] = Registry("reconstructor")


def register_reconstructor(name: str) -> Callable[[Reconstruct], Reconstruct]:
    """Decorator that files a reconstructor under `name`, such as one that calls VGGT."""
    return RECONSTRUCTORS.register(name)


@DEPTHS.register("reconstructor")
class ReconstructedDepth(DepthSource):
    """What a registered reconstructor makes of the newest frames of each row.

    Its scale comes from where the cameras really stood (`worldsim.cameras.alignment`). Frames whose
    fit is refused have no depth, which is said once.
    """

    window = 7

    def __init__(self, spec: WorldSpec, reconstructor: str | None) -> None:
        super().__init__(spec, reconstructor)
        if reconstructor is None:
            raise UsageError(
                "model.memory.depth=reconstructor needs model.memory.reconstructor=NAME; known: "
                f"{', '.join(RECONSTRUCTORS) or 'none'}. Register one with "
                "worldsim.memory.depth.register_reconstructor, and name its file in parts=[FILE.py]"
            )
        self.reconstruct = RECONSTRUCTORS.get(reconstructor)

    def depth(self, shown: ShownFrames, past: ShownFrames | None) -> Depth | None:
        if shown.reader is None:
            return None
        rows = [self._row(shown, past, row) for row in range(len(shown.count))]
        some = next((found for found in rows if found is not None), None)
        if some is None:
            return None
        none = some.metres.new_full(some.metres.shape, torch.nan)
        return Depth(torch.cat([none if f is None else f.metres for f in rows]), some.kind)

    def _row(self, shown: ShownFrames, past: ShownFrames | None, row: int) -> Depth | None:
        count = int(shown.count[row])
        if not count or not bool(shown.cameras.known[row] > 0):
            return None
        latents, poses = shown.latents[row, :count], shown.cameras.pose[row, :count]
        if past is not None:
            before = past.real[row]
            latents = torch.cat([past.latents[row, before].to(latents), latents])
            poses = torch.cat([past.cameras.pose[row, before].to(poses), poses])
        assert shown.reader is not None
        pixels = shown.reader.pixels(latents)
        # Intrinsics of a memory are in cells of the latents.
        factor = pixels.shape[2] / latents.shape[2 + 1]
        made = self.reconstruct(pixels, scale_intrinsics(shown.cameras.intrinsics[row], factor))
        try:
            fit = align(
                made.poses.flatten(0, 1), poses.flatten(0, 1), FitLimits(), metric=made.metric
            )
        except DataError as error:
            warnings.warn(f"frames are not taken into the map: {error}", QualityWarning, 2)
            return None
        metres = fit.scale * made.depth[-count:].to(latents)
        whole = metres.new_full((1, shown.latents.shape[1], *metres.shape[1:]), torch.nan)
        whole[0, :count] = metres
        return Depth(whole, made.kind)
