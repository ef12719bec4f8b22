"""`worldsim train dataset=FOLDER` alone trains on LeRobot sets of any cameras and codec."""

from pathlib import Path

import numpy as np
import pytest
from lerobot_testing import ForeignSet, code_of, picture
from train_testing import train

from worldsim.data.cache_writer import fitting_size
from worldsim.data.dataset import LeRobotDataset

FRONT, WRIST = "observation.images.front", "observation.images.wrist_left"
SIZES = {FRONT: (36, 52), WRIST: (52, 40)}


def of_two_sizes(version: str, kind: str, codec: str = "libx264") -> ForeignSet:
    """Cameras of two odd sizes, a fractional rate, no statistics."""
    data = ForeignSet(version, [FRONT, WRIST], (8,) * 12, fps=7.5, kind=kind)
    data.codec = codec
    for place, (camera, size) in enumerate(SIZES.items()):
        data.info["features"][camera]["shape"] = [*size, 3]
        data.films[camera] = [
            np.stack([picture(code_of(place, episode, row), size) for row in range(8)])
            for episode in range(12)
        ]
    return data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "kind", "codec"),
    [("v2.1", "video", "libx264"), ("v3.0", "video", "libsvtav1"), ("v3.0", "image", "libx264")],
)
def test_it_trains_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, kind: str, codec: str
) -> None:
    data = of_two_sizes(version, kind, codec)
    if codec == "libsvtav1":  # which takes no smaller frames
        for place, camera in enumerate(SIZES):
            data.info["features"][camera]["shape"] = [68 + 16 * place, 84, 3]
            films = data.films[camera]
            shape = (8, 68 + 16 * place, 84, 3)
            data.films[camera] = [np.resize(film[:, :1, :1], shape) for film in films]
    root = data.write(tmp_path / "set")
    assert train(root, tmp_path / "run") == 0
    assert (tmp_path / "run/model/model.safetensors").is_file()
    told = capsys.readouterr().err
    size = "64x80" if codec == "libsvtav1" else "32x32"
    assert f"frames are resized to {size}" in told and "action: " in told


def test_frames_get_the_least_size_that_fits_all_cameras(tmp_path: Path) -> None:
    odd = LeRobotDataset(of_two_sizes("v3.0", "image").write(tmp_path / "odd"))
    assert fitting_size(odd, 16) == (32, 32) and fitting_size(odd, 4) == (36, 40)
    even = LeRobotDataset(ForeignSet(kind="image").write(tmp_path / "even"))
    assert fitting_size(even, 16) is None and fitting_size(even, 32) == (32, 32)
