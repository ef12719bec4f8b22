"""How often the intervals of a ranking hold the truth, by simulation, as a Markdown table.

    python scripts/coverage_table.py                  # every cell, 400 rankings each
    python scripts/coverage_table.py --bootstrap      # the same with bootstrap intervals throughout

True rates are given; imagination has the same ones, the same in an order that is unrelated, or the
same reversed. Success is a thresholded normal variate. It shares a part with the other policies (a
hard start is hard for all) and most of it with the other world (same start, same policy noise).
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import paired_resamples, start_resamples
from worldsim.ranking.correlation import STATISTICS, Coefficients, coefficients, pearson
from worldsim.ranking.unpaired import count_resamples
from worldsim.rollout.episodes import METRICS, SUCCESS

Float = NDArray[np.float64]

POOLS = {"close": (0.55, 0.80), "wide": (0.05, 0.95)}
IMAGINATIONS = ("right", "independent", "reversed")
SHOWN = ("pearson", "spearman", "kendall", "mmrv", "bias")
HARD_STARTS, SAME_NOISE = 0.3, 0.8
"""Shares of variance: of the start in what both worlds share, and of that in the whole."""
LEVEL = 0.95


@dataclass(frozen=True)
class Cell:
    """A kind of ranking.

    Attributes:
        pool: of `POOLS`.
        policies: P.
        starts: N, and trials where the reference is logged.
        imagination: of `IMAGINATIONS`.
        logged: whether the reference is counts from starts of its own.
    """

    pool: str
    policies: int
    starts: int
    imagination: str
    logged: bool

    def rates(self) -> tuple[Float, Float]:
        """True rates `[P]` of both worlds."""
        p = np.linspace(*POOLS[self.pool], self.policies)
        if self.imagination == "right":
            return p, p
        if self.imagination == "reversed":
            return p, p[::-1].copy()
        return p, p[unrelated_order(self.policies)]


@cache
def unrelated_order(policies: int) -> NDArray[np.int64]:
    """An order of evenly spaced rates `[P]` with hardly any correlation."""
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(policies), (2000, 1)), axis=1)
    apart = abs(
        pearson(reference=np.broadcast_to(np.arange(policies), orders.shape), imagined=orders)
    )
    return np.asarray(orders[apart.argmin()])


@dataclass(frozen=True)
class Coverage:
    """Of one statistic over many rankings: shares that hold the truth and that lie above zero."""

    held: float
    positive: float
    width: float


def simulate(cell: Cell, rng: np.random.Generator) -> tuple[Float, Float]:
    """Outcomes `[P, N, 1]` of the simulator and of imagination."""
    from scipy.special import ndtri

    shape = (cell.policies, cell.starts)
    hard = np.sqrt(HARD_STARTS) * rng.normal(size=(1, cell.starts))
    shared = hard + np.sqrt(1 - HARD_STARTS) * rng.normal(size=shape)

    def world(rates: Float) -> Float:
        own = np.sqrt(1 - SAME_NOISE) * rng.normal(size=shape)
        failed = np.sqrt(SAME_NOISE) * shared + own >= ndtri(rates)[:, None]
        return np.asarray(~failed, dtype=np.float64)[..., None]

    p, q = cell.rates()
    return world(p), world(q)


def ranked(cell: Cell, number: int, samples: int, bootstrap: bool) -> Coefficients:
    """Coefficients of one simulated ranking."""
    rng = np.random.default_rng([number, cell.policies, cell.starts])
    r, s = simulate(cell, rng)
    rates = r.mean(axis=(1, 2))
    if cell.logged:
        trials = np.full(cell.policies, float(cell.starts))
        rates = rng.binomial(cell.starts, cell.rates()[0]) / cell.starts
        drawn = count_resamples(rates, trials, samples, rng), start_resamples(s, samples, rng)
    else:
        drawn = paired_resamples(r, s, samples, rng)
    # Given how many policies each resample holds, intervals are the bootstrap's.
    all_of_them = np.full(samples, cell.policies) if bootstrap else None
    metric = METRICS.get(SUCCESS)
    return coefficients(rates, s.mean(axis=(1, 2)), drawn, LEVEL, metric, all_of_them)


def coverage(
    cell: Cell,
    rankings: int,
    samples: int,
    bootstrap: bool = False,
    names: tuple[str, ...] = SHOWN,
) -> dict[str, Coverage]:
    """Coverage of every statistic in `names` over so many rankings."""
    p, q = cell.rates()
    truth = {name: float(STATISTICS[name].function(reference=p, imagined=q)) for name in names}
    found = [ranked(cell, number, samples, bootstrap) for number in range(rankings)]
    result = {}
    for name in names:
        intervals = [getattr(one, name).interval for one in found]
        ends = np.array([each for each in intervals if each is not None])
        held = (ends[:, 0] - 1e-9 <= truth[name]) & (truth[name] <= ends[:, 1] + 1e-9)
        width, positive = np.ptp(ends, axis=1).mean(), (ends[:, 0] > 0).mean()
        result[name] = Coverage(float(held.mean()), float(positive), float(width))
    return result


def cells() -> list[Cell]:
    """Every cell of the table."""
    ways = product((False, True), POOLS, (6, 14), (24, 64), IMAGINATIONS)
    return [Cell(pool, p, n, imagined, logged) for logged, pool, p, n, imagined in ways]


def row(cell: Cell, found: dict[str, Coverage]) -> str:
    """A line of the table: coverage, and of Pearson also how often above zero and how wide."""
    first = ["logged" if cell.logged else "simulated", cell.pool]
    first += [str(cell.policies), str(cell.starts), cell.imagination]
    r = found["pearson"]
    numbers = [each.held for each in found.values()] + [r.positive, r.width]
    return "| " + " | ".join([*first, *(f"{number:.3f}" for number in numbers)]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rankings", type=int, default=400, help="in each cell")
    parser.add_argument("--samples", type=int, default=200, help="bootstrap samples of a ranking")
    parser.add_argument("--bootstrap", action="store_true", help="intervals by bootstrap alone")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    head = ["rates", "pool", "policies", "starts", "imagination", *SHOWN]
    head += ["pearson above 0", "pearson width"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    work = partial(
        coverage, rankings=options.rankings, samples=options.samples, bootstrap=options.bootstrap
    )
    with ProcessPoolExecutor(options.workers) as pool:
        for cell, found in zip(cells(), pool.map(work, cells()), strict=True):
            print(row(cell, found), flush=True)


if __name__ == "__main__":
    main()
