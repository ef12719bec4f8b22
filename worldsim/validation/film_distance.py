"""Distances of imagined clips from recorded ones, by features: FVD, FID and their like.

What is compared is written down in a `ClipProtocol`, which stands beside every figure: two figures
compare only where theirs are equal. The first frame is given to the model and is in no clip.

Legend: N episodes, n clips, T frames of a clip, V views, H W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.training.config import FilmDistanceConfig
from worldsim.validation.features.compare import Comparison, Features, compare
from worldsim.validation.features.extractors import EXTRACTORS, Extractor
from worldsim.validation.features.protocol import HELD, MODEL, ClipProtocol, FilmFigure
from worldsim.validation.features.weights_file import WeightsFile
from worldsim.validation.open_loop import DrivenFrames, recorded_actions

Pixels = NDArray[np.uint8]

PUBLISHED = ("inception", "i3d")
ABSENT = (
    "FVD and FID are left out, since no weights are given for them; docs/video_metrics.md says "
    "which files to get and how to name them"
)


def check_extractors(config: FilmDistanceConfig) -> None:
    """Refuse extractors that cannot be loaded, before anything else is done.

    Raises:
        UsageError: a name is unknown or given twice, weights are not given, or clips are too short.
        DataError: weights are others than was pinned.
    """
    names = [each.name for each in config.extractors]
    if len(set(names)) < len(names):
        raise UsageError(f"film_distance.extractors names {names}; expected each name once")
    for each in config.extractors:
        kind = EXTRACTORS.get(each.name)
        if each.weights is None and kind.needs_weights:
            raise UsageError(f"{kind.measure} needs weights: {kind.how}")
        if config.length < kind.shortest:
            raise UsageError(
                f"film_distance.length is {config.length}; extractor {each.name} needs "
                f"{kind.shortest} frames or more"
            )
        if each.weights is not None:
            WeightsFile(each.weights, each.sha256).digest()


def load_extractors(config: FilmDistanceConfig) -> dict[str, Extractor]:
    """The feature networks asked for, by name.

    Raises:
        UsageError: see `check_extractors`.
        DataError: weights are others than was pinned, or of another network.
    """
    check_extractors(config)
    return {
        each.name: EXTRACTORS.get(each.name)(
            None if each.weights is None else WeightsFile(each.weights, each.sha256)
        )
        for each in config.extractors
    }


class FilmTally:
    """Collects imagined frames into clips, and compares them as soon as they are whole.

    Args:
        model: whose films they are.
        cache: decoded data set.
        episodes: N, those of the drives.
        max_steps: longest drive; 0 is whole episodes.
        sampling_steps: denoising steps a frame.
        config: clips.
        extractors: feature networks by name, of `load_extractors`.
    """

    def __init__(
        self,
        model: WorldModel,
        cache: CachedDataset,
        episodes: Sequence[int],
        max_steps: int,
        sampling_steps: int,
        config: FilmDistanceConfig,
        extractors: Mapping[str, Extractor],
    ) -> None:
        horizons = max(len(recorded_actions(cache, each, max_steps)) for each in episodes)
        self.cache, self.episodes, self.config = cache, np.asarray(episodes), config
        self.figures: list[FilmFigure] = []
        self.notes = [] if set(PUBLISHED) & set(extractors) else [ABSENT]
        self._span = (config.length - 1) * config.stride + 1
        self._starts = _spread(horizons, self._span, config.windows)
        self._clips: dict[int, list[Pixels]] = {}
        self._extractors = []
        for name, extractor in extractors.items():
            extractor.meet(model)
            self._extractors.append((self._protocol(name, extractor, sampling_steps), extractor))
        if extractors and not self._starts:
            self.notes.append(
                f"film distances are left out: a clip spans {self._span} steps, the longest "
                f"rollout {horizons}; give a smaller film_distance.length, or longer rollouts"
            )

    def _protocol(self, name: str, extractor: Extractor, sampling_steps: int) -> ClipProtocol:
        cameras = self.cache.spec.cameras
        return ClipProtocol(
            measure=extractor.measure,
            kernel_measure=extractor.kernel_measure,
            extractor=name,
            file=extractor.file,
            sha256=extractor.sha256,
            sample="frame" if extractor.per_frame else "clip",
            resize=extractor.resize,
            cameras=self.cache.spec.camera_names,
            pixels=(cameras[0].height, cameras[0].width),
            fps=self.cache.spec.fps,
            length=self.config.length,
            stride=self.config.stride,
            first_steps=self._starts,
            sampling_steps=sampling_steps,
            splits=self.config.splits,
        )

    def add(self, frames: DrivenFrames, truthful: NDArray[np.bool_]) -> None:
        """Collect one step of the drives under their own actions, which `truthful` marks."""
        if not self._extractors:
            return
        for start in self._starts:
            past = frames.horizon - start
            if not 0 <= past < self._span or past % self.config.stride:
                continue
            if past == 0:
                self._clips = {}
            for drive, shown in zip(frames.drives[truthful], frames.pixels[truthful], strict=True):
                self._clips.setdefault(int(drive), []).append(shown)
            if past == self._span - 1:
                self._compare(start)

    def _compare(self, start: int) -> None:
        """Figures of the clips that are whole, of each camera and extractor."""
        whole = {d: c for d, c in self._clips.items() if len(c) == self.config.length}
        self._clips = {}
        drives = np.array(sorted(whole), np.int64)
        for view, camera in enumerate(self.cache.spec.camera_names):
            there = self.cache.views_seen[self.episodes[drives % len(self.episodes)], view] > 0
            seen = drives[there]
            if len(np.unique(seen % len(self.episodes))) < 2:
                self.notes.append(
                    f"film distances of {camera} from step {start} are left out: fewer than two "
                    "episodes reach the end of a clip"
                )
                continue
            imagined = np.stack([np.stack([f[view] for f in whole[int(d)]]) for d in seen])
            for protocol, extractor in self._extractors:
                found = self._found(extractor, imagined, seen, view, start)
                last = start + self._span - 1
                self.figures.append(FilmFigure(protocol, camera, start, last, found))

    def _found(
        self,
        extractor: Extractor,
        imagined: Pixels,
        drives: NDArray[np.int64],
        view: int,
        start: int,
    ) -> Comparison:
        """Distances of clips `[n, T, H, W, 3]` of some drives, as one camera shows them."""
        places, whose = np.unique(drives % len(self.episodes), return_inverse=True)
        rows = self.cache.episode_start[self.episodes[places]]
        steps = start + self.config.stride * np.arange(self.config.length)
        truth = np.asarray(self.cache.pixels[(rows[:, None] + steps).ravel()])[:, view]
        truth = truth.reshape(len(places), self.config.length, *truth.shape[1:])
        first = np.asarray(self.cache.pixels[rows])[:, view]
        own = np.arange(len(places))
        worlds = {
            MODEL: _features(extractor, imagined, whose),
            HELD: _held(extractor, first, own, self.config.length),
        }
        return compare(worlds, _features(extractor, truth, own), self.config.splits)

    def lines(self) -> list[str]:
        """For people: the protocol before the figures that were made under it, and what is not."""
        found = []
        for protocol, _ in self._extractors:
            figures = [figure for figure in self.figures if figure.protocol == protocol]
            found += [protocol.text(), *(figure.text() for figure in figures)] if figures else []
        return found + self.notes

    def summary(self) -> dict[str, float]:
        """Means over cameras and places, for logs."""
        found: dict[str, list[float]] = {}
        for figure in self.figures:
            measures = figure.protocol.measure, figure.protocol.kernel_measure
            pairs = zip(measures, (figure.found.frechet, figure.found.kernel), strict=True)
            for measure, by_world in pairs:
                for world, estimate in by_world.items():
                    key = f"{measure.lower().replace(' ', '_')}_{world}"
                    if estimate.value is not None:
                        found.setdefault(key, []).append(estimate.value)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def to_json(self) -> dict[str, Any]:
        """For validation.json and drift.json."""
        return {
            "notes": self.notes,
            "measured": [
                {
                    "protocol": asdict(protocol),
                    "figures": [f.to_json() for f in self.figures if f.protocol == protocol],
                }
                for protocol, _ in self._extractors
            ],
        }


def _spread(horizons: int, span: int, windows: int) -> tuple[int, ...]:
    """First steps of so many clips, fewer where they would overlap, over the whole length."""
    count = min(windows, horizons // span)
    return tuple(int(s) for s in np.linspace(1, horizons - span + 1, count).round()[:count])


def _features(extractor: Extractor, clips: Pixels, episodes: NDArray[np.int64]) -> Features:
    """Of clips `[n, T, H, W, 3]` of episodes `[n]`.

    Raises:
        UsageError: an extractor has other features than it owes.
    """
    values = extractor.features(torch.from_numpy(np.ascontiguousarray(clips)))
    count = clips.shape[1] if extractor.per_frame else 1
    if values.ndim != 2 or len(values) != count * len(clips):
        raise UsageError(
            f"extractor of {extractor.measure} gives {tuple(values.shape)}; expected "
            f"[{count * len(clips)}, D]"
        )
    return Features(values.double().numpy(), np.repeat(episodes, count))


def _held(
    extractor: Extractor, first: Pixels, episodes: NDArray[np.int64], length: int
) -> Features:
    """Of frames `[n, H, W, 3]`, each shown `length` times; equal frames are looked at once."""
    if not extractor.per_frame:
        return _features(extractor, np.repeat(first[:, None], length, axis=1), episodes)
    once = _features(extractor, first[:, None], episodes)
    return Features(np.repeat(once.values, length, 0), np.repeat(once.episodes, length))
