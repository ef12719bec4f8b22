"""RLDS episodes in TFRecord files, as TensorFlow Datasets writes them; read without either.

An Example is an episode. Its features are called `steps/<path>` and hold all N steps, one after
the other, `episode_metadata/<path>` holds one value (RLDS, Ramos et al. 2021, section 3; Open
X-Embodiment). `features.json` beside the files is not needed: pictures say their size, and vectors
theirs by the number of steps. The action of the last step is not counted, as RLDS defines none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.entries import (
    Size,
    chosen_cameras,
    chosen_vectors,
    decoded_picture,
    is_coded,
    vector_names,
)
from worldsim.data.importing.source import (
    Frames,
    Source,
    SourceOptions,
    SourceRows,
    SourceWorld,
    rows_of,
    sparse_success,
)
from worldsim.data.importing.tfrecord import (
    FeatureList,
    read_example,
    read_record,
    record_spans,
)
from worldsim.errors import DataError, UsageError

STEPS, WHOLE = "steps/", "episode_metadata/"
ACTIONS = ("action", "actions")
STATES = ("state", "proprio", "cartesian_position", "gripper_position")
"""DROID's names are the last two; Open X-Embodiment's sets mostly have a `state`."""
COUNTERS = ("is_first", "is_last", "is_terminal")
OUTCOMES = (*COUNTERS, "reward", "discount")
LANGUAGE = "language_instruction"

Example = dict[str, FeatureList]


def recognises(path: Path) -> bool:
    """Whether a path is a TFRecord file, or a folder of them."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The TFRecord files of a path; of a data set in several versions, those of all."""
    if path.is_file():
        return [path] if ".tfrecord" in path.name else []
    return sorted(each for each in path.glob("**/*.tfrecord*") if each.is_file())


def open_source(path: Path, options: SourceOptions) -> Source:
    """Open a TFRecord file, or all of a folder.

    Raises:
        DataError: a file is truncated or no TFRecord, or the first episode is no RLDS episode.
        UsageError: no rate is given, since RLDS does not tell one.
    """
    if options.fps is None:
        raise UsageError(
            f"RLDS does not say how many steps a second {path} has; give fps=RATE, such as the "
            "control rate on the data set's page"
        )
    places = [(file, span) for file in _files(path) for span in record_spans(file)]
    if not places:
        raise DataError(f"{path} holds no record")
    first = _read(*places[0])
    layout = _layout(path, first, options)
    episodes = [
        RldsEpisode(f"{file.name}#{span[0]}", layout, partial(_read, file, span), options.task)
        for file, span in places
    ]
    return Source(layout.world(options.fps), episodes)


def _read(file: Path, span: tuple[int, int]) -> Example:
    return read_example(read_record(file, span), f"{file}, record at byte {span[0]}")


@dataclass(frozen=True)
class RldsLayout:
    """Which features of an episode are what.

    Attributes:
        name: of the data set.
        images: {camera: (feature, its spec)}.
        action: features that together are the action.
        state: likewise of proprioception.
        widths: {feature: numbers a step}.
    """

    name: str
    images: Mapping[str, tuple[str, Any]]
    action: tuple[str, ...]
    state: tuple[str, ...]
    widths: Mapping[str, int]

    def world(self, fps: float) -> SourceWorld:
        """See `SourceWorld`."""
        return SourceWorld(
            fps,
            tuple(spec for _, spec in self.images.values()),
            vector_names(self.action, self.widths),
            vector_names(self.state, self.widths),
            self.name,
        )


def _layout(path: Path, example: Example, options: SourceOptions) -> RldsLayout:
    """What the first episode shows of all.

    Raises:
        DataError: it has no steps, no action or no pictures.
    """
    count = _steps(example, str(path))
    images: dict[str, Size] = {}
    widths: dict[str, int] = {}
    for feature, values in example.items():
        if not feature.startswith(STEPS):
            continue
        if isinstance(values, list):
            if len(values) == count and is_coded(values[0]) and "depth" not in feature:
                images[feature] = decoded_picture(values[0], f"{path}, {feature}").shape[:2]
        elif len(values) and len(values) % count == 0:
            widths[feature] = len(values) // count
    columns = options.columns
    action = chosen_vectors("action", columns.action, ACTIONS, widths, path)
    if not action:
        raise DataError(
            f"{path}: no feature is called steps/action; columns.action=[NAME,...] says which of "
            f"{sorted(widths)} are the action"
        )
    name = path.parent.name if path.is_file() else path.name
    return RldsLayout(
        name,
        chosen_cameras(images, columns, path),
        action if columns.action else action[:1],
        chosen_vectors("proprioception", columns.state, STATES, _observed(widths, columns), path),
        widths,
    )


def _observed(widths: Mapping[str, int], columns: Any) -> dict[str, int]:
    """Vectors that may be proprioception: all that the user may name, or else observations."""
    kept = {k: w for k, w in widths.items() if k.rpartition("/")[2] not in OUTCOMES}
    if columns.state:
        return kept
    return {k: w for k, w in kept.items() if k.startswith(f"{STEPS}observation/")}


def _steps(example: Example, where: str) -> int:
    """N."""
    for name in OUTCOMES:
        if (values := example.get(STEPS + name)) is not None and len(values):
            return len(values)
    raise DataError(
        f"{where} holds no RLDS episode: none of {', '.join(STEPS + n for n in OUTCOMES)} is among "
        f"its features {sorted(example)[:12]}"
    )


@dataclass(frozen=True, eq=False)
class RldsEpisode:
    """An episode of a TFRecord file; see `SourceEpisode`."""

    name: str
    layout: RldsLayout
    read: Callable[[], Example]
    task: str

    def rows(self) -> SourceRows:
        """See `SourceEpisode`."""
        example = self.read()
        count = _steps(example, self.name)
        for camera, (feature, _) in self.layout.images.items():
            found = len(example.get(feature, ()))
            if found != count:
                raise DataError(
                    f"{self.name}: camera {camera!r} has {found} pictures for {count} steps"
                )
        reward = self._numbers(example, STEPS + "reward", count)
        return rows_of(
            self.name,
            count,
            self._vector(example, self.layout.action, count),
            self._vector(example, self.layout.state, count),
            reward,
            _success(example, reward),
            task=_language(example) or self.task,
            factors=_described(example),
        )

    def frames(self) -> Frames:
        """See `SourceEpisode`."""
        example = self.read()
        for step in range(_steps(example, self.name)):
            yield {
                camera: decoded_picture(bytes(example[feature][step]), f"{self.name}, {feature}")
                for camera, (feature, _) in self.layout.images.items()
            }

    def _vector(self, example: Example, parts: Sequence[str], count: int) -> NDArray[Any]:
        """`[N, D]`."""
        arrays: list[NDArray[Any]] = [np.zeros((count, 0))]
        for part in parts:
            values = example.get(part, [])
            width = self.layout.widths[part]
            if isinstance(values, list) or len(values) != count * width:
                raise DataError(
                    f"{self.name}: {part} has {len(values)} numbers, expected {count} x {width}"
                )
            arrays.append(values.reshape(count, width))
        return np.concatenate(arrays, axis=1)

    def _numbers(self, example: Example, name: str, count: int) -> NDArray[Any] | None:
        values = example.get(name)
        if values is None or isinstance(values, list) or len(values) != count:
            return None
        return np.asarray(values)


def _text(example: Example, name: str) -> str:
    values = example.get(name)
    if not isinstance(values, list) or not values:
        return ""
    return values[0].decode("utf-8", "replace").strip()


def _language(example: Example) -> str:
    """The first instruction that is not empty."""
    names = sorted(name for name in example if LANGUAGE in name)
    return next((text for name in names if (text := _text(example, name))), "")


def _success(example: Example, reward: NDArray[Any] | None) -> Any:
    """Whether it succeeded: DROID says so in the file's path, others by a last reward of 1."""
    told = example.get(f"{WHOLE}success")
    if told is not None and not isinstance(told, list) and len(told):
        return bool(told[0])
    path = _text(example, f"{WHOLE}file_path").lower().split("/")
    for word, outcome in (("success", True), ("failure", False)):
        if word in path:
            return outcome
    return sparse_success(reward)


def _described(example: Example) -> dict[str, Any]:
    """What the episode's metadata say in words."""
    names = [name for name in example if name.startswith(WHOLE)]
    texts = {name.removeprefix(WHOLE): _text(example, name) for name in names}
    return {name: text for name, text in texts.items() if text}
