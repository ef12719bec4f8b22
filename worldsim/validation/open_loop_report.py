"""How good open-loop imagination is: per horizon and camera, against two baselines.

The baselines: holding the first frame (nothing that came later was seen, so it is the last frame
known), and the model itself under another episode's actions. Errors are averaged over episodes
before they become dB.

Legend: K horizons, V views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.cameras.poses import position_entries
from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.ranking.bootstrap import Interval, finite
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.validation.episode_errors import EpisodeErrors
from worldsim.validation.events import EventTally
from worldsim.validation.open_loop import DrivenFrames, imagine, paired_drives
from worldsim.validation.video_metrics import HorizonErrors, area_weights

Float = NDArray[np.float64]
SOURCES = ("model", "first_frame", "shuffled_actions")


Progress = Callable[[int, int], None]
Watch = Callable[[DrivenFrames, NDArray[np.bool_]], None]
"""Is shown every imagined step, with which of its drives are under their own actions."""


@dataclass(frozen=True, eq=False)
class OpenLoopReport:
    """Open-loop figures; row k is horizon k + 1.

    Attributes:
        cameras: V names.
        episodes: `[K]` episodes that reach each horizon.
        psnr: for each of `SOURCES`, dB `[K, V]`.
        psnr_exchanged: dB `[K, V]` of the model in those episodes alone that are also imagined
            under exchanged actions, which is what that baseline is compared with.
        ssim: for each of `SOURCES`, `[K, V]`.
        psnr_moving: for each of `SOURCES`, dB over pixels that moved since the first frame.
        psnr_static: likewise over the others.
        error_m: `[K]` mean distance in metres, between simulator and where the model takes it to
            be, of each position there is: `ee`, and those of the state.
        seen_error_m: the same, as the model's own head reads it off imagined frames.
        reading_error_m: the same off the simulator's frames, which is the head's share of it.
        event_f1: of each event that the model's head reads off imagined frames and the data tell.
        sampling_steps: denoising steps a frame.
        intervals: of those entries of `summary` that have one, over other episodes like these.
    """

    cameras: tuple[str, ...]
    episodes: NDArray[np.int64]
    psnr: dict[str, Float]
    psnr_exchanged: Float
    ssim: dict[str, Float]
    psnr_moving: dict[str, Float]
    psnr_static: dict[str, Float]
    error_m: dict[str, Float]
    seen_error_m: dict[str, Float]
    reading_error_m: dict[str, Float]
    event_f1: dict[str, float]
    sampling_steps: int
    intervals: dict[str, Interval]

    def beats(self, baseline: str) -> NDArray[np.bool_]:
        """`[K, V]` whether the model's PSNR exceeds the baseline's.

        Raises:
            UsageError: no such baseline.
        """
        return np.asarray(self._beside(baseline) > self.psnr[baseline])

    def _beside(self, baseline: str) -> Float:
        """The model's PSNR in the episodes of a baseline.

        Raises:
            UsageError: no such baseline.
        """
        if baseline not in SOURCES[1:]:
            raise UsageError(f"unknown baseline {baseline!r}; known: {SOURCES[1:]}")
        return self.psnr_exchanged if baseline == "shuffled_actions" else self.psnr["model"]

    def valid_horizon(self, baseline: str) -> int:
        """Steps before the first at which the model, over all cameras, is no better, of those
        for which there is a baseline."""
        measured = ~np.isnan(self.psnr[baseline]).all(axis=1)
        model = np.nanmean(self._beside(baseline)[measured], axis=1)
        worse = np.flatnonzero(model <= np.nanmean(self.psnr[baseline][measured], axis=1))
        return int(worse[0]) if len(worse) else int(measured.sum())

    def summary(self) -> dict[str, float]:
        """Scalars for logs: means over horizons and cameras, shares won, errors in metres.

        Without exchanged actions, as of a single episode, there are none about that baseline.
        """
        measured = [name for name in SOURCES if not np.isnan(self.psnr[name]).all()]
        values = {f"psnr_{name}": _mean(self.psnr[name]) for name in measured}
        values["ssim_model"] = _mean(self.ssim["model"])
        values["psnr_moving_model"] = _mean(self.psnr_moving["model"])
        values["psnr_moving_first_frame"] = _mean(self.psnr_moving["first_frame"])
        values["psnr_static_model"] = _mean(self.psnr_static["model"])
        for name in measured[1:]:
            values[f"beats_{name}"] = _mean(self.beats(name)[~np.isnan(self.psnr[name])])
            values[f"valid_horizon_{name}"] = float(self.valid_horizon(name))
        for name, error in self.error_m.items():
            values[f"{name}_error_m"] = float(error.mean())
            values[f"{name}_error_m_end"] = float(error[-1])
            values[f"{name}_seen_error_m"] = float(self.seen_error_m[name].mean())
            values[f"{name}_reading_error_m"] = float(self.reading_error_m[name].mean())
        return values | {f"event_f1_{name}": value for name, value in self.event_f1.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything as lists; what was not measured is null."""

        def grid(values: dict[str, Float]) -> dict[str, list[list[float | None]]]:
            return {name: [plain(row) for row in array] for name, array in values.items()}

        return {
            "cameras": list(self.cameras),
            "sampling_steps": self.sampling_steps,
            "episodes": self.episodes.tolist(),
            "summary": {name: finite(value) for name, value in self.summary().items()},
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "psnr": grid(self.psnr),
            "psnr_exchanged": [plain(row) for row in self.psnr_exchanged],
            "ssim": grid(self.ssim),
            "psnr_moving": grid(self.psnr_moving),
            "psnr_static": grid(self.psnr_static),
            "error_m": {name: plain(row) for name, row in self.error_m.items()},
            "seen_error_m": {name: plain(row) for name, row in self.seen_error_m.items()},
            "reading_error_m": {name: plain(row) for name, row in self.reading_error_m.items()},
        }


def _mean(values: NDArray[Any]) -> float:
    """Mean of what is finite; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def plain(values: Float) -> list[float | None]:
    """Numbers as JSON has them, null where they are not finite."""
    return [None if (known := finite(v)) is None else round(known, 6) for v in values]


def evaluate_open_loop(
    model: WorldModel,
    cache: CachedDataset,
    episodes: Sequence[int],
    sampling_steps: int | None = None,
    max_steps: int = 0,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> OpenLoopReport:
    """Imagine `episodes` from their first frames under their own and under exchanged actions.

    Args:
        model: a world model of the cache's world.
        cache: decoded data set.
        episodes: none of them trained on; with one alone, nothing is exchanged.
        sampling_steps: denoising steps a frame; None takes the model's own.
        max_steps: longest rollout; 0 is whole episodes.
        progress: called with (steps imagined, longest rollout).
        watch: called with every step.

    Raises:
        UsageError: there is no episode.
        SpecMismatchError: model and data describe different worlds.
    """
    steps = default_steps(model.config) if sampling_steps is None else sampling_steps
    pairs = paired_drives(cache, episodes, max_steps)
    tally = OpenLoopTally(model, cache, episodes, pairs.horizons)
    for frames in imagine(model, cache, pairs.drives, Sampler.of(model, steps)):
        truthful = frames.drives < pairs.truthful
        tally.add(frames, truthful)
        if watch is not None:
            watch(frames, truthful)
        if progress is not None:
            progress(frames.horizon, pairs.horizons)
    return tally.report(steps)


class OpenLoopTally:
    """Collects imagined frames of `PairedDrives` into an `OpenLoopReport`.

    Args:
        model: whose head reads places off frames.
        cache: decoded data set.
        episodes: of the drives.
        horizons: length of the longest.
        exchanged: how many episodes have drives under exchanged actions; 0 is all.
    """

    def __init__(
        self,
        model: WorldModel,
        cache: CachedDataset,
        episodes: Sequence[int],
        horizons: int,
        exchanged: int = 0,
    ) -> None:
        self.model, self.cache, self.episodes = model, cache, np.asarray(episodes)
        views = len(cache.spec.cameras)
        sizes = (horizons, views, area_weights(cache.spec.cameras))
        self.errors = {name: HorizonErrors(*sizes) for name in SOURCES}
        self._also = 0 if len(episodes) < 2 else exchanged or len(episodes)
        some = self._also < len(episodes)
        self.exchanged = HorizonErrors(*sizes) if some else self.errors["model"]
        self.counts = np.zeros(horizons, np.int64)
        self.agent_groups = position_entries(cache.spec.agent_pos)
        self.state_groups = position_entries(cache.spec.state)
        names = (*self.agent_groups, *self.state_groups)
        self.seen = {name: np.zeros(horizons) for name in names}
        self.recorded = {name: np.zeros(horizons) for name in names}
        self.each = EpisodeErrors(len(episodes), horizons, views, names)
        self.events = EventTally(model.spec.events if model.event_head is not None else (), cache)

    def add(self, frames: DrivenFrames, truthful: NDArray[np.bool_]) -> None:
        """Collect one step; `truthful` marks the drives under their own actions."""
        places = frames.drives % len(self.episodes)
        starts = self.cache.episode_start[self.episodes[places]]
        rows = starts + frames.horizon
        truth, first = np.asarray(self.cache.pixels[rows]), np.asarray(self.cache.pixels[starts])
        h, own = frames.horizon, truthful
        errors = self.errors["model"].add(h, frames.pixels[own], truth[own], first[own])
        if self.exchanged is not self.errors["model"]:
            also = own & (places < self._also)
            self.exchanged.add(h, frames.pixels[also], truth[also], first[also])
        self.errors["shuffled_actions"].add(h, frames.pixels[~own], truth[~own], first[~own])
        self.errors["first_frame"].add(h, first[own], truth[own], first[own])
        self.counts[h - 1] = own.sum()
        distances = self._distances(rows[own], frames.agent_pos[own], frames.state[own])
        self.each.add(h, places[own], errors, distances)
        self.events.add(rows[own], None if frames.events is None else frames.events[own])
        views = self.cache.views_seen[self.episodes[places[own]]]
        seen = torch.from_numpy(views).float()
        imagined = (self.seen, frames.pixels[own], frames.agent_pos[own])
        recorded = (self.recorded, truth[own], np.asarray(self.cache.agent_pos[rows[own]]))
        for into, shown, agent in (imagined, recorded):
            with torch.inference_mode():
                latents = self.model.encode(torch.from_numpy(shown), torch.from_numpy(agent))
                reading = self.model.read_state(latents[:, None], seen[:, None])
            agent_pos = reading.agent_pos[:, 0].cpu().numpy()
            state = reading.state[:, 0].cpu().numpy()
            _note(into, h, self._distances(rows[own], agent_pos, state))

    def _distances(
        self,
        rows: NDArray[np.int64],
        agent_pos: NDArray[np.float32],
        state: NDArray[np.float32],
    ) -> dict[str, Float]:
        """`[n]` metres of each position from where the recording has it."""
        pairs = (
            (self.agent_groups, agent_pos - self.cache.agent_pos[rows]),
            (self.state_groups, state - self.cache.state[rows]),
        )
        return {
            name: np.linalg.norm(gap[:, list(axes.values())], axis=-1).astype(np.float64)
            for groups, gap in pairs
            for name, axes in groups.items()
        }

    def report(self, sampling_steps: int) -> OpenLoopReport:
        """The figures collected."""
        return OpenLoopReport(
            cameras=self.cache.spec.camera_names,
            episodes=self.counts,
            psnr={name: e.psnr() for name, e in self.errors.items()},
            psnr_exchanged=self.exchanged.psnr(),
            ssim={name: e.ssim() for name, e in self.errors.items()},
            psnr_moving={name: e.psnr_moving() for name, e in self.errors.items()},
            psnr_static={name: e.psnr_static() for name, e in self.errors.items()},
            error_m=self.each.distances(),
            seen_error_m=self.seen,
            reading_error_m=self.recorded,
            event_f1=self.events.f1(),
            sampling_steps=sampling_steps,
            intervals=self.each.intervals(),
        )


def _note(curves: dict[str, Float], horizon: int, distances: dict[str, Float]) -> None:
    """Means over streams into the row of a horizon."""
    for name, values in distances.items():
        curves[name][horizon - 1] = values.mean()
