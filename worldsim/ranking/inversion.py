"""Intervals of correlations by test inversion, which hold whether imagination is right or wrong.

Both worlds share their starts, so that their sampling errors move together, and a correlation of
noisy rates is pulled towards zero. A bootstrap around the observed rates keeps both faults. Here
worlds with known true rates are put in its place, from imagination reversed to imagination right.
Each gets the sampling errors that were seen, jointly. The interval holds the coefficients of the
worlds that would give the observed one by chance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import MIN_DEFINED_SHARE, Estimate, finite

Float = NDArray[np.float64]

NUISANCE_SHARE = 0.2
"""Share of the doubt that is left to what a test takes as known: spreads, errors, directions."""

DIRECTIONS = 2
"""Lines of worlds that are tried: how imagination was seen to differ, and others at random."""

MOST_DRAWS = 1000
HALVINGS = 7
"""Of the quarter turns between a world that is rejected and one that is not."""

SPREAD_DOUBT = 0.5
"""Standard errors by which true rates may spread less than noise leaves of the observed ones."""

LEAST_SPREAD = 1e-3
"""A spread of rates that is all noise is taken to be this share of what was seen."""


@dataclass(frozen=True)
class _Line:
    """Worlds whose coefficient rises from -1 to 1 while an angle goes from -pi/2 to pi/2.

    Attributes:
        function: the coefficient, of keyword arguments `reference` and `imagined`.
        along: direction of the true reference rates, a unit vector `[P]`.
        across: how imagination differs, a unit vector at a right angle to it.
        spreads: length of the true rates of both worlds, without noise.
        errors: of sampling, `[B, P]` of each world, drawn jointly.
    """

    function: Callable[..., Float]
    along: Float
    across: Float
    spreads: tuple[float, float]
    errors: tuple[Float, Float]

    def imagined(self, angle: float) -> Float:
        """True imagined rates `[P]`."""
        way = np.sin(angle) * self.along + np.cos(angle) * self.across
        return np.asarray(self.spreads[1] * way)

    def share(self, angle: float, observed: float, sign: int) -> float:
        """Share of draws at least as high as `observed`, or as low where `sign` is negative."""
        drawn = self.function(
            reference=self.spreads[0] * self.along + self.errors[0],
            imagined=self.imagined(angle) + self.errors[1],
        )
        return float((sign * (drawn - observed) >= -1e-9).mean())

    def end(self, observed: float, sign: int, tail: float) -> float:
        """Lowest coefficient that a test at `tail` does not reject; highest for `sign` -1."""
        rejected, kept = -sign * np.pi / 2, sign * np.pi / 2
        if self.share(rejected, observed, sign) > tail:
            return float(-sign)
        if self.share(kept, observed, sign) <= tail:
            return float(sign)
        for _ in range(HALVINGS):
            middle = (rejected + kept) / 2
            if self.share(middle, observed, sign) > tail:
                kept = middle
            else:
                rejected = middle
        # Policies whose observed rates are equal hardly are so in truth: ties are broken outwards.
        apart = self.along - sign * 1e-9 * self.across
        return float(self.function(reference=apart, imagined=self.imagined(rejected)))


def inverted_estimate(
    function: Callable[..., Float],
    point: tuple[Float, Float],
    resamples: tuple[Float, Float],
    level: float,
    undefined: str,
) -> Estimate:
    """A correlation of observed rates with an interval for that of the true ones.

    Args:
        function: Pearson's, Spearman's or Kendall's coefficient of `reference` and `imagined`.
        point: observed rates `[P]` of reference and imagination.
        resamples: bootstrap rates `[B, P]` of each world, drawn jointly if starts are shared.
        level: of the interval, which always holds the observed coefficient.
        undefined: the reason to give when the coefficient is undefined.
    """
    observed = finite(float(function(reference=point[0], imagined=point[1])))
    if observed is None:
        return Estimate(None, None, undefined)
    known = np.isfinite(resamples[0] + resamples[1]).all(axis=1)
    if known.mean() < MIN_DEFINED_SHARE:
        reason = f"no interval: rates are known in only {known.mean():.0%} of the resamples"
        return Estimate(observed, None, reason)
    tail = (1 - NUISANCE_SHARE) * (1 - level) / 2
    lines = _lines(function, point, (resamples[0][known], resamples[1][known]))
    low = min(line.end(observed, 1, tail) for line in lines)
    high = max(line.end(observed, -1, tail) for line in lines)
    return Estimate(observed, (min(low, observed), max(high, observed)))


def _lines(
    function: Callable[..., Float], point: tuple[Float, Float], resamples: tuple[Float, Float]
) -> list[_Line]:
    """Lines of worlds in several directions, with the spreads that noise may leave."""
    r, s = (_centred(rates) for rates in point)
    errors = [_centred(drawn - drawn.mean(axis=0))[:MOST_DRAWS] for drawn in resamples]
    along = r / np.linalg.norm(r)
    found = np.random.default_rng(0).normal(size=(DIRECTIONS, len(r)))
    # What the reference leaves of imagination; where that is nothing, a random direction stays.
    if np.linalg.norm(s - (s @ along) * along) > 1e-9 * np.linalg.norm(s):
        found[0] = s
    across = [_centred(way) - (_centred(way) @ along) * along for way in found]
    spreads = zip(_spreads(r, errors[0]), _spreads(s, errors[1]), strict=True)
    return [
        _Line(function, along, way / np.linalg.norm(way), pair, (errors[0], errors[1]))
        for pair in spreads
        for way in across
    ]


def _centred(rates: Float) -> Float:
    """Without their mean over policies, which no correlation sees."""
    return np.asarray(rates - rates.mean(axis=-1, keepdims=True))


def _spreads(rates: Float, errors: Float) -> tuple[float, float]:
    """Length of true rates `[P]` without what errors `[B, P]` add, and `SPREAD_DOUBT` less.

    Errors that both worlds share may have spread both sets of rates by chance, and alike.
    """
    seen, noise = float((rates**2).sum()), float((errors**2).sum(axis=1).mean())
    least = LEAST_SPREAD**2 * seen
    left = max(seen - noise, least)
    again = np.sqrt(left / seen) * rates + errors
    doubt = float((again**2).sum(axis=1).std())
    return float(np.sqrt(left)), float(np.sqrt(max(left - SPREAD_DOUBT * doubt, least)))
