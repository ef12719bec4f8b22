"""Film distances: which clips are compared, under which protocol, and what is left out."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from worldsim_testing import nano_model

from worldsim.data.cache import CachedDataset
from worldsim.errors import DataError, UnknownNameError, UsageError
from worldsim.models.world_model import WorldModel
from worldsim.training.config import ExtractorConfig, FilmDistanceConfig
from worldsim.validation.features.distances import frechet_distance
from worldsim.validation.features.extractors import Extractor, Kinetics, TokenizerFeatures
from worldsim.validation.features.i3d import I3d
from worldsim.validation.features.weights_file import WeightsFile
from worldsim.validation.film_distance import ABSENT, FilmTally, load_extractors
from worldsim.validation.open_loop import DrivenFrames

EPISODES = [0, 1, 3, 4, 6]


class Means(Extractor):
    """Mean colours, of clips or of frames; remembers the shapes that it was shown."""

    measure, kernel_measure, resize, shortest = "mean distance", "mean kernel", "none", 1
    per_frame = False

    def __init__(self) -> None:
        super().__init__(None)
        self.shown: list[tuple[int, ...]] = []

    def features(self, clips: Tensor) -> Tensor:
        assert clips.dtype == torch.uint8
        self.shown.append(tuple(clips.shape))
        means = clips.double().mean((2, 3)) / 255
        return means.flatten(0, 1) if self.per_frame else means.flatten(1)


class FrameMeans(Means):
    measure, per_frame = "frame distance", True


@pytest.fixture(scope="module")
def model(square_data: CachedDataset) -> WorldModel:
    made: WorldModel = nano_model(spec=square_data.spec)
    return made


def tally(
    model: WorldModel,
    cache: CachedDataset,
    config: FilmDistanceConfig,
    show: Any,
    samples: int = 1,
    **extractors: Extractor,
) -> FilmTally:
    """After a rollout in which `show(rows, firsts)` takes the place of a model."""
    films = FilmTally(model, cache, EPISODES, 0, 1, config, extractors)
    starts = cache.episode_start[np.tile(EPISODES, samples)]
    lengths = np.diff(cache.episode_start)[np.tile(EPISODES, samples)] - 1
    for horizon in range(1, lengths.max() + 1):
        drives = np.flatnonzero(lengths >= horizon)
        pixels = show(starts[drives] + horizon, starts[drives])
        states = np.zeros((len(drives), 1), np.float32)
        # Drives under exchanged actions stand behind, and are not to be looked at.
        doubled = np.concatenate([drives, drives + len(starts)])
        frames = DrivenFrames(
            horizon, doubled, np.concatenate([pixels, 255 - pixels]), states, states
        )
        films.add(frames, doubled < len(starts))
    return films


def recorded(cache: CachedDataset) -> Any:
    return lambda rows, firsts: np.asarray(cache.pixels[rows])


def held(cache: CachedDataset) -> Any:
    return lambda rows, firsts: np.asarray(cache.pixels[firsts])


def test_the_recordings_are_nothing_apart_from_themselves(
    model: WorldModel, square_data: CachedDataset
) -> None:
    config = FilmDistanceConfig(length=4, windows=2, splits=3)
    films = tally(
        model, square_data, config, recorded(square_data), clip=Means(), frame=FrameMeans()
    )
    assert len(films.figures) == 2 * 2 * len(square_data.spec.cameras)
    for figure in films.figures:
        found = figure.found
        assert found.frechet["model"].value == pytest.approx(0, abs=1e-9)
        assert found.kernel["model"].value == pytest.approx(0, abs=1e-9)
        assert found.frechet["first_frame"].value is not None
        assert found.frechet["first_frame"].value > 1e-6
        assert (found.halves is None) == (found.episodes < 4)
        if found.halves is not None:
            assert found.halves.frechet["model"] == pytest.approx(found.halves.frechet["recorded"])
    assert films.figures[0].found.halves is not None


def test_a_model_that_holds_its_first_frame_equals_that_baseline(
    model: WorldModel, square_data: CachedDataset
) -> None:
    config = FilmDistanceConfig(length=3, stride=2, windows=2)
    films = tally(model, square_data, config, held(square_data), clip=Means(), frame=FrameMeans())
    for figure in films.figures:
        for by_world in (figure.found.frechet, figure.found.kernel):
            one, other = by_world["model"].value, by_world["first_frame"].value
            assert one is not None and one == pytest.approx(other)


def test_clips_are_the_steps_that_the_protocol_says(
    model: WorldModel, square_data: CachedDataset
) -> None:
    clips, frames = Means(), FrameMeans()
    config = FilmDistanceConfig(length=3, stride=2, windows=9)
    rng = np.random.default_rng(0)
    noise = {
        int(row): rng.integers(0, 256, (2, *square_data.pixels.shape[2:]), np.uint8)
        for row in range(len(square_data.pixels))
    }

    def show(rows: NDArray[np.int64], firsts: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([noise[int(row)] for row in rows])

    films = tally(model, square_data, config, show, clip=clips, frame=frames)
    longest = int(np.diff(square_data.episode_start)[EPISODES].max()) - 1
    firsts = films.figures[0].protocol.first_steps
    assert firsts[0] == 1 and firsts[-1] == longest - 4 and min(np.diff(firsts)) >= 5
    figure = next(f for f in films.figures if f.protocol.sample == "clip" and f.first_step == 1)
    assert (figure.last_step, figure.found.samples, figure.found.episodes) == (5, 5, 5)
    starts = square_data.episode_start[EPISODES]
    steps = starts[:, None] + [1, 3, 5]
    view = square_data.spec.camera_names.index(figure.camera)
    shown = np.stack([show(row, row)[:, view] for row in steps])
    truth = np.stack([square_data.pixels[row][:, view] for row in steps])
    sets = [np.asarray(x.mean((2, 3)) / 255).reshape(5, -1) for x in (shown, truth)]
    assert figure.found.frechet["model"].value == pytest.approx(frechet_distance(*sets))
    per_frame = next(f for f in films.figures if f.protocol.sample == "frame")
    assert per_frame.found.samples == 15
    height, width = figure.protocol.pixels
    assert clips.shown[0] == (5, 3, height, width, 3)
    assert (5, 1, height, width, 3) in frames.shown  # the held frame, looked at once


def test_samples_of_an_episode_are_its_own(model: WorldModel, square_data: CachedDataset) -> None:
    config = FilmDistanceConfig(length=4, windows=1)
    films = tally(model, square_data, config, recorded(square_data), samples=3, clip=Means())
    for figure in films.figures:
        assert (figure.found.samples, figure.found.episodes) == (5, 5)
        assert figure.found.kernel["model"].value == pytest.approx(0, abs=1e-9)


def test_a_figure_is_said_and_stored_with_its_protocol(
    model: WorldModel, square_data: CachedDataset
) -> None:
    config = FilmDistanceConfig(length=4, windows=1)
    films = tally(model, square_data, config, held(square_data), clip=Means())
    lines = films.lines()
    cameras = square_data.spec.camera_names
    assert len(lines) == 2 + len(cameras)
    assert "clips of 4 frames, 1 steps apart" in lines[0] and "no weights" in lines[0]
    assert lines[1].startswith(f"mean distance {cameras[0]}, steps 1 to 4, 5 clips of 5 episodes:")
    assert "the first frame held" in lines[1] and "recorded" in lines[1]
    assert lines[-1] == ABSENT
    stored = films.to_json()
    json.dumps(stored, allow_nan=False)
    (measured,) = stored["measured"]
    assert measured["protocol"]["extractor"] == "clip" and measured["protocol"]["length"] == 4
    assert [f["camera"] for f in measured["figures"]] == list(cameras)
    assert set(films.summary()) == {
        f"{measure}_{world}"
        for measure in ("mean_distance", "mean_kernel")
        for world in ("model", "first_frame")
    }


def test_what_cannot_be_measured_is_said(model: WorldModel, square_data: CachedDataset) -> None:
    long = FilmDistanceConfig(length=40)
    films = tally(model, square_data, long, held(square_data), clip=Means())
    assert films.figures == [] and "a clip spans 40 steps" in films.lines()[-1]
    nothing = tally(model, square_data, FilmDistanceConfig(), held(square_data))
    assert nothing.lines() == [ABSENT] and nothing.to_json()["measured"] == []
    alone = FilmTally(model, square_data, [0], 0, 1, FilmDistanceConfig(length=2), {"a": Means()})
    start = square_data.episode_start[0]
    for horizon in range(1, 13):
        pixels, none = (
            np.asarray(square_data.pixels[[start + horizon]]),
            np.zeros((1, 1), np.float32),
        )
        frames = DrivenFrames(horizon, np.zeros(1, np.int64), pixels, none, none)
        alone.add(frames, np.ones(1, bool))
    assert alone.figures == [] and any("fewer than two episodes" in n for n in alone.notes)


def test_an_extractor_that_owes_rows_is_refused(
    model: WorldModel, square_data: CachedDataset
) -> None:
    class Short(Means):
        def features(self, clips: Tensor) -> Tensor:
            return super().features(clips)[1:]

    with pytest.raises(UsageError, match="mean distance gives"):
        tally(model, square_data, FilmDistanceConfig(length=4), held(square_data), a=Short())


def test_a_tokenizer_tells_motion_apart(model: WorldModel, square_data: CachedDataset) -> None:
    ours = TokenizerFeatures(None)
    clips = torch.from_numpy(np.array(square_data.pixels[0:10, 0])).reshape(2, 5, 32, 32, 3)
    with pytest.raises(UsageError, match="call meet first"):
        ours.features(clips)
    ours.meet(model)
    found = ours.features(clips)
    channels = model.latent_shape[0]
    assert found.shape == (2, 8 * channels)
    still = ours.features(clips[:, :1].expand(-1, 5, -1, -1, -1).contiguous())
    assert still[:, 4 * channels :].abs().max() == 0 < found[:, 4 * channels :].abs().max()
    torch.testing.assert_close(ours.features(clips.flip(0)), found.flip(0))


def test_extractors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def asked(length: int = 16, **entry: Any) -> FilmDistanceConfig:
        return FilmDistanceConfig((ExtractorConfig(**entry),), length=length)

    with pytest.raises(UnknownNameError, match="Did you mean 'i3d'"):
        load_extractors(asked(name="i3"))
    with pytest.raises(UsageError, match="FVD needs weights: download"):
        load_extractors(asked(name="i3d"))
    (tmp_path / "weights.safetensors").write_bytes(b"")
    pinned: dict[str, Any] = {"weights": tmp_path / "weights.safetensors", "sha256": "0" * 64}
    with pytest.raises(UsageError, match="needs 9 frames"):
        load_extractors(asked(8, name="i3d", **pinned))
    with pytest.raises(DataError, match="another file than was pinned"):
        load_extractors(asked(name="i3d", **pinned))
    with pytest.raises(UsageError, match="hexadecimal"):
        ExtractorConfig("i3d", sha256="12")
    with pytest.raises(UsageError, match="each name once"):
        load_extractors(FilmDistanceConfig((ExtractorConfig("tokenizer"),) * 2))
    assert list(load_extractors(asked(name="tokenizer"))) == ["tokenizer"]


def test_clips_of_the_i3d_are_each_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(I3d().state_dict(), tmp_path / "i3d.safetensors")
    extractor = Kinetics(WeightsFile(tmp_path / "i3d.safetensors"))
    extractor.meet(SimpleNamespace(parameters=lambda: iter([torch.zeros(1)])))  # type: ignore[arg-type]
    clips = torch.randint(0, 256, (2, 9, 20, 28, 3), dtype=torch.uint8)
    found = extractor.features(clips)
    assert found.shape == (2, 400) and not torch.equal(found[0], found[1])
    torch.testing.assert_close(extractor.features(clips[1:]), found[1:])
