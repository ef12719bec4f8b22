"""What a model's card must say."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from worldsim_testing import nano_model

from worldsim.models.pretrained import SHIPPED
from worldsim.models.world_model import WorldModel
from worldsim.training.stages.world import model_card

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


@pytest.mark.parametrize("folder", sorted(path.parent for path in SHIPPED.glob("*/config.json")))
def test_the_cards_of_what_ships_say_it_too(folder: Any) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert ("State-assisted" in card) is WorldModel.from_pretrained(folder).state_assisted
