"""Drift: what becomes of a long imagined stream, step by step, beside the simulator.

Same start, same actions, as long as the recorded episodes last. Beside the figures of an open-loop
report stand signed drifts of appearance, errors of places in multiples of how far the simulator
diverges from itself, jumps at the borders of chunks, and the best of several samples.

Legend: N episodes, K horizons, V views, R samples an episode, M measures of appearance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import Count, Positive, Seed, Weight, Whole
from worldsim.config.values import Checked
from worldsim.data.cache import CachedDataset
from worldsim.models.world_model import WorldModel
from worldsim.ranking.bootstrap import Interval
from worldsim.sampling.sampler import Sampler
from worldsim.validation.appearance import MEASURES, appearance
from worldsim.validation.closure import ClosureReport, loop_closure
from worldsim.validation.divergence import divergence
from worldsim.validation.drift_report import DriftReport
from worldsim.validation.episode_errors import ratio_interval
from worldsim.validation.open_loop import DrivenFrames, imagine, paired_drives
from worldsim.validation.open_loop_report import OpenLoopTally, Watch
from worldsim.validation.probe import ProbeTally, Reader
from worldsim.validation.video_metrics import area_weights, frame_errors, psnr_of

Float = NDArray[np.float64]


@dataclass(frozen=True)
class DriftConfig(Checked):
    """Attributes:
    max_steps: longest stream; 0 is whole episodes.
    samples: R, streams of each episode that differ in their noise.
    exchanged: episodes that are also imagined under another's actions, the first ones; 0 is all.
    window_s: seconds at either end over which appearance is averaged, at most half of the stream.
    closure_s: seconds out, and as many back, of the loop closure; 0 leaves it out.
    seed: of noise and disturbances.
    """

    max_steps: Whole = 0
    samples: Count = 1
    exchanged: Whole = 0
    window_s: Positive = 5.0
    closure_s: Weight = 2.0
    seed: Seed = 0


def measure_drift(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    sampler: Sampler,
    config: DriftConfig,
    on_step: Callable[[int], None] | None = None,
    probe: Reader | None = None,
    watch: Watch | None = None,
) -> DriftReport:
    """Imagine `episodes` from their first frames and compare every step.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set, recorded in a simulator.
        episodes: none of them trained on; with one alone, no actions are exchanged.
        sampler: of the stream.
        config: how long, how often.
        on_step: called with every horizon reached.
        probe: reads places off the frames of both worlds; None leaves that out.
        watch: called with every step.

    Raises:
        UsageError: there is no episode.
        SpecMismatchError: model, probe and data describe different worlds.
        DataError: the episodes cannot be repeated in their simulator.
    """
    pairs = paired_drives(cache, episodes, config.max_steps, config.samples, config.exchanged)
    tally = OpenLoopTally(model, cache, episodes, pairs.horizons, config.exchanged)
    seen = None if probe is None else ProbeTally(probe, cache.spec, pairs.horizons)
    looks = _Looks(cache, np.asarray(episodes), config.samples, pairs.horizons, seen)
    for frames in imagine(model, cache, pairs.drives, sampler, config.seed):
        truthful = frames.drives < pairs.truthful
        tally.add(frames, truthful)
        looks.add(frames, truthful)
        if watch is not None:
            watch(frames, truthful)
        if on_step is not None:
            on_step(frames.horizon)
    window = _window(config, cache, pairs.horizons)
    return DriftReport(
        open_loop=tally.report(sampler.steps),
        fps=cache.spec.fps,
        window=window,
        divergence_m=divergence(cache, episodes, config.max_steps, config.seed),
        samples=config.samples,
        chunk=sampler.chunk,
        closure=_closure(model, cache, episodes, sampler, config),
        **looks.figures(window),
    )


def _window(config: DriftConfig, cache: CachedDataset, horizons: int) -> int:
    """Steps of the windows that are compared; those at the two ends do not overlap."""
    return max(1, min(round(config.window_s * cache.spec.fps), horizons // 2))


def _closure(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    sampler: Sampler,
    config: DriftConfig,
) -> ClosureReport | None:
    """Loop closure, where it is asked for and actions can be undone."""
    steps = round(config.closure_s * cache.spec.fps)
    if not steps or cache.spec.action.mode != "delta":
        return None
    return loop_closure(model, cache, episodes, steps, sampler, seed=config.seed)


class _Looks:
    """Appearance of imagined and simulated frames, errors stream by stream, and places in both."""

    def __init__(
        self,
        cache: CachedDataset,
        episodes: NDArray[np.int64],
        samples: int,
        horizons: int,
        places: ProbeTally | None,
    ) -> None:
        self.cache, self.episodes, self.samples = cache, episodes, samples
        self.places, self.weight = places, area_weights(cache.spec.cameras)
        shape = (horizons, samples * len(episodes))
        self.values = {
            name: np.full((*shape, len(MEASURES)), np.nan) for name in ("imagined", "simulated")
        }
        self.mse = np.full(shape, np.nan)
        first = np.asarray(cache.pixels[cache.episode_start[episodes]])
        self.before = np.concatenate([first] * samples)

    def add(self, frames: DrivenFrames, truthful: NDArray[np.bool_]) -> None:
        """Collect one step of the streams under their own actions."""
        streams, shown = frames.drives[truthful], frames.pixels[truthful]
        rows = self.cache.episode_start[self.episodes[streams % len(self.episodes)]]
        rows = np.asarray(rows + frames.horizon)
        truth = np.asarray(self.cache.pixels[rows])
        looks = {
            "imagined": appearance(shown, self.before[streams]),
            "simulated": appearance(truth, np.asarray(self.cache.pixels[rows - 1])),
        }
        for name, values in looks.items():
            self.values[name][frames.horizon - 1, streams] = values.mean(axis=1)
        errors = frame_errors(shown, truth, truth, self.weight)
        self.mse[frames.horizon - 1, streams] = errors.mse.mean(axis=1)
        self.before[streams] = shown
        if self.places is not None:
            agent_pos, state = self.cache.agent_pos[rows], self.cache.state[rows]
            start = self.cache.state[rows - frames.horizon]
            self.places.add(frames.horizon, shown, truth, agent_pos, state, start)

    def figures(self, window: int) -> dict[str, Any]:
        """What of a `DriftReport` comes from here, by its names."""
        return {
            "imagined": self.means("imagined"),
            "simulated": self.means("simulated"),
            "best_psnr": self.best_psnr(),
            "mean_psnr": self.mean_psnr(),
            "drift_intervals": self.drift_intervals(window),
            "probe_error_m": {} if self.places is None else self.places.imagined,
            "probe_floor_m": {} if self.places is None else self.places.simulated,
            "probe_share": {} if self.places is None else self.places.imagined_share,
            "probe_share_floor": {} if self.places is None else self.places.simulated_share,
        }

    def means(self, world: str) -> dict[str, Float]:
        """`[K]` of each measure, over episodes, samples and views."""
        each = np.nanmean(self.values[world], axis=1)
        return {name: each[:, index] for index, name in enumerate(MEASURES)}

    def drift_intervals(self, window: int) -> dict[str, Interval]:
        """Of `DriftReport.signed_drift` of each measure over the last `window` steps, which
        streams that ended before have no part in."""

        def by_episode(values: Float) -> Float:
            """`[N, k]` sums over samples of values `[k, R * N]`."""
            sums: Float = values.reshape(len(values), self.samples, -1).sum(axis=1).T
            return sums

        last = {world: values[-window:] for world, values in self.values.items()}
        counts = by_episode(np.isfinite(last["simulated"][..., 0]).astype(np.float64))
        found = {
            name: ratio_interval(
                by_episode(np.nan_to_num(last["imagined"][..., i])),
                by_episode(np.nan_to_num(last["simulated"][..., i])),
                counts,
            )
            for i, name in enumerate(MEASURES)
        }
        return {name: interval for name, interval in found.items() if interval is not None}

    def _by_sample(self) -> Float:
        """`[R, N]` mean squared error of whole streams."""
        each: Float = np.nanmean(self.mse, axis=0).reshape(self.samples, -1)
        return each

    def best_psnr(self) -> float:
        """dB of the best of R streams of each episode, errors averaged over steps and episodes."""
        return psnr_of(float(self._by_sample().min(axis=0).mean()))

    def mean_psnr(self) -> float:
        """dB of all streams."""
        return psnr_of(float(self._by_sample().mean()))
