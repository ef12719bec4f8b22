"""Networks of a world without proprioception or state."""

import warnings
from dataclasses import replace

import pytest
import torch
from worldsim_testing import nano_model, nano_spec

from worldsim.models.blocks import linear
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.world_model import WorldModel
from worldsim.spec import VectorSpec

NOTHING = VectorSpec((), ())


@pytest.mark.parametrize("backbone", ["stnet", "dit"])
def test_nothing_is_said_of_entries_that_there_are_not(backbone: str) -> None:
    config = nano_model(backbone).config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = WorldModel(config, replace(nano_spec(), agent_pos=NOTHING, state=NOTHING))
        StateEstimator(StateEstimatorConfig(3, 0, (32, 32), width=8, keypoints=4))
    assert model.dynamics.dim == 0


def test_layers_begin_as_torch_has_them() -> None:
    torch.manual_seed(0)
    ours = linear(3, 2)
    torch.manual_seed(0)
    torch.testing.assert_close(ours.weight, torch.nn.Linear(3, 2).weight, rtol=0, atol=0)
    assert linear(0, 4)(torch.zeros(2, 0)).shape == (2, 4)
