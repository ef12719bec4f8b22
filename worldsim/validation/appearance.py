"""What a long rollout slowly does to its pictures: brightness, colour, sharpness, motion.

Images are uint8 `[..., H, W, 3]` RGB. Signed differences against the simulator's own frames of the
same step tell darkening, washing out, blur and freezing apart, which one score of quality does not.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import LUMA

Pixels = NDArray[np.uint8]
Float = NDArray[np.float64]


def luminance(images: Pixels) -> Float:
    """Mean brightness `[...]`, of 255."""
    return np.asarray((images.mean(axis=(-3, -2)) * LUMA).sum(axis=-1))


def saturation(images: Pixels) -> Float:
    """Mean of (max - min) / max over colour channels `[...]`, 0 for black, in [0, 1]."""
    top = images.max(axis=-1).astype(np.float64)
    spread = top - images.min(axis=-1)
    return np.asarray((spread / np.maximum(top, 1.0)).mean(axis=(-2, -1)))


def sharpness(images: Pixels) -> Float:
    """Variance of the Laplacian of brightness `[...]` (Pech-Pacheco et al. 2000)."""
    grey = images.astype(np.float64) @ LUMA
    centre = grey[..., 1:-1, 1:-1]
    around = grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:]
    return np.asarray((around - 4.0 * centre).var(axis=(-2, -1)))


def motion(images: Pixels, before: Pixels) -> Float:
    """Mean absolute change since the previous frame `[...]`, of 255."""
    return np.asarray(np.abs(images.astype(np.int16) - before).mean(axis=(-3, -2, -1)))


STILL_MEASURES: dict[str, Callable[[Pixels], Float]] = {
    "luminance": luminance,
    "saturation": saturation,
    "sharpness": sharpness,
}
MEASURES = (*STILL_MEASURES, "motion")
"""What `appearance` gives, in its order."""


def appearance(images: Pixels, before: Pixels) -> Float:
    """All measures `[..., 4]` of images, given the frames one step earlier."""
    still = [measure(images) for measure in STILL_MEASURES.values()]
    return np.stack([*still, motion(images, before)], axis=-1)
