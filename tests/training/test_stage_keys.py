"""Stages finished by earlier versions are still finished: their keys, as those wrote them."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from worldsim.cli.train import _without_later_keys
from worldsim.config.compose import compose_config
from worldsim.training.config import STAGES
from worldsim.training.stages.stage import TrainingRun
from worldsim.training.train_config import train_config

# Written by the code before configs had versions, for a data set whose fingerprint is "abc".
WRITTEN = {
    "": "b51490415426ef2a b51490415426ef2a a77f7166ac1ac56f ad0b809ac43a5bf7 c0d70358f4ed48e8",
    "plan=ctm start_from=shipped/push": "a4416defe41756d8 a4416defe41756d8 fd9554f56576b4b8 "
    "4d1266813a704cab a84cb3912f2ea097",
    "reuse=runs/x dynamics.keep=true": "3a6e501752a13f67 3a6e501752a13f67 6ce872cd6a741b0e "
    "33677523d1bb32f2 0f8153092fbab97e",
}


def keys(words: str) -> list[str]:
    config = train_config(compose_config("train", ["dataset=x", "out=x", *words.split()]))
    run = SimpleNamespace(config=config, cache=SimpleNamespace(fingerprint="abc"))
    return [TrainingRun.key(cast(Any, run), stage) for stage in STAGES if stage != "judge"]


@pytest.mark.parametrize("words", WRITTEN)
def test_keys_are_those_that_folders_hold(words: str) -> None:
    assert keys(words) == WRITTEN[words].split()


def test_another_plan_or_other_dynamics_are_another_stage() -> None:
    base = keys("")
    assert keys("plan.rollout.solver=renoise")[3] != base[3]
    assert keys("model.dynamics.name=none")[2] != base[2]
    assert keys("model.dynamics.name=none")[:2] == base[:2]


def test_a_judge_without_a_gate_by_draws_is_the_judge_of_before() -> None:
    judge = compose_config("train", ["dataset=x", "out=x"]).judge
    asked = OmegaConf.to_container(judge)
    assert isinstance(asked, dict) and asked.pop("gate_draws") == 0
    assert asked.pop("kind") == "learned"
    assert _without_later_keys(judge) == asked
    judge.gate_draws = 4
    assert _without_later_keys(judge) == asked | {"gate_draws": 4}
