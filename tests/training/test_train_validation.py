"""What `worldsim train` measures with few held-out episodes."""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from worldsim_testing import nano_model

from worldsim.cli import train_validation
from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.training.config import ValidationConfig
from worldsim.training.run_folder import RunFolder

SETTINGS = ValidationConfig(max_steps=2, films=1, swap=False, step_counts=(1,), step_horizon=2)


def test_one_held_out_episode_is_enough(
    square_data: CachedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, folder = nano_model(spec=square_data.spec), RunFolder(tmp_path)
    found = train_validation._validator(SETTINGS, [9], square_data, folder)(model, 5)
    assert found["psnr_model"] > 0 and "psnr_shuffled_actions" not in found
    stored = json.loads((tmp_path / "validation.json").read_text())
    assert stored["step"] == 5 and stored["episodes"] == [1, 1]
    assert len(list(folder.films.iterdir())) == 1
    assert "1 held-out episode:" in capsys.readouterr().err
    quality = train_validation._step_quality(model, square_data, [9], SETTINGS)
    assert quality is None or set(quality.psnr_moving) == {1}


@pytest.mark.parametrize(
    ("asked", "blind", "steps"), [(None, True, 1), (None, False, 2), (7, True, 6)]
)
def test_it_samples_as_the_model_is_sampled_by_default(
    asked: int | None, blind: bool, steps: int, square_data: CachedDataset, tmp_path: Path
) -> None:
    model = copy.deepcopy(nano_model(spec=square_data.spec))
    denoiser = replace(model.config.denoiser, pure_noise=not blind)
    model.config = replace(model.config, denoiser=denoiser, ladder=TrainedLadder(6))
    settings = replace(SETTINGS, sampling_steps=asked, films=0)
    folder = RunFolder(tmp_path)
    train_validation._validator(settings, [9], square_data, folder)(model, 5)
    stored = json.loads((tmp_path / "validation.json").read_text())
    assert stored["sampling_steps"] == steps


def test_no_held_out_episode_is_said(
    square_data: CachedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validate = train_validation._validator(SETTINGS, [], square_data, RunFolder(tmp_path))
    assert validate(SimpleNamespace(config=nano_model().config), 1) == {}
    assert "no episode is held out" in capsys.readouterr().err


def test_pieces_of_one_episode_have_actions_to_shuffle(
    square_data: CachedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create(
        {"validation": {**asdict(SETTINGS), "max_steps": 0, "piece": 1, "step_counts": [1]}}
    )
    folder = RunFolder(tmp_path)
    validate, _ = train_validation.validators(config, square_data, folder)
    found = validate(nano_model(spec=square_data.spec), 5)
    assert "beats_shuffled_actions" in found
    stored = json.loads((tmp_path / "validation.json").read_text())
    assert len(stored["episodes"]) == 1 and stored["episodes"][0] > 1
    assert "held-out pieces:" in capsys.readouterr().err


def test_pieces_refuse_the_swap_test() -> None:
    with pytest.raises(UsageError, match="swap=false"):
        ValidationConfig(piece=10)
