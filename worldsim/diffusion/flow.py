"""Flow matching with one noise level per frame: pure tensor functions.

x_s = (1 - s) x0 + s e with s in [0, 1]; level 0 is clean; velocity is e - x0
(Lipman et al. 2210.02747; per-frame levels as Diffusion Forcing, 2407.01392).

Shapes: latents `[B, T, V, c, h, w]`, sigma `[B, T]`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import UsageError


def env_noise(keys: Iterable[tuple[int, ...]], shape: Sequence[int]) -> Tensor:
    """Unit Gaussian noise `[N, *shape]` float32; row i is a function of keys[i] alone.

    Args:
        keys: (seed, env id, frame of its episode, and denoising step where there are several).
        shape: of one row.
    """
    seeded = (np.random.Generator(np.random.Philox(np.random.SeedSequence(key))) for key in keys)
    rows = [each.standard_normal(tuple(shape), dtype=np.float32) for each in seeded]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, *shape)


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Move levels toward noise: shift s / (1 + (shift - 1) s), as flow-matching video models do."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sampling_sigmas(steps: int, shift: float = 1.0) -> Tensor:
    """Levels from 1 down to 0, `[steps + 1]`.

    Raises:
        UsageError: fewer than one step.
    """
    if steps < 1:
        raise UsageError(f"sampling_steps is {steps}; expected 1 or more")
    return shift_sigma(torch.linspace(1.0, 0.0, steps + 1), shift)


def per_frame(sigma: Tensor) -> Tensor:
    """`[B, T]` to `[B, T, 1, 1, 1, 1]`, ready to multiply latents."""
    return sigma[..., None, None, None, None]


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_s for clean `x0`, unit noise of the same shape and levels `[B, T]`."""
    s = per_frame(sigma).to(x0.dtype)
    return (1 - s) * x0 + s * noise


def velocity(x: Tensor, x0: Tensor, sigma: Tensor) -> Tensor:
    """dx/ds = e - x0 = (x_s - x0) / s; zero where the level is zero."""
    s = per_frame(sigma).to(x.dtype)
    return torch.where(s > 0, (x - x0) / s.clamp_min(1e-4), torch.zeros_like(x))


def step_down(x: Tensor, x0: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """One Euler step of the probability flow from level sigma to sigma_next, exact for fixed x0."""
    return x + per_frame(sigma_next - sigma).to(x.dtype) * velocity(x, x0, sigma)


def linear_estimate(x: Tensor, sigma: Tensor) -> Tensor:
    """Best linear estimate of a unit-variance x0 from x_s: x (1-s) / ((1-s)^2 + s^2)."""
    s = per_frame(sigma).to(x.dtype)
    return x * (1 - s) / ((1 - s) ** 2 + s**2)


def estimate_variance(sigma: Tensor) -> Tensor:
    """Error variance s^2 / ((1-s)^2 + s^2) of `linear_estimate` for unit-variance x0."""
    return sigma**2 / ((1 - sigma) ** 2 + sigma**2)


def residual_base(x: Tensor, sigma: Tensor, previous: Tensor, sigma_previous: Tensor) -> Tensor:
    """What a denoiser's residual is added to: the predecessor, or the frame itself when cleaner.

    The two linear estimates are mixed by inverse error variance, so that a clean predecessor
    carries small objects unchanged through a noisy frame, a clean frame is returned as it is, and
    a missing predecessor (level 1) contributes little.
    """
    own, before = linear_estimate(x, sigma), linear_estimate(previous, sigma_previous)
    doubt, doubt_before = estimate_variance(sigma), estimate_variance(sigma_previous)
    weight = per_frame(doubt / (doubt + doubt_before).clamp_min(1e-8)).to(x.dtype)
    return own + weight * (before - own)


def as_history(x0: Tensor, sigma: float) -> Tensor:
    """A clean frame as it is re-read under level `sigma`: scaled as x_s is, no noise added."""
    return (1.0 - sigma) * x0
