"""What `worldsim train` makes of its data set before any stage: sizes, labels, a damaged cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from square_world import write_square_data

import worldsim.cli.train as train_module
from worldsim.cli.main import main
from worldsim.cli.settings.train import Settings
from worldsim.config.compose import build, compose_config
from worldsim.data.cache import CachedDataset, build_cache


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_square_data(
        Path(tmp_path_factory.mktemp("data")) / "squares", episodes=4, length=4
    )


def test_recordings_without_outcomes_give_a_model_without_a_judge(
    data: Path, square_data: CachedDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose_config("train", [f"dataset={data}", "out=unused"])
    assert train_module._stages(config, square_data)[-1] == "judge"
    unlabelled = replace(square_data, success=np.zeros_like(square_data.success))
    assert train_module._stages(config, unlabelled) == [
        "tokenizer",
        "latents",
        "dynamics",
        "world",
        "decoder",
    ]
    assert "trained without a judge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "read"), [("64", (64, 64)), ("[32,48]", (32, 48)), ("null", None)]
)
def test_image_sizes(given: str, read: tuple[int, int] | None, data: Path) -> None:
    words = [f"dataset={data}", "out=unused", f"image_size={given}"]
    assert build(Settings, compose_config("train", words)).size == read


@pytest.mark.parametrize(
    ("size", "said"),
    [("24", "24x24"), ("[32,40]", "32x40"), ("[32]", "expected"), ("a", "expected")],
)
def test_sizes_that_do_not_divide_are_refused_before_any_stage(
    size: str, said: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", f"dataset={data}", f"out={tmp_path / 'run'}", f"image_size={size}"]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    root = write_square_data(tmp_path / "squares", episodes=3, length=4)
    whole = build_cache(root)
    pixels = np.array(whole.pixels)
    for name in ("pixels", "episode_start", "rig_known"):
        path = whole.folder / f"{name}.npy"
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 3)
        np.testing.assert_array_equal(build_cache(root).pixels, pixels)


def test_decoded_frames_go_where_cache_says(data: Path, tmp_path: Path) -> None:
    cache = train_module._open_data(data, (16, 16), 8, tmp_path / "place")
    assert tmp_path / "place" in cache.folder.parents
    assert not (data / "cache").exists()
