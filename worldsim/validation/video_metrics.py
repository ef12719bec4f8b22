"""Errors of imagined frames against the simulator's, moving pixels apart from static ones.

Images are uint8 `[..., H, W, 3]`. Legend: N episodes, V views, H W pixels, K horizons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.projection import projections_of
from worldsim.errors import UsageError
from worldsim.spec import CameraSpec

Pixels = NDArray[np.uint8]
Float = NDArray[np.float64]

MOVED = 25
"""A pixel has moved if a channel differs by more than this (of 255) from the first frame."""

PSNR_CAP = 100.0
WINDOW = 11


def psnr(mse: Float) -> Float:
    """Peak signal-to-noise ratio in dB of mean squared errors over [0, 255]; at most 100.

    NaN where the error is NaN (nothing was compared).
    """
    floor = 255.0**2 * 10 ** (-PSNR_CAP / 10)
    value: Float = 10.0 * np.log10(255.0**2 / np.maximum(mse, floor))
    return value


def psnr_of(mse: float) -> float:
    """`psnr` of one number."""
    return float(psnr(np.asarray(mse, np.float64)))


def area_weights(cameras: Sequence[CameraSpec]) -> Float | None:
    """How much each pixel of V cameras counts, `[V, H, W]` of mean 1; None where all count alike.

    By solid angle: the rows of a panorama shrink towards its poles (WS-PSNR, Sun, Lu and Yu, IEEE
    Signal Processing Letters 24, 2017).
    """
    kinds = projections_of(cameras)
    parts = [kind.area_weight(c.height, c.width) for kind, c in zip(kinds, cameras, strict=True)]
    if all(bool((part == 1).all()) for part in parts):
        return None
    return np.stack([part.double().numpy() for part in parts])


def ssim(predicted: Pixels, truth: Pixels, weight: Float | None = None) -> Float:
    """Structural similarity of each image, `[...]`; 1 is equal.

    `weight` `[..., H, W]` of mean 1 says how much each pixel counts, see `area_weights`.

    Gaussian window of 11 pixels, sigma 1.5, images mirrored at their border, averaged over pixels
    and channels (Wang et al. 2004, "Image quality assessment", equation 13), as torchmetrics.

    Raises:
        UsageError: shapes differ.
    """
    _require_same(predicted, truth)
    lead, size = truth.shape[:-3], truth.shape[-3:]
    flat = predicted.reshape(-1, *size), truth.reshape(-1, *size)
    maps = [ssim_map(left, right) for left, right in zip(*flat, strict=True)]
    if weight is None:
        return np.array([float(each.mean()) for each in maps]).reshape(lead)
    counts = np.broadcast_to(weight, truth.shape[:-1]).reshape(-1, *size[:2])
    means = [float((each * count).mean()) for each, count in zip(maps, counts, strict=True)]
    return np.array(means).reshape(lead)


def ssim_map(left: Pixels, right: Pixels) -> NDArray[np.float32]:
    """Structural similarity `[H, W]` around every pixel of two images `[H, W, 3]`; see `ssim`."""
    import cv2

    x, y = left.astype(np.float32), right.astype(np.float32)

    def blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(image, (WINDOW, WINDOW), 1.5, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(smooth, np.float32)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return np.asarray((luminance * structure).mean(-1), np.float32)


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """Squared errors of images, split by what moved since the first frame.

    Attributes:
        mse: mean squared error per image `[...]`.
        moving_sum: summed squared error over moved pixels (mean over channels) `[...]`.
        moving_count: moved pixels `[...]`.
        static_sum: as `moving_sum`, over the other pixels.
        static_count: other pixels.
    """

    mse: Float
    moving_sum: Float
    moving_count: Float
    static_sum: Float
    static_count: Float


def frame_errors(
    predicted: Pixels, truth: Pixels, first: Pixels, weight: Float | None = None
) -> FrameErrors:
    """Errors of `predicted` against `truth`; a pixel moved if `truth` differs from `first` there.

    Args:
        predicted: uint8 `[..., H, W, 3]`.
        truth: of the same shape.
        first: of the same shape.
        weight: `[..., H, W]` of mean 1, how much each pixel counts; None counts all alike. Counts
            of pixels are then sums of weights.

    Raises:
        UsageError: shapes differ.
    """
    _require_same(predicted, truth)
    _require_same(first, truth)
    actual = truth.astype(np.int16)
    squared = np.square(predicted.astype(np.int16) - actual, dtype=np.float32).mean(-1)
    moved = np.abs(actual - first).max(-1) > MOVED
    still = ~moved
    if weight is not None:
        squared, moved, still = squared * weight, moved * weight, still * weight
    there, axes = moved > 0, (-2, -1)
    return FrameErrors(
        mse=squared.mean(axes).astype(np.float64),
        moving_sum=(squared * there).sum(axes, dtype=np.float64),
        moving_count=moved.sum(axes).astype(np.float64),
        static_sum=(squared * ~there).sum(axes, dtype=np.float64),
        static_count=still.sum(axes).astype(np.float64),
    )


def _require_same(left: Pixels, right: Pixels) -> None:
    if left.shape != right.shape or left.shape[-1] != 3:
        raise UsageError(
            f"images to compare have shapes {left.shape} and {right.shape}; expected both "
            "[..., H, W, 3]"
        )


class HorizonErrors:
    """Means over episodes at each horizon and camera, collected frame by frame.

    Args:
        horizons: K, most steps from the first frame.
        views: V.
        weight: `[V, H, W]`, see `frame_errors`.
    """

    def __init__(self, horizons: int, views: int, weight: Float | None = None) -> None:
        self._weight = weight
        shape = (horizons, views)
        names = (*(field.name for field in fields(FrameErrors)), "ssim")
        self._sums = {name: np.zeros(shape) for name in names}
        self._count = np.zeros((horizons, 1))

    def add(self, horizon: int, predicted: Pixels, truth: Pixels, first: Pixels) -> FrameErrors:
        """Collect frames `[n, V, H, W, 3]` that lie `horizon` (1 to K) steps from the first.

        Returns:
            Errors of each of them.
        """
        weight = self._weight
        errors = frame_errors(predicted, truth, first, weight)
        for name in self._sums:
            values = ssim(predicted, truth, weight) if name == "ssim" else getattr(errors, name)
            self._sums[name][horizon - 1] += values.sum(axis=0)
        self._count[horizon - 1] += len(truth)
        return errors

    def psnr(self) -> Float:
        """dB of the error averaged over episodes, `[K, V]`; NaN where nothing was collected."""
        return psnr(self._mean("mse", self._count))

    def ssim(self) -> Float:
        """Mean over episodes, `[K, V]`."""
        return self._mean("ssim", self._count)

    def psnr_moving(self) -> Float:
        """dB over moved pixels, `[K, V]`; NaN where none moved."""
        return psnr(self._mean("moving_sum", self._sums["moving_count"]))

    def psnr_static(self) -> Float:
        """dB over pixels that did not move, `[K, V]`."""
        return psnr(self._mean("static_sum", self._sums["static_count"]))

    def _mean(self, name: str, count: Float) -> Float:
        with np.errstate(invalid="ignore", divide="ignore"):
            value: Float = self._sums[name] / np.where(count > 0, count, np.nan)
        return value
