"""Errors of frames over regions of their pixels, each weighed by its solid angle.

Legend: L frames, V views, H W pixels. Images are uint8 `[..., H, W, 3]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from worldsim.models.lpips import Lpips
from worldsim.validation.video_metrics import WINDOW, psnr_of, ssim_map

Pixels = NDArray[np.uint8]
Float = NDArray[np.float64]
Mask = NDArray[np.bool_]
MEASURES = ("truth", "own", "ssim", "lpips", "depth")
"""Squared error against the simulator and against the first visit; structure; perceptual distance;
share by which depth is off."""


@dataclass
class Tally:
    """Weighted sums and weights of each measure over each region.

    Attributes:
        sums: {(region, measure): [sum, weight]}.
    """

    sums: dict[tuple[str, str], Float] = field(default_factory=dict)

    def add(self, measure: str, values: Float, masks: Mapping[str, Mask], weight: Float) -> None:
        """Collect values `[L, V, H, W]`; those that are not finite do not count.

        Args:
            measure: one of `MEASURES`.
            values: of every pixel.
            masks: of each region, of the same shape.
            weight: of each pixel, `[V, H, W]`.
        """
        known = np.isfinite(values)
        clean = np.where(known, values, 0.0)
        for region, mask in masks.items():
            share = weight * (mask & known)
            held = self.sums.setdefault((region, measure), np.zeros(2))
            held += ((share * clean).sum(), share.sum())

    def mean(self, region: str, measure: str) -> float:
        """The weighted mean; NaN where nothing was collected."""
        total, weight = self.sums.get((region, measure), np.zeros(2))
        return float(total / weight) if weight > 0 else float("nan")

    def figure(self, region: str, measure: str) -> float:
        """What is told of a measure: dB of squared errors, the mean of others."""
        mean = self.mean(region, measure)
        return psnr_of(mean) if measure in ("truth", "own") else mean

    def join(self, other: "Tally") -> None:
        """Add what another collected."""
        for key, value in other.sums.items():
            self.sums[key] = self.sums.get(key, np.zeros(2)) + value


@dataclass(frozen=True, eq=False)
class Scored:
    """What frames are held against.

    Attributes:
        truth: uint8 `[L, V, H, W, 3]` of the simulator.
        depth: `[L, V, H, W]` metres, radial; not finite where unknown.
        masks: of each region, bool `[L, V, H, W]`.
        weight: `[V, H, W]`, mean 1 over each image.
        wraps: of each view, whether its left and right edge meet.
        lpips: the network, where its weights were given.
    """

    truth: Pixels
    depth: Float
    masks: Mapping[str, Mask]
    weight: Float
    wraps: tuple[bool, ...]
    lpips: Lpips | None = None

    def tally(self, frames: Pixels, own: Pixels, depth: Float | None = None) -> Tally:
        """Errors of frames.

        Args:
            frames: uint8 `[L, V, H, W, 3]`.
            own: what the first visit showed, where `seen`; the same shape.
            depth: `[L, V, h, w]` metres that the model tells of them, radial.
        """
        tally = Tally()
        tally.add("truth", squared(frames, self.truth), self.masks, self.weight)
        own_masks = {n: m for n, m in self.masks.items() if n in ("seen", "returned")}
        tally.add("own", squared(frames, own), own_masks, self.weight)
        tally.add("ssim", self._ssim(frames), self.masks, self.weight)
        if self.lpips is not None:
            distances = self.lpips.maps(frames, self.truth).astype(np.float64)
            tally.add("lpips", distances, self.masks, self.weight)
        if depth is not None:
            told = _resized(depth, self.depth.shape[-2:])
            with np.errstate(invalid="ignore", divide="ignore"):
                off = np.abs(told - self.depth) / self.depth
            tally.add("depth", off, self.masks, self.weight)
        return tally

    def _ssim(self, frames: Pixels) -> Float:
        """`ssim_map` image by image, panoramas continued over their edges."""
        values = np.empty(frames.shape[:-1])
        pad = WINDOW // 2
        for place in np.ndindex(*frames.shape[:2]):
            pair = [frames[place], self.truth[place]]
            if self.wraps[place[1]]:
                around = ((0, 0), (pad, pad), (0, 0))
                pair = [np.pad(image, around, mode="wrap") for image in pair]
            found = ssim_map(*pair)
            values[place] = found[:, pad:-pad] if self.wraps[place[1]] else found
        return values


def squared(frames: Pixels, truth: Pixels) -> Float:
    """Squared error of each pixel `[..., H, W]`, mean over channels, of 255 squared."""
    off = frames.astype(np.int16) - truth.astype(np.int16)
    return np.asarray(np.square(off, dtype=np.float64).mean(-1))


def _resized(depth: Float, size: tuple[int, int]) -> Float:
    """Depth `[L, V, h, w]` at the pixels of larger images."""
    flat = depth.reshape(-1, *depth.shape[-2:])
    large = [cv2.resize(each, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for each in flat]
    return np.stack(large).reshape(*depth.shape[:-2], *size)
