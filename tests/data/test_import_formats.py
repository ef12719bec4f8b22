"""Recordings of every format become the data set that they show, frame by frame."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from recordings import example as example_bytes
from recordings import (
    is_at,
    record,
    rlds_features,
    slow_crc32c,
    takes,
    write_films,
    write_libero,
    write_minari,
    write_mp4,
    write_rlds,
    write_robomimic,
)
from train_testing import train

from worldsim.cli.main import main
from worldsim.data.columns import Columns
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.importing.formats import IMPORTERS, kind_of
from worldsim.data.importing.request import ImportConfig
from worldsim.data.importing.run import open_import
from worldsim.data.importing.source import SourceOptions
from worldsim.data.importing.tfrecord import crc32c, read_example
from worldsim.data.verify import verify

RECORDED = takes()

Write = Callable[[Path], Path]
FORMATS: dict[str, tuple[Write, list[str]]] = {
    "films": (lambda root: write_films(root, RECORDED), []),
    "robomimic": (lambda root: write_robomimic(root / "demo.hdf5", RECORDED), []),
    "libero": (lambda root: write_libero(root, RECORDED), ["fps=10"]),
    "minari": (lambda root: write_minari(root, RECORDED), ["fps=10"]),
    "rlds": (lambda root: write_rlds(root, RECORDED), ["fps=10"]),
}
ORDER = {"libero": [*range(0, 12, 2), *range(1, 12, 2)]}
"""Which take each episode is, where a format has an order of its own."""


def run_import(root: Path, out: Path, *overrides: str) -> int:
    return main(["data", "import", f"source={root}", f"out={out}", *overrides])


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """(source, data set) of a format; each is made once."""
    made: dict[str, tuple[Path, Path]] = {}

    def make(kind: str) -> tuple[Path, Path]:
        if kind not in made:
            write, options = FORMATS[kind]
            folder = tmp_path_factory.mktemp(kind)
            source, out = write(folder / "source"), folder / "set"
            assert run_import(source, out, *options) == 0
            made[kind] = source, out
        return made[kind]

    return make


@pytest.mark.parametrize("kind", FORMATS)
def test_episodes_are_what_was_recorded(
    kind: str, imported: Callable[[str], tuple[Path, Path]]
) -> None:
    source, out = imported(kind)
    assert kind_of(source) == kind and verify(out) == []
    dataset = LeRobotDataset(out)
    order = ORDER.get(kind, range(12))
    assert dataset.num_episodes == 12 and dataset.spec.fps == 10
    for episode, number in enumerate(order):
        take, found = RECORDED[number], dataset.episode(episode)
        steps = found.length
        assert steps == (13 if kind == "libero" else 14)  # LIBERO keeps no last observation
        np.testing.assert_allclose(found.action, take.action[:steps], atol=1e-6)
        state = found.agent_pos[:, [0, 1, 2, -1]]  # LIBERO's holds a rotation too
        np.testing.assert_allclose(state, take.state[: steps + 1], atol=1e-6)
        assert found.meta.success == take.success == bool(found.success[-1])
        views = list(found.pixels.values())
        assert all(map(is_at, views[0], take.state[: steps + 1, :2]))
        if len(views) > 1:
            assert all(map(is_at, views[1], take.state[: steps + 1, 1:3]))
        shifted = map(is_at, views[0][:-1], take.state[1:steps, :2])
        assert not all(shifted), "frames tell rows apart"


@pytest.mark.parametrize("kind", FORMATS)
def test_actions_are_found_to_be_deltas_of_a_tenth(
    kind: str, imported: Callable[[str], tuple[Path, Path]]
) -> None:
    spec = LeRobotDataset(imported(kind)[1]).spec
    known = kind in ("films", "robomimic", "libero")  # which say what proprioception is
    assert spec.action.frame == ("base" if known else "unknown")
    assert (
        spec.action.mode == "delta" and spec.action.units[:3] == (("m",) if known else ("1",)) * 3
    )
    np.testing.assert_allclose(spec.action.scale[:3], 0.1, rtol=0.02)
    told = json.loads((imported(kind)[1] / "meta/info.json").read_text())["worldsim"]["evidence"]
    assert told[0].startswith("action: delta") and "0.1 (fit 1.000" in told[1]


def test_instructions_are_kept(imported: Callable[[str], tuple[Path, Path]]) -> None:
    tasks = {kind: LeRobotDataset(imported(kind)[1]).task(7) for kind in FORMATS}
    assert tasks == {
        "films": "push 1",
        "robomimic": "",
        "libero": "do 1",
        "minari": "",
        "rlds": "push 1",
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_each_trains_by_one_command(
    kind: str, imported: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    assert train(imported(kind)[1], tmp_path / "run", "image_size=32") == 0
    assert (tmp_path / "run/model/model.safetensors").is_file()


def test_the_same_import_again_does_nothing_and_another_is_refused(
    imported: Callable[[str], tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = imported("films")
    before = (out / "meta/info.json").stat().st_mtime_ns
    assert run_import(source, out) == 0 and "imported before" in capsys.readouterr().err
    assert run_import(source, out, "stride=2") == 2
    assert "already holds a finished data set" in capsys.readouterr().err
    assert (out / "meta/info.json").stat().st_mtime_ns == before


def test_an_import_goes_on_where_it_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = write_films(tmp_path / "source", RECORDED[:4]), tmp_path / "set"
    whole = open_import(ImportConfig(root)).write(tmp_path / "whole")
    job = open_import(ImportConfig(root))
    episodes = job.source.episodes
    read: list[str] = []
    frames = type(episodes[0]).frames

    def watched(self: Any) -> Any:
        read.append(self.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return frames(self)

    monkeypatch.setattr(type(episodes[0]), "frames", watched)
    with pytest.raises(KeyboardInterrupt):
        job.write(out)
    continued = open_import(ImportConfig(root)).write(out)
    assert read == ["take_00", "take_01", "take_02", "take_02", "take_03"]
    assert continued.num_episodes == 4
    for name in ("data/chunk-000/file-000.parquet", "videos/observation.images.front/chunk-000"):
        one, other = ([p.read_bytes() for p in _files(d.root / name)] for d in (whole, continued))
        assert one == other


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("*"))


def test_robomimic_without_next_observations_loses_the_last_action(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "a.hdf5", RECORDED[:3], next_obs=False)
    found = open_import(ImportConfig(path)).write(tmp_path / "set").episode(0)
    assert found.length == 13 and found.meta.success and found.success[-1]
    np.testing.assert_allclose(found.action, RECORDED[0].action[:13])


def test_columns_choose_cameras_state_and_action(tmp_path: Path) -> None:
    path = write_robomimic(tmp_path / "a.hdf5", RECORDED[:3])
    columns = Columns(("actions",), ("robot0_eef_pos",), {"hand": "robot0_eye_in_hand_image"})
    config = ImportConfig(path, options=SourceOptions(columns))
    dataset = open_import(config).write(tmp_path / "set")
    assert dataset.spec.camera_names == ("hand",)
    assert dataset.spec.agent_pos.names == tuple(f"robot0_eef_pos_{axis}" for axis in "xyz")


def test_success_and_failure_of_droids_paths_are_kept(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path / "droid", RECORDED[:6], outcomes=True)
    config = ImportConfig(folder, options=SourceOptions(fps=10))
    dataset = open_import(config).write(tmp_path / "set")
    assert [dataset.meta(i).success for i in range(6)] == [True, False] * 3
    assert "failure" in dataset.meta(1).factors["file_path"]


def test_discrete_actions_are_one_hot(tmp_path: Path) -> None:
    root = write_minari(tmp_path / "grid", RECORDED[:3])
    with h5py.File(root / "data/main_data.hdf5", "a") as file:
        for number in range(3):
            del file[f"episode_{number}/actions"]
            file[f"episode_{number}/actions"] = np.arange(14) % 3
            file[f"episode_{number}/observations/mission"] = ["go to the red ball"] * 15
        file.attrs["action_space"] = json.dumps({"type": "Discrete", "n": 4, "start": 0})
    config = ImportConfig(root, options=SourceOptions(fps=5))
    dataset = open_import(config).write(tmp_path / "set")
    assert dataset.spec.action.kind == "discrete" and dataset.spec.action.dim == 4
    assert dataset.episode(0).action.argmax(1).tolist() == [t % 3 for t in range(14)]
    assert dataset.task(0) == "go to the red ball" and dataset.episode(0).meta.env_id == "Hand-v0"


def test_a_camera_that_is_missing_in_an_episode_shows_black(tmp_path: Path) -> None:
    root = write_films(tmp_path / "films", RECORDED[:3])
    (root / "take_01/wrist.mp4").unlink()
    dataset = open_import(ImportConfig(root)).write(tmp_path / "set")
    assert dataset.frames(1, "wrist").max() <= 12 and dataset.frames(0, "wrist").max() > 100


@pytest.mark.parametrize("suffix", ["npy", "npz", "parquet"])
def test_films_beside_other_tables(tmp_path: Path, suffix: str) -> None:
    for number, take in enumerate(RECORDED[:3]):
        path = tmp_path / f"films/ep{number}.{suffix}"
        write_mp4(path.with_suffix(".mp4"), take.front)
        if suffix == "npy":
            np.save(path, take.action)
        elif suffix == "npz":
            np.savez(path, action=np.vstack([take.action, take.action[-1:]]), state=take.state)
        else:
            table = {"action": take.action.tolist(), "observation.state": take.state[:-1].tolist()}
            pq.write_table(pa.table({**table, "task": [take.task] * 14}), path)
    dataset = open_import(ImportConfig(tmp_path / "films")).write(tmp_path / "set")
    found = dataset.episode(2)
    assert dataset.spec.camera_names == ("camera",) and dataset.spec.fps == 10
    np.testing.assert_allclose(found.action, RECORDED[2].action)
    assert found.agent_pos.shape == (15, 0 if suffix == "npy" else 4)
    assert dataset.task(2) == ("push 2" if suffix == "parquet" else "")


def test_films_of_a_higher_rate_are_read_at_the_rows_times(tmp_path: Path) -> None:
    root = write_films(tmp_path / "films", RECORDED[:3])
    for number, take in enumerate(RECORDED[:3]):
        write_mp4(root / f"take_{number:02d}/front.mp4", take.front.repeat(3, axis=0), 30)
    dataset = open_import(ImportConfig(root)).write(tmp_path / "set")
    assert dataset.spec.fps == 10
    frames = dataset.frames(1, "front")
    assert len(frames) == 15 and all(map(is_at, frames, RECORDED[1].state[:, :2]))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 9, 1023, 2048, 2049, 5000])
def test_checksums_are_those_of_rfc_3720(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == slow_crc32c(data)
    assert crc32c(b"123456789") == 0xE3069283


def test_examples_are_read_as_they_were_written() -> None:
    features = rlds_features(RECORDED[0]) | {"n": np.array([-3, 0, 2**40]), "none": []}
    found = read_example(example_bytes(features), "here")
    assert set(found) == set(features)
    for name, values in features.items():
        if isinstance(values, list):
            assert found[name] == values
        else:
            np.testing.assert_array_equal(found[name], np.asarray(values).reshape(-1))


def test_every_format_is_registered() -> None:
    assert set(IMPORTERS) == {*FORMATS, "lerobot"}


def test_droids_feature_names_are_known(tmp_path: Path) -> None:
    """RLDS of DROID: several instructions, states in parts, further actions beside the action."""
    folder = tmp_path / "droid"
    folder.mkdir()
    records = []
    for number, take in enumerate(RECORDED[:4]):
        told = rlds_features(take, "success" if take.success else "failure")
        state = told.pop("steps/observation/state")
        pictures = told.pop("steps/observation/image")
        told["steps/observation/exterior_image_1_left"] = pictures
        told["steps/observation/exterior_image_2_left"] = pictures
        told["steps/observation/wrist_image_left"] = told.pop("steps/observation/wrist_image")
        told["steps/observation/cartesian_position"] = np.hstack([state[:, :3], 0 * state[:, :3]])
        told["steps/observation/gripper_position"] = state[:, 3:]
        told["steps/observation/joint_position"] = np.zeros((len(state), 7))
        told["steps/action_dict/cartesian_velocity"] = np.zeros((len(state), 6))
        told["steps/action_dict/gripper_position"] = state[:, 3:]
        told["steps/language_instruction"] = [b""] * len(state)
        told["steps/language_instruction_2"] = [f"words {number}".encode()] * len(state)
        records.append(record(example_bytes(told)))
    (folder / "r2d2_faceblur-train.tfrecord-00000-of-00001").write_bytes(b"".join(records))
    config = ImportConfig(folder, options=SourceOptions(fps=15))
    dataset = open_import(config).write(tmp_path / "set")
    assert dataset.spec.camera_names == (
        "exterior_image_1_left",
        "exterior_image_2_left",
        "wrist_image_left",
    )
    assert dataset.spec.agent_pos.dim == 7 and dataset.spec.agent_pos.names[6] == "gripper_position"
    action = dataset.spec.action
    assert (action.dim, action.mode, action.frame) == (4, "delta", "base")
    assert dataset.task(3) == "words 3" and dataset.meta(2).success and not dataset.meta(3).success


def test_minaris_coded_pictures_are_decoded(tmp_path: Path) -> None:
    root = write_minari(tmp_path / "coded", RECORDED[:3], coded_frames=True)
    config = ImportConfig(root, options=SourceOptions(fps=10))
    dataset = open_import(config).write(tmp_path / "set")
    for episode in range(3):
        frames = dataset.frames(episode, "front")
        assert len(frames) == 15 and all(map(is_at, frames, RECORDED[episode].state[:, :2]))
