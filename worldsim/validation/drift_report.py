"""Figures of a drift measurement, and what follows from them.

Legend: K horizons, V views.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Interval
from worldsim.validation.appearance import MEASURES
from worldsim.validation.closure import ClosureReport
from worldsim.validation.open_loop_report import OpenLoopReport, plain

Float = NDArray[np.float64]
LEAST_DIVERGENCE_M = 1e-3
"""The simulator is taken to diverge from itself by no less than this."""


@dataclass(frozen=True, eq=False)
class DriftReport:
    """Row k of a curve is horizon k + 1.

    Attributes:
        open_loop: errors and baselines by horizon.
        fps: steps a second.
        window: steps at either end over which appearance is averaged.
        imagined: `[K]` of each measure of appearance, over episodes and views.
        simulated: the same of the simulator's frames of the same steps.
        divergence_m: `[K]` for each position of the state, how far simulator runs with disturbed
            starts are from the recorded ones.
        best_psnr: dB of the best of `samples` streams of each episode.
        mean_psnr: dB of all of them.
        samples: streams an episode.
        chunk: frames that are made together.
        closure: loop closure, or None.
        probe_error_m: `[K]` for each position of the state, how far from the simulator's a probe
            sees it in imagined frames; empty without a probe.
        probe_floor_m: the same in the simulator's own frames, which is the probe's share of it.
        probe_share: `[K]` for each position, how much of the way that a thing went since the start
            a probe sees it go in imagined frames; NaN where nothing moved.
        probe_share_floor: the same in the simulator's own frames.
        drift_intervals: of `signed_drift` by measure, over other episodes like these.
    """

    open_loop: OpenLoopReport
    fps: float
    window: int
    imagined: dict[str, Float]
    simulated: dict[str, Float]
    divergence_m: dict[str, Float]
    best_psnr: float
    mean_psnr: float
    samples: int
    chunk: int
    closure: ClosureReport | None = None
    probe_error_m: dict[str, Float] = field(default_factory=dict)
    probe_floor_m: dict[str, Float] = field(default_factory=dict)
    probe_share: dict[str, Float] = field(default_factory=dict)
    probe_share_floor: dict[str, Float] = field(default_factory=dict)
    drift_intervals: dict[str, Interval] = field(default_factory=dict)

    def signed_drift(self, measure: str) -> float:
        """Imagined minus simulated in the last window, as a share of simulated there."""
        imagined, simulated = (
            _last(c[measure], self.window) for c in (self.imagined, self.simulated)
        )
        return (imagined - simulated) / max(abs(simulated), 1e-9)

    def start_to_end(self, measure: str) -> float:
        """Change of (imagined / simulated) from the first window to the last, absolute.

        Rolling Forcing (2509.25161) reports the absolute change of one quality score between the
        first and the last five seconds; here the simulator's own change is taken out.
        """
        ratio = self.imagined[measure] / np.maximum(np.abs(self.simulated[measure]), 1e-9)
        return abs(_last(ratio, self.window) - float(np.nanmean(ratio[: self.window])))

    def relative_error(self, name: str) -> Float:
        """`[K]` error of a position in multiples of the simulator's own divergence."""
        floor = np.maximum(self.divergence_m[name], LEAST_DIVERGENCE_M)
        return np.asarray(self.open_loop.error_m[name] / floor)

    def seam_jump(self) -> float:
        """Motion in the first frame of a chunk over motion in the others, divided by the same of
        the simulator; 1 without seams, NaN for chunks of one frame."""
        if self.chunk == 1:
            return float("nan")
        border = np.arange(len(self.imagined["motion"])) % self.chunk == 0
        ratios = [
            float(np.nanmean(curve["motion"][border]) / np.nanmean(curve["motion"][~border]))
            for curve in (self.imagined, self.simulated)
        ]
        return ratios[0] / ratios[1]

    def summary(self) -> dict[str, float]:
        """Scalars; those of the open-loop report included."""
        values = self.open_loop.summary()
        for name in MEASURES:
            values[f"drift_{name}"] = self.signed_drift(name)
            values[f"start_to_end_{name}"] = self.start_to_end(name)
        for name in self.divergence_m:
            values[f"{name}_error_over_divergence_end"] = _last(
                self.relative_error(name), self.window
            )
        for name, error in self.probe_error_m.items():
            values[f"{name}_probe_error_m_end"] = _last(error, self.window)
            values[f"{name}_probe_floor_m_end"] = _last(self.probe_floor_m[name], self.window)
        for name, share in self.probe_share.items():
            if np.isfinite(share[-self.window :]).any():
                floor = self.probe_share_floor[name]
                values[f"{name}_probe_share_end"] = _last(share, self.window)
                values[f"{name}_probe_share_floor_end"] = _last(floor, self.window)
        if self.closure is not None:
            values["closure_imagined"] = self.closure.imagined_return
            values["closure_simulated"] = self.closure.simulated_return
            values["closure_against_simulator"] = self.closure.against_simulator
        return values | {
            "seam_jump": self.seam_jump(),
            "psnr_best": self.best_psnr,
            "psnr_mean": self.mean_psnr,
        }

    def intervals(self) -> dict[str, Interval]:
        """Of those entries of `summary` that have one."""
        drifts = {f"drift_{name}": ends for name, ends in self.drift_intervals.items()}
        return self.open_loop.intervals | drifts

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON; what was not measured is null."""
        summary = self.summary()
        return {
            "fps": self.fps,
            "window": self.window,
            "samples": self.samples,
            "chunk": self.chunk,
            "summary": dict(zip(summary, plain(np.array([*summary.values()])), strict=True)),
            "intervals": {name: list(ends) for name, ends in self.intervals().items()},
            "imagined": {name: plain(c) for name, c in self.imagined.items()},
            "simulated": {name: plain(c) for name, c in self.simulated.items()},
            "divergence_m": {name: plain(c) for name, c in self.divergence_m.items()},
            "probe_error_m": {name: plain(c) for name, c in self.probe_error_m.items()},
            "probe_floor_m": {name: plain(c) for name, c in self.probe_floor_m.items()},
            "probe_share": {name: plain(c) for name, c in self.probe_share.items()},
            "probe_share_floor": {name: plain(c) for name, c in self.probe_share_floor.items()},
            "closure": None if self.closure is None else self.closure.to_json(),
            "open_loop": self.open_loop.to_json(),
        }


def _last(curve: Float, window: int) -> float:
    return float(np.nanmean(curve[-window:]))
