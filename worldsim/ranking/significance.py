"""What of a ranking may be chance: the lead of the best policy, and the correlation of the worlds.

The two best policies of a world ran from the same starts. Rates are told apart by McNemar's exact
test on the starts where exactly one of them succeeded, with Connor's sample size (Biometrics 1987,
eq. 1); means of other metrics by a sign-flip permutation test of the paired differences, with the
sample size of a paired z-test. A correlation is held against permutations of the policies, and
computed again without each of them.
"""

from dataclasses import dataclass
from itertools import permutations
from math import ceil, factorial, prod, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import finite, in_chunks, normal_quantile
from worldsim.ranking.correlation import FEWEST, STATISTICS, pearson
from worldsim.rollout.episodes import EpisodeMetric

Float = NDArray[np.float64]

POWER = 0.8
MAX_STARTS = 1_000_000
RANDOM_ORDERS = 9999
"""Permutations that are tried where there are too many to try all."""

EXACT_UP_TO = 8
"""All k! orders are tried up to this many policies; beyond it they are sampled."""

LEVERAGE_FLAG = 0.10
"""A policy whose removal moves Pearson's r by more than this is named."""


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

    @staticmethod
    def of_none(world: str, what: str) -> "Separation":
        """Of a world in which fewer than two policies have `what`."""
        text = f"{world}: fewer than two policies have a {what}"
        return Separation(world, None, None, None, None, False, 0, None, text)


def top_two(rates: Float, names: tuple[str, ...]) -> tuple[int, int] | None:
    """Indices of the two highest finite rates `[P]`; ties go by name. None below two."""
    order = sorted(
        (i for i in range(len(names)) if np.isfinite(rates[i])), key=lambda i: (-rates[i], names[i])
    )
    return (order[0], order[1]) if len(order) >= 2 else None


def separate(
    outcomes: Float, names: tuple[str, ...], world: str, level: float, metric: EpisodeMetric
) -> Separation:
    """The top two of outcomes `[P, N]` by start; NaN marks what is not known.

    Several rollouts a start are given by their mean, which is rounded where the metric is binary.
    """
    if metric.binary and not metric.more_is_better:
        outcomes = 1 - outcomes
    known = np.isfinite(outcomes)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, outcomes, 0.0).sum(axis=1) / known.sum(axis=1)
    pair = top_two(means if metric.binary else metric.sign * means, names)
    if pair is None:
        return Separation.of_none(world, "rate" if metric.binary else "value")
    a, b = pair
    x, y = (outcomes[i][known[a] & known[b]] for i in pair)
    who, gap = (world, names[a], names[b]), float(means[a] - means[b])
    if not metric.binary:
        return _separate_means(who, abs(gap), metric.sign * (x - y), level, metric)
    wins, losses = int(((x >= 0.5) & (y < 0.5)).sum()), int(((x < 0.5) & (y >= 0.5)).sum())
    more = more_paired_starts(wins, losses, len(x), level)
    return describe_rates(who, gap, mcnemar_exact(wins, losses), len(x), more, level)


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


def describe_rates(
    who: tuple[str, str, str],
    gap: float,
    p_value: float,
    starts: int,
    more: int | None,
    level: float,
) -> Separation:
    """Of rates, in words; `who` is the world and its two best policies."""
    world, first, second = who
    separated = p_value < 1 - level
    text = f"{world}: {first} leads {second} by {gap:.3f} over {starts} starts"
    if separated:
        more, text = 0, f"{text}; already separated (p = {p_value:.2g})"
    elif gap == 0:
        more, text = None, f"{world}: {first} and {second} are tied over {starts} starts"
    elif more is None:
        text += f"; not separated (p = {p_value:.2g}), nor by any practical number of starts"
    else:
        text += f"; not separated (p = {p_value:.2g}): about {more} more starts would do it"
    return Separation(*who, gap, p_value, separated, starts, more, text)


def _separate_means(
    who: tuple[str, str, str], gap: float, ahead: Float, level: float, metric: EpisodeMetric
) -> Separation:
    """Of means that are `gap` apart, from how far the first is `ahead` at each start `[N]`."""
    world, first, second = who
    p_value = sign_flip_test(ahead) if len(ahead) else None
    separated = p_value is not None and p_value < 1 - level
    more = 0 if separated else more_starts(ahead, level)
    lead = f"{world}: {first} is ahead of {second} by {gap:.3g} {metric.unit}"
    text = f"{lead} over {len(ahead)} starts"
    if gap == 0:
        text = f"{world}: {first} and {second} are tied over {len(ahead)} starts"
    elif p_value is None:
        text = f"{lead}, but no start tells of both"
    elif separated:
        text += f"; separated (p = {p_value:.2g})"
    else:
        hint = "" if more is None else f": about {more} more starts would do it"
        text += f"; not separated (p = {p_value:.2g}){hint}"
    return Separation(*who, gap, p_value, separated, len(ahead), more, text)


def sign_flip_test(differences: Float) -> float:
    """Two-sided p-value of a mean difference `[N]`, had each start either sign as likely."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(RANDOM_ORDERS, len(differences)))
    as_far = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-9)
    # The differences as observed count too, or the test could claim p = 0.
    return float((as_far.sum() + 1) / (RANDOM_ORDERS + 1))


def more_starts(differences: Float, level: float) -> int | None:
    """Further starts at which the mean of `[N]` differences would be significant with `POWER`.

    None where there is no difference to detect, or it would take more than `MAX_STARTS`.
    """
    count = len(differences)
    if count < 2 or differences.mean() <= 0:
        return None
    effect = float(differences.mean()) / max(float(differences.std(ddof=1)), 1e-12)
    needed = ((normal_quantile(level) + NormalDist().inv_cdf(POWER)) / effect) ** 2
    return None if needed > MAX_STARTS else max(ceil(needed) - count, 1)


@dataclass(frozen=True)
class PermutationTest:
    """One-sided chance of a coefficient at least this high if imagination were unrelated.

    Attributes:
        policies: k.
        floor: the least p-value that these rates can reach, whatever order they came in: 1/k!
            without ties, more with them, and no less than a sample of orders can show.
        exact: whether all k! orders were tried.
        orders: how many orders were tried.
        p_values: {coefficient: p}; None where the coefficient is undefined.
    """

    policies: int
    floor: float
    exact: bool
    orders: int
    p_values: dict[str, float | None]


def permutation_test(
    reference: Float, imagined: Float, rng: np.random.Generator
) -> PermutationTest:
    """Permute which policy the imagined rates `[P]` belong to.

    Not by `scipy.stats.permutation_test`: it draws orders anew for each coefficient, which would
    change every sampled p-value, and counts as higher what differs by rounding alone.
    """
    k, names = len(reference), ("pearson", "spearman", "kendall")
    if k < FEWEST:
        return PermutationTest(k, 1.0, True, 1, dict.fromkeys(names))
    exact = k <= EXACT_UP_TO
    if exact:
        orders = np.array(list(permutations(range(k))), dtype=np.int64)
    else:
        orders = rng.permuted(np.tile(np.arange(k), (RANDOM_ORDERS, 1)), axis=1)
    shuffled = imagined[orders]
    fixed = np.broadcast_to(reference, shuffled.shape)

    def p_value(name: str) -> float | None:
        function = STATISTICS[name].function
        observed = finite(float(function(reference=reference, imagined=imagined)))
        if observed is None:
            return None
        values = in_chunks(function)(reference=fixed, imagined=shuffled)
        # Equal arrangements must count as equal whatever the order of their sums.
        as_high = int((values >= observed - 1e-9).sum())
        # A sampled test counts the observed order itself, or it could claim p = 0.
        return as_high / len(values) if exact else (as_high + 1) / (len(values) + 1)

    p_values = {name: p_value(name) for name in names}
    return PermutationTest(k, _floor(reference, imagined, exact), exact, len(orders), p_values)


def _floor(reference: Float, imagined: Float, exact: bool) -> float:
    """The p-value of the highest coefficient that an order of these rates `[P]` gives.

    A coefficient is highest where both rise together. Exchanging policies of equal reference rate,
    or of equal imagined rate, leaves it so; those equal in both are counted once.
    """
    r, s = np.sort(reference), np.sort(imagined)
    highest = _orders_within(r) * _orders_within(s) // _orders_within(np.stack([r, s], axis=1))
    share = highest / factorial(len(r))
    return share if exact else max(share, 1 / (RANDOM_ORDERS + 1))


def _orders_within(rows: Float) -> int:
    """How many orders of rows exchange equal ones only."""
    _, counts = np.unique(rows, axis=0, return_counts=True)
    return prod(factorial(int(count)) for count in counts)


@dataclass(frozen=True)
class Leverage:
    """Pearson's r without one policy.

    Attributes:
        policy: the one left out.
        without: r of the others; None if undefined.
        change: `without` - r of all.
        flagged: whether |change| exceeds `LEVERAGE_FLAG`.
    """

    policy: str
    without: float | None
    change: float | None
    flagged: bool


def drop_one_leverage(
    reference: Float, imagined: Float, names: tuple[str, ...]
) -> tuple[Leverage, ...]:
    """Pearson's r with each policy left out; needs at least four policies to mean anything."""
    whole = finite(float(pearson(reference=reference, imagined=imagined)))
    if whole is None or len(names) < 4:
        return ()
    result = []
    for i, name in enumerate(names):
        kept = np.arange(len(names)) != i
        without = finite(float(pearson(reference=reference[kept], imagined=imagined[kept])))
        change = None if without is None else without - whole
        # Undefined without it means that this policy alone makes the correlation.
        flagged = change is None or abs(change) > LEVERAGE_FLAG
        result.append(Leverage(name, without, change, flagged))
    return tuple(result)
