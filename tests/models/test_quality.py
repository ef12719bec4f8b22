"""A model says how few denoising steps it can do with."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
from worldsim_testing import nano_model

from worldsim.cli.main import main
from worldsim.diffusion.flow import sampling_sigmas
from worldsim.diffusion.schedule import autoregressive
from worldsim.errors import DataError, QualityWarning
from worldsim.files import write_json
from worldsim.models.quality import QUALITY, StepQuality
from worldsim.models.world_model import WorldModel
from worldsim.sampling.stream import Stream

MEASURED = StepQuality({1: 14.0, 2: 17.7, 4: 18.0, 8: 17.9})


def stream(model: WorldModel, steps: int) -> Stream:
    return Stream(model, autoregressive(tuple(sampling_sigmas(steps).tolist()), 1))


def test_fewest_steps_near_the_best_are_enough() -> None:
    assert MEASURED.best == 2
    assert [MEASURED.reached(steps) for steps in (1, 2, 3, 6, 20)] == [14.0, 17.7, 17.7, 18.0, 17.9]
    assert StepQuality({2: 15.0}).reached(1) == 15.0


def test_a_stream_of_too_few_steps_warns_with_what_was_measured(tmp_path: Path) -> None:
    model = copy.deepcopy(nano_model())  # others share it
    model.quality = MEASURED
    model.save_pretrained(tmp_path)
    loaded = WorldModel.from_pretrained(tmp_path)
    assert loaded.quality == MEASURED
    with pytest.warns(QualityWarning, match=r"14\.0 dB .* 17\.7 dB with 2"):
        stream(loaded, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream(loaded, 2)
        stream(nano_model(), 1)  # nothing was measured


def test_broken_measurements_are_told(tmp_path: Path) -> None:
    nano_model().save_pretrained(tmp_path)
    cases: list[object] = [[], {}, {"psnr_moving": {}}, {"psnr_moving": {"two": 1.0}}]
    for wrong in cases:
        write_json(tmp_path / QUALITY, wrong)
        with pytest.raises(DataError, match=QUALITY):
            WorldModel.from_pretrained(tmp_path)


def test_the_command_line_shows_it_as_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*_: object) -> None:
        MEASURED.warn_if_short(1)
        warnings.warn("something else", stacklevel=1)

    monkeypatch.setattr("worldsim.cli.main._run", warn)
    with pytest.warns(UserWarning, match="something else"):
        assert main(["rank"]) == 0
    assert np.char.startswith(capsys.readouterr().err.splitlines(), "warning: 1 denoising").all()
