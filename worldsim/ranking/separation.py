"""Are the two best policies told apart, and if not, how many more starts would do it?

Both ran from the same starts, so the test is McNemar's exact test on the starts where exactly
one of them succeeded, and the sample size is Connor's (Biometrics 1987, eq. 1). Logged rates
without pairing use Fisher's exact test and the two-proportion sample size.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.rates import normal_quantile

Float = NDArray[np.float64]

POWER = 0.8
MAX_STARTS = 1_000_000


@dataclass(frozen=True)
class Separation:
    """The top two of one world.

    Attributes:
        world: "imagined" or "reference".
        first: the leader; `second` the runner-up (None: there are fewer than two policies).
        difference: how far the leader's rate is ahead.
        p_value: two-sided; None where it cannot be computed.
        separated: p_value below 1 - level.
        starts: how many starts (or trials) there are.
        more_starts: how many more would separate them with `POWER`, if the difference is as
            seen; 0 when separated; None when no number can be given.
        statement: the same in words.
    """

    world: str
    first: str | None
    second: str | None
    difference: float | None
    p_value: float | None
    separated: bool
    starts: int
    more_starts: int | None
    statement: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(vars(self))


def top_two(rates: Float, names: tuple[str, ...]) -> tuple[int, int] | None:
    """Indices of the two highest finite rates `[P]`; ties go by name. None below two."""
    order = sorted(
        (i for i in range(len(names)) if np.isfinite(rates[i])), key=lambda i: (-rates[i], names[i])
    )
    return (order[0], order[1]) if len(order) >= 2 else None


def separate_paired(
    outcomes: Float, names: tuple[str, ...], world: str, level: float = 0.95
) -> Separation:
    """Top two of outcomes `[P, N]` (several rollouts a start: their rounded mean)."""
    known = np.isfinite(outcomes)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, outcomes, 0).sum(axis=1) / known.sum(axis=1)
    pair = top_two(mean, names)
    if pair is None:
        return _too_few(world)
    a, b = pair
    both = known[a] & known[b]
    x, y = outcomes[a][both] >= 0.5, outcomes[b][both] >= 0.5
    wins, losses, starts = int((x & ~y).sum()), int((~x & y).sum()), int(both.sum())
    p_value = mcnemar_exact(wins, losses)
    more = more_paired_starts(wins, losses, starts, level)
    return _describe(
        world, names[a], names[b], float(mean[a] - mean[b]), p_value, starts, more, level
    )


def separate_counts(
    rates: Float, trials: Float, names: tuple[str, ...], world: str, level: float = 0.95
) -> Separation:
    """Top two of unpaired rates `[P]` over trials `[P]`; trials NaN means unknown."""
    pair = top_two(rates, names)
    if pair is None:
        return _too_few(world)
    a, b = pair
    unknown = [names[i] for i in pair if not np.isfinite(trials[i])]
    if unknown:
        return _uncounted(world, names[a], names[b], float(rates[a] - rates[b]), unknown)
    successes = rates * trials
    counts = [round(float(v)) for v in (successes[a], trials[a], successes[b], trials[b])]
    p_value = fisher_exact(*counts)
    starts = min(counts[1], counts[3])
    needed = two_proportion_trials(float(rates[a]), float(rates[b]), level)
    more = None if needed is None else max(needed - starts, 1)
    difference = float(rates[a] - rates[b])
    return _describe(world, names[a], names[b], difference, p_value, starts, more, level)


def mcnemar_exact(wins: int, losses: int) -> float:
    """Two-sided exact McNemar p-value: Binomial(wins + losses, 1/2)."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def more_paired_starts(wins: int, losses: int, starts: int, level: float) -> int | None:
    """Further starts at which the difference seen would be significant with `POWER`.

    None when there is no difference to detect, or it would take more than `MAX_STARTS`.
    """
    if wins == losses or starts == 0:
        return None
    share, gap = (wins + losses) / starts, abs(wins - losses) / starts
    z_alpha, z_power = normal_quantile(level), NormalDist().inv_cdf(POWER)
    connor = ((z_alpha * sqrt(share) + z_power * sqrt(max(share - gap**2, 0.0))) / gap) ** 2
    needed = max(ceil(connor), starts + 1)
    # Connor's count is asymptotic: with few discordant starts the exact test needs more.
    while needed <= MAX_STARTS:
        scaled = round(wins * needed / starts), round(losses * needed / starts)
        if mcnemar_exact(*scaled) < 1 - level:
            return needed - starts
        needed += max(1, needed // 50)
    return None


def two_proportion_trials(p: float, q: float, level: float) -> int | None:
    """Trials for each of two independent policies to separate rates p and q with `POWER`."""
    if p == q:
        return None
    mean, gap = (p + q) / 2, abs(p - q)
    z_alpha, z_power = normal_quantile(level), NormalDist().inv_cdf(POWER)
    spread = z_alpha * sqrt(2 * mean * (1 - mean)) + z_power * sqrt(p * (1 - p) + q * (1 - q))
    needed = ceil((spread / gap) ** 2)
    return needed if needed <= MAX_STARTS else None


def fisher_exact(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Two-sided p-value of Fisher's exact test of equal rates."""
    from scipy import stats

    rows = [[successes_a, trials_a - successes_a], [successes_b, trials_b - successes_b]]
    return float(stats.fisher_exact(rows).pvalue)


def _too_few(world: str) -> Separation:
    text = f"{world}: fewer than two policies have a rate"
    return Separation(world, None, None, None, None, False, 0, None, text)


def _uncounted(
    world: str, first: str, second: str, difference: float, unknown: list[str]
) -> Separation:
    text = (
        f"{world}: {first} leads {second} by {difference:.3f}; whether that is more than chance "
        f"cannot be told without the number of trials of {' and '.join(unknown)}"
    )
    return Separation(world, first, second, difference, None, False, 0, None, text)


def _describe(
    world: str,
    first: str,
    second: str,
    difference: float,
    p_value: float,
    starts: int,
    more: int | None,
    level: float,
) -> Separation:
    separated = p_value < 1 - level
    lead = f"{world}: {first} leads {second} by {difference:.3f} over {starts} starts"
    if separated:
        more, text = 0, f"{lead}; already separated (p = {p_value:.2g})"
    elif difference == 0:
        more, text = None, f"{world}: {first} and {second} are tied over {starts} starts"
    elif more is None:
        text = f"{lead}; not separated (p = {p_value:.2g}), nor by any practical number of starts"
    else:
        text = f"{lead}; not separated (p = {p_value:.2g}): about {more} more starts would do it"
    return Separation(world, first, second, difference, p_value, separated, starts, more, text)
