"""What a model's card must say."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from imagination_testing import REPORT
from worldsim_testing import nano_model

from worldsim.files import read_json
from worldsim.judge.report import JudgeReport
from worldsim.models.pretrained import SHIPPED
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.objective import ObjectiveConfig
from worldsim.training.stages.world import has_state_labels, model_card

FITTED = cast(Any, SimpleNamespace(logs={"loss": 1.0}, steps=1, seconds=1.0))
CACHE = cast(Any, SimpleNamespace(num_episodes=1, pixels=[0]))


def without_scene(model: WorldModel) -> WorldModel:
    """The same sizes, but the scene's state is not tracked."""
    dynamics = replace(model.config.dynamics, scene=False)
    return WorldModel(replace(model.config, dynamics=dynamics), model.spec)


@pytest.mark.parametrize("assisted", [True, False])
def test_a_card_says_whether_the_model_carries_the_simulators_state(assisted: bool) -> None:
    model = nano_model() if assisted else without_scene(nano_model())
    assert model.state_assisted is assisted
    assert ("State-assisted" in model_card(model, FITTED, CACHE)) is assisted


def test_a_model_that_learnt_from_the_simulators_labels_says_so_too(tmp_path: Path) -> None:
    plain = without_scene(nano_model())
    card = model_card(plain, FITTED, CACHE)
    assert "Not state-assisted" in card and not plain.state_assisted
    labelled = plain.trained_with(calibration=False, state_labels=True)
    assert "it learnt to read" in model_card(labelled, FITTED, CACHE)
    labelled.save_pretrained(tmp_path)
    assert read_json(tmp_path / "config.json")["state_assisted"] is True
    assert WorldModel.from_pretrained(tmp_path).state_assisted


@pytest.mark.parametrize(
    ("dim", "moves", "weights", "expected"),
    [
        (3, True, (0.3, 0.1), True),
        (0, True, (0.3, 0.1), True),
        (3, False, (0.3, 0.1), True),
        (0, False, (0.3, 0.1), False),
        (3, True, (0.0, 0.0), False),
    ],
)
def test_labels_count_where_the_data_tell_them_and_the_loss_weighs_them(
    dim: int, moves: bool, weights: tuple[float, float], expected: bool
) -> None:
    progress = np.linspace(0, 1, 4) if moves else np.zeros(4)
    spec = SimpleNamespace(state=SimpleNamespace(dim=dim))
    cache = cast(Any, SimpleNamespace(spec=spec, progress=progress))
    objective = ObjectiveConfig(state=weights[0], progress=weights[1])
    assert has_state_labels(cache, objective) is expected


def test_a_judge_that_learnt_from_the_simulators_labels_says_so() -> None:
    assert REPORT.state_assisted and REPORT.to_json()["state_assisted"]
    plain = replace(REPORT, state_error_m=None, progress_error=None)
    assert not plain.state_assisted and JudgeReport.from_json(plain.to_json()) == plain


@pytest.mark.parametrize("folder", sorted(path.parent for path in SHIPPED.glob("*/config.json")))
def test_the_cards_of_what_ships_say_it_too(folder: Any) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("State-assisted" in card) is WorldModel.from_pretrained(folder).state_assisted
