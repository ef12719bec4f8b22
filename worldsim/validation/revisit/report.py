"""Figures of a revisit: of each arm, over scenes, with intervals over draws of scenes.

A walk's figure is dB of its squared errors, summed over its frames. Streams and routes of a scene
are averaged, and then scenes. Differences between arms are taken scene by scene.

Legend: S scenes, B bootstrap samples.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Estimate, bootstrap_interval, finite
from worldsim.validation.revisit.arms import NONE, ORACLE
from worldsim.validation.revisit.routes import CONTROL
from worldsim.validation.revisit.scores import MEASURES, Tally

Float = NDArray[np.float64]
SAMPLES, LEVEL = 2000, 0.95
REGIONS = ("returned", "off_path", "seen", "never", "near", "all")
HEADLINE = ("returned", "truth")
"""The region and the measure by which arms are compared."""


@dataclass(frozen=True, eq=False)
class Row:
    """Scores of one stream.

    Attributes:
        arm: its name.
        scene: number.
        route: its name.
        seed: of its noise.
        tally: sums of its errors.
    """

    arm: str
    scene: int
    route: str
    seed: int
    tally: Tally


@dataclass(frozen=True)
class ArmCost:
    """Attributes:
    words: what differs in the arm.
    seconds: an imagined frame takes, all streams of a walk together.
    bytes_a_frame: that its memory holds of each frame of a walk.
    """

    words: str
    seconds: float
    bytes_a_frame: float


@dataclass(frozen=True)
class WalkFacts:
    """Attributes:
    scene: number.
    route: its name.
    frames: of the walk.
    back: first frame of its return.
    offset_m: mean distance of the return to the way of the first visit.
    turned_deg: mean difference of heading there.
    shares: of the return's pixels in each region.
    """

    scene: int
    route: str
    frames: int
    back: int
    offset_m: float
    turned_deg: float
    shares: dict[str, float]


@dataclass(frozen=True, eq=False)
class RevisitReport:
    """Attributes:
    rows: scores of every stream.
    costs: of each arm that was run, in their order.
    left_out: {arm: why}.
    walks: what was walked.
    first_visit: shown or imagined.
    context: frames that the model sees without a memory.
    gap: frames in a row that what returned was out of sight.
    """

    rows: tuple[Row, ...]
    costs: dict[str, ArmCost]
    left_out: dict[str, str]
    walks: tuple[WalkFacts, ...]
    first_visit: str
    context: int
    gap: int

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of those that were run."""
        return tuple(self.costs)

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of those that were walked."""
        return tuple(dict.fromkeys(walk.route for walk in self.walks))

    @cached_property
    def scenes(self) -> tuple[int, ...]:
        """Numbers of the S scenes."""
        return tuple(dict.fromkeys(walk.scene for walk in self.walks))

    def by_scene(self, arm: str, region: str, measure: str, route: str | None = None) -> Float:
        """Figures `[S]` of an arm, NaN where a scene has none.

        Args:
            arm: its name.
            region: of the pixels.
            measure: what is told of them.
            route: one alone; None takes all that return.
        """
        held: dict[int, dict[str, list[float]]] = {}
        for row in self.rows:
            wanted = row.route == route if route else row.route != CONTROL
            value = row.tally.figure(region, measure)
            if row.arm == arm and wanted and np.isfinite(value):
                held.setdefault(row.scene, {}).setdefault(row.route, []).append(value)
        means = {s: np.mean([np.mean(v) for v in each.values()]) for s, each in held.items()}
        return np.array([means.get(scene, np.nan) for scene in self.scenes], np.float64)

    def figure(self, arm: str, region: str, measure: str, route: str | None = None) -> Estimate:
        """The mean over scenes; see `by_scene`."""
        return over_scenes(lambda x: x.mean(-1), self.by_scene(arm, region, measure, route))

    def gain(self, arm: str, route: str | None = None, region: str = HEADLINE[0]) -> Estimate:
        """dB by which an arm beats no memory, scene by scene."""
        if not {arm, NONE} <= set(self.arms):
            return Estimate(None, None, f"arm {NONE} was not run")
        pair = (self.by_scene(name, region, HEADLINE[1], route) for name in (arm, NONE))
        return over_scenes(lambda x, y: (x - y).mean(-1), *pair)

    def share(self, arm: str) -> Estimate:
        """Of the gap between no memory and the oracle, how much an arm closes."""
        if not {arm, NONE, ORACLE} <= set(self.arms):
            return Estimate(None, None, f"arms {NONE} and {ORACLE} were not both run")
        three = (self.by_scene(name, *HEADLINE) for name in (arm, NONE, ORACLE))

        def closed(one: Float, none: Float, oracle: Float) -> Float:
            gap = (oracle - none).mean(-1)
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(np.where(gap > 0, (one - none).mean(-1) / gap, np.nan))

        return over_scenes(closed, *three)

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "first_visit": self.first_visit,
            "context_frames": self.context,
            "gap_frames": self.gap,
            "scenes": list(self.scenes),
            "left_out": self.left_out,
            "arms": {arm: self._arm(arm) for arm in self.arms},
            "walks": [asdict(walk) for walk in self.walks],
            "streams": [
                {
                    **{key: getattr(row, key) for key in ("arm", "scene", "route", "seed")},
                    **_figures(row.tally),
                }
                for row in self.rows
            ],
        }

    def _arm(self, arm: str) -> dict[str, Any]:
        cost = self.costs[arm]
        regions = {
            region: {m: self.figure(arm, region, m).to_json() for m in MEASURES}
            for region in REGIONS
        }
        routes = {
            route: {
                region: self.figure(arm, region, HEADLINE[1], route).to_json() for region in REGIONS
            }
            for route in self.routes
        }
        return {
            **asdict(cost),
            "regions": regions,
            "routes": routes,
            "gain_db": self.gain(arm).to_json(),
            "gain_off_path_db": self.gain(arm, region="off_path").to_json(),
            "gain_control_db": self.gain(arm, CONTROL, "all").to_json(),
            "share_of_gap": self.share(arm).to_json(),
        }


def _figures(tally: Tally) -> dict[str, dict[str, float | None]]:
    return {
        region: {
            measure: finite(tally.figure(region, measure))
            for measure in MEASURES
            if (region, measure) in tally.sums
        }
        for region in REGIONS
    }


def over_scenes(statistic: Callable[..., Float], *values: Float) -> Estimate:
    """A statistic of values `[S]` with its interval over draws of scenes.

    Args:
        statistic: of arrays `[..., S]`, to `[...]`.
        values: of the same scenes; those where any is missing are left out.
    """
    known = np.isfinite(np.stack(values)).all(0)
    kept = [each[known] for each in values]
    if not known.any():
        return Estimate(None, None, "no scene has such pixels")
    value = finite(float(statistic(*kept)))
    if value is None:
        return Estimate(None, None, "it is not defined")
    if known.sum() < 2:
        return Estimate(value, None, "one scene tells nothing of others")
    draws = np.random.default_rng(0).integers(known.sum(), size=(SAMPLES, int(known.sum())))
    samples = statistic(*(each[draws] for each in kept))
    interval, reason = bootstrap_interval(samples, value, LEVEL, (-np.inf, np.inf))
    return Estimate(value, interval, reason)
