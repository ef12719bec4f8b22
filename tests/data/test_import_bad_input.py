"""Recordings that went wrong: clear words, and what is finished is kept."""

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import (
    example,
    record,
    rlds_features,
    takes,
    write_films,
    write_minari,
    write_mp4,
    write_rlds,
    write_robomimic,
)

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.staging import StagedEpisode
from worldsim.errors import MissingExtraError

RECORDED = takes(4)
Rows = list[list[str]]


def fails(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *options: str) -> str:
    capsys.readouterr()
    assert main(["data", "import", f"source={source}", f"out={out}", *options]) in (1, 2)
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert text.startswith("worldsim: "), "one line, no traceback"
    return text


def edit(path: Path, change: Callable[[Rows], Rows]) -> None:
    with path.open(newline="") as file:
        rows = change(list(csv.reader(file)))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def nan_action(rows: Rows) -> Rows:
    rows[4][2] = "nan"
    return rows


def empty_cell(rows: Rows) -> Rows:
    rows[4][2] = ""
    return rows


def drifting(rows: Rows) -> Rows:
    return [rows[0]] + [[str(1.05 * float(row[0])), *row[1:]] for row in rows[1:]]


def short_row(rows: Rows) -> Rows:
    rows[5] = rows[5][:3]
    return rows


def without_times(rows: Rows) -> Rows:
    return [row[1:] for row in rows[:9]]


def renamed(rows: Rows) -> Rows:
    return [["timestamp", "action_q", *rows[0][2:]], *rows[1:]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (nan_action, "actions hold NaN or infinity, first y in row 3"),
        (empty_cell, "actions hold NaN or infinity, first y in row 3"),
        (drifting, "timestamps drift: row"),
        (short_row, "line 6: 3 values, expected 9"),
        (without_times, "holds 15 frames, actions.csv 8 rows"),
        (renamed, "expected 1 numbers of column 'action_x'"),
        (lambda rows: rows[:1], "holds no row"),
        (lambda rows: [], "is empty"),
    ],
)
def test_spoilt_tables_are_named_and_may_be_left_out(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Rows], Rows],
    says: str,
) -> None:
    root = write_films(tmp_path / "films", RECORDED)
    edit(root / "take_02/actions.csv", change)
    told = fails(capsys, root, tmp_path / "set")
    assert says in told and "1 of 4 episodes are faulty" in told and "faulty=skip" in told
    assert not (tmp_path / "set").exists(), "nothing is begun before all rows were looked at"
    options = [f"source={root}", f"out={tmp_path / 'set'}", "faulty=skip"]
    assert main(["data", "import", *options]) == 0
    dataset = LeRobotDataset(tmp_path / "set")
    assert [dataset.meta(i).factors["source"] for i in range(3)] == [
        "take_00",
        "take_01",
        "take_03",
    ]


def test_cameras_of_different_length_and_size_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_films(tmp_path / "films", RECORDED)
    edit(root / "take_01/actions.csv", lambda rows: [row[1:] for row in rows])
    write_mp4(
        root / "take_01/wrist.mp4", np.concatenate([RECORDED[1].wrist, RECORDED[1].wrist[:1]])
    )
    told = fails(capsys, root, tmp_path / "set")
    assert "cameras differ in length: {'front': 15, 'wrist': 16}" in told
    write_mp4(root / "take_01/wrist.mp4", RECORDED[1].front)
    assert "frames of 32x48, other episodes 48x32" in fails(capsys, root, tmp_path / "set")


def test_a_film_that_breaks_off_ends_the_import_and_keeps_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_films(tmp_path / "films", RECORDED), tmp_path / "set"
    for folder in root.glob("take_*"):  # without times, nothing tells where films end
        edit(folder / "actions.csv", lambda rows: [row[1:] for row in rows])
    film = root / "take_02/front.mp4"
    whole = film.read_bytes()
    first, last = whole.index(b"mdat") + 40, whole.index(b"moov") - 4
    film.write_bytes(whole[:first] + bytes(last - first) + whole[last:])
    told = fails(capsys, root, out, "fps=10")
    assert "take_02/front.mp4" in told and "2 episodes are kept" in told
    with pytest.raises(Exception, match="data import"):
        LeRobotDataset(out)
    film.write_bytes(whole)
    assert main(["data", "import", f"source={root}", f"out={out}", "fps=10"]) == 0
    assert LeRobotDataset(out).num_episodes == 4


def test_actions_that_never_change_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_robomimic(tmp_path / "a.hdf5", RECORDED)
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            demo["actions"][...] = 0.25
    assert "no action ever changes" in fails(capsys, path, tmp_path / "set")


@pytest.mark.parametrize("write", [write_minari, write_rlds])
def test_a_rate_that_nobody_tells_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[..., Path]
) -> None:
    source = write(tmp_path / "source", RECORDED)
    assert "give fps=RATE" in fails(capsys, source, tmp_path / "set")


def test_spoilt_records_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_rlds(tmp_path / "rlds", RECORDED)
    first, second = sorted(folder.glob("*.tfrecord*"))
    whole = second.read_bytes()
    second.write_bytes(whole[:-30])
    assert "truncated" in fails(capsys, folder, tmp_path / "set", "fps=10")
    flipped = bytearray(whole)
    flipped[400] ^= 1
    second.write_bytes(bytes(flipped))
    told = fails(capsys, folder, tmp_path / "set", "fps=10")
    assert second.name in told and "does not fit its checksum" in told
    second.write_bytes(b"\x1f\x8b" + whole)
    assert "uncompressed" in fails(capsys, folder, tmp_path / "set", "fps=10")
    features = rlds_features(RECORDED[0])
    features["steps/observation/image"] = features["steps/observation/image"][:-2]
    second.write_bytes(record(example(features)))
    told = fails(capsys, folder, tmp_path / "set", "fps=10")
    assert "camera 'image' has 13 pictures for 15 steps" in told
    first.write_bytes(record(example({"x": np.zeros(3)})))
    assert "holds no RLDS episode" in fails(capsys, folder, tmp_path / "set", "fps=10")


def test_what_is_no_recording_is_told_what_would_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    told = fails(capsys, tmp_path / "empty", tmp_path / "set")
    assert "of no known kind" in told and "rlds: *.tfrecord*" in told
    (tmp_path / "a.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "is not readable HDF5" in fails(capsys, tmp_path / "a.hdf5", tmp_path / "set")


def test_low_dimensional_sets_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_robomimic(tmp_path / "low_dim.hdf5", RECORDED)
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for name in ("agentview_image", "robot0_eye_in_hand_image"):
                del demo[f"obs/{name}"], demo[f"next_obs/{name}"]
    assert "a world model needs a camera" in fails(capsys, path, tmp_path / "set")


def test_an_absent_h5py_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldsim.data.importing.hdf5 import open_file

    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'worldsim\[hdf5\]'"):
        open_file(tmp_path / "a.hdf5")


def test_a_calibration_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_films(tmp_path / "films", RECORDED)
    rig = {"names": ["front"], "intrinsics": [[1, 2]], "extrinsics": [], "mounted": [False]}
    (tmp_path / "rig.json").write_text(json.dumps(rig))
    told = fails(capsys, root, tmp_path / "set", f"rig={tmp_path / 'rig.json'}")
    assert "is no calibration" in told and "extrinsics [V,4,4]" in told


def test_a_full_disk_is_no_faulty_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_films(tmp_path / "films", RECORDED), tmp_path / "set"
    writes: list[str] = []

    def full(self: StagedEpisode, episode: Episode) -> None:
        writes.append(str(self.folder))
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(self, episode)

    finish = StagedEpisode.finish
    monkeypatch.setattr(StagedEpisode, "finish", full)
    assert "disk full" in fails(capsys, root, out, "faulty=skip") and len(writes) == 2
    monkeypatch.undo()
    assert main(["data", "import", f"source={root}", f"out={out}", "faulty=skip"]) == 0
    assert LeRobotDataset(out).num_episodes == 4
