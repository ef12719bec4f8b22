"""Distributions of action sequences that a search draws from and fits to what was good.

Boxes have a Gaussian of each entry at each step, choices a probability of each at each step. Noise
may be coloured in time, so that a robot is moved rather than shaken.

Legend: N plans, H steps, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.spec import ActionSpec

Float = NDArray[np.float64]
Plans = NDArray[np.float32]
"""Action sequences `[N, H, A]`, normalised."""


def coloured_noise(rng: np.random.Generator, shape: Sequence[int], colour: float) -> Float:
    """Gaussian noise of unit variance whose power falls with the frequency to the `colour`.

    Timmer and Koenig (Astron. Astrophys. 300, 1995), as iCEM uses it (2008.06389, section 3.1).
    The constant part has the power of the slowest wave that fits in.

    Args:
        rng: draws it.
        shape: of the noise; its last axis is time.
        colour: 0 is white, 1 pink, 2 red.
    """
    length = int(shape[-1])
    frequency = np.fft.rfftfreq(length)
    frequency[0] = 1.0 / length
    size = frequency ** (-colour / 2)
    real, imaginary = rng.standard_normal((2, *shape[:-1], len(size))) * size
    # Parts that have no phase carry in one number what the others carry in two.
    phaseless = [0, len(size) - 1] if length % 2 == 0 else [0]
    real[..., phaseless] *= np.sqrt(2.0)
    imaginary[..., phaseless] = 0.0
    power = 4.0 * np.square(size)
    power[phaseless] /= 2.0
    noise: Float = np.fft.irfft(real + 1j * imaginary, n=length)
    return np.asarray(noise * length / np.sqrt(power.sum()))


class PlanDistribution(Protocol):
    """What plans of one kind of action are drawn from."""

    @property
    def plan(self) -> Plans:
        """The one plan `[H, A]` that it stands for."""
        ...

    def draw(self, rng: np.random.Generator, count: int, colour: float = 0.0) -> Plans:
        """`[count, H, A]`, within the limits of the action."""
        ...

    def anywhere(self, rng: np.random.Generator, count: int) -> Plans:
        """`[count, H, A]`, evenly of all plans that there are."""
        ...

    def fitted(self, plans: Plans, weights: Float, inertia: float) -> Self:
        """Itself moved to plans `[N, H, A]` by weights `[N]` that add up to 1.

        `inertia` is the share of what it was that stays.
        """
        ...

    def moved(self, plans: Plans, weights: Float) -> Self:
        """Itself about the weighted mean of plans `[N, H, A]`, as wide as it was."""
        ...


@dataclass(frozen=True, eq=False)
class GaussianPlans:
    """Plans of a box, independent in every entry.

    Attributes:
        mean: `[H, A]`.
        std: `[H, A]`.
        low: `[A]`.
        high: `[A]`.
        least: `[A]` below which no fit takes `std`.
    """

    mean: Float
    std: Float
    low: Float
    high: Float
    least: Float

    @property
    def plan(self) -> Plans:
        """The mean."""
        return np.clip(self.mean, self.low, self.high).astype(np.float32)

    def draw(self, rng: np.random.Generator, count: int, colour: float = 0.0) -> Plans:
        """See `PlanDistribution`."""
        steps, entries = self.mean.shape
        noise = coloured_noise(rng, (count, entries, steps), colour).swapaxes(1, 2)
        return np.clip(self.mean + self.std * noise, self.low, self.high).astype(np.float32)

    def anywhere(self, rng: np.random.Generator, count: int) -> Plans:
        """See `PlanDistribution`."""
        drawn = rng.uniform(self.low, self.high, (count, *self.mean.shape))
        return drawn.astype(np.float32)

    def fitted(self, plans: Plans, weights: Float, inertia: float) -> "GaussianPlans":
        """See `PlanDistribution`."""
        mean = np.tensordot(weights, plans.astype(np.float64), 1)
        std = np.sqrt(np.tensordot(weights, np.square(plans - mean), 1))
        return replace(
            self,
            mean=inertia * self.mean + (1 - inertia) * mean,
            std=np.maximum(inertia * self.std + (1 - inertia) * std, self.least),
        )

    def moved(self, plans: Plans, weights: Float) -> "GaussianPlans":
        """See `PlanDistribution`."""
        return replace(self, mean=np.tensordot(weights, plans.astype(np.float64), 1))


@dataclass(frozen=True, eq=False)
class ChoicePlans:
    """Plans of choices, independent at every step but for coloured noise.

    Attributes:
        probability: `[H, A]`, each row adds up to 1.
        least: below which no fit takes a probability, as a share of an even one.
    """

    probability: Float
    least: float

    @property
    def plan(self) -> Plans:
        """The likeliest choice of each step."""
        return self._one_hot(self.probability.argmax(axis=-1))

    def draw(self, rng: np.random.Generator, count: int, colour: float = 0.0) -> Plans:
        """See `PlanDistribution`; noise picks a choice by its quantile, so that runs of one choice
        are as long as its colour has them."""
        from scipy.special import ndtr

        quantile = ndtr(coloured_noise(rng, (count, len(self.probability)), colour))
        passed = quantile[..., None] >= self.probability.cumsum(axis=-1)[:, :-1]
        return self._one_hot(passed.sum(axis=-1))

    def anywhere(self, rng: np.random.Generator, count: int) -> Plans:
        """See `PlanDistribution`."""
        steps, choices = self.probability.shape
        return self._one_hot(rng.integers(choices, size=(count, steps)))

    def fitted(self, plans: Plans, weights: Float, inertia: float) -> "ChoicePlans":
        """See `PlanDistribution`."""
        share = np.tensordot(weights, plans.astype(np.float64), 1)
        mixed = inertia * self.probability + (1 - inertia) * share
        even = 1.0 / mixed.shape[-1]
        return replace(self, probability=(1 - self.least) * mixed + self.least * even)

    def moved(self, plans: Plans, weights: Float) -> "ChoicePlans":
        """See `PlanDistribution`; probabilities have no width beside themselves."""
        return self.fitted(plans, weights, 0.0)

    def _one_hot(self, choices: NDArray[np.int64]) -> Plans:
        return np.eye(self.probability.shape[-1], dtype=np.float32)[choices]


NARROWEST = 0.02
"""Least width of a fitted distribution, as a share of the whole range."""


def plans_about(
    action: ActionSpec, horizon: int, spread: float, centre: Plans | None
) -> PlanDistribution:
    """The distribution that a search begins with.

    Args:
        action: of the world.
        horizon: H.
        spread: standard deviation of a box, as a share of half its range; of choices, the chance
            that a step is any choice.
        centre: `[H, A]` a plan to search about; None: the middle, or any choice.

    Raises:
        UsageError: a box has no limits.
    """
    if action.kind == "discrete":
        even = np.full((horizon, action.dim), 1.0 / action.dim)
        told = even if centre is None else (1 - spread) * centre.astype(np.float64) + spread * even
        return ChoicePlans(told, NARROWEST)
    low, high = np.asarray(action.low, np.float64), np.asarray(action.high, np.float64)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        raise UsageError(
            f"plans are drawn within the limits of actions, and {', '.join(action.names)} have "
            f"limits {action.low} to {action.high}; state finite ones in the world's spec"
        )
    half = (high - low) / 2
    mean = np.tile((low + high) / 2, (horizon, 1)) if centre is None else centre.astype(np.float64)
    return GaussianPlans(mean, np.tile(spread * half, (horizon, 1)), low, high, NARROWEST * half)
