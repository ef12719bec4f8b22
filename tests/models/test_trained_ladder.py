"""A model says which ladders it was trained for; streams hold it to that."""

import copy
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from worldsim_testing import nano_model

from worldsim.errors import QualityWarning, UsageError
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.sampling.stream import Stream
from worldsim.training.loss import PlanConfig, student_of
from worldsim.training.losses.distillation import DistillationConfig
from worldsim.training.losses.self_rollout import RolloutConfig

CTM = TrainedLadder(rungs=12)


def test_of_a_model_a_sampler_takes_what_it_was_trained_for() -> None:
    model = copy.deepcopy(nano_model())
    model.config = replace(model.config, ladder=TrainedLadder(6, 2.0, jumps_to_end=True))
    assert Sampler.of(model, 3) == Sampler(steps=3, shift=2.0, solver="renoise")
    assert Sampler.default(model).steps == 2
    model.config = replace(model.config, ladder=TrainedLadder(5))
    assert Sampler.default(model) == Sampler(steps=1) and default_steps(model.config) == 1
    assert [steps for steps in range(1, 6) if model.config.ladder.fits(steps)] == [1, 5]


def check(ladder: TrainedLadder, **sampler: object) -> None:
    chosen = Sampler(**sampler)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ladder.check(chosen.schedule(), chosen.solver)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 12])
def test_steps_that_divide_the_distilled_ladder_fit(steps: int) -> None:
    check(CTM, steps=steps)
    check(CTM, kind="rolling", steps=steps)


def test_other_levels_are_refused_with_what_would_fit() -> None:
    with pytest.raises(UsageError, match=r"0\.8, 0\.6, 0\.4, 0\.2.*among \[1, 2, 3, 4, 6, 12\]"):
        check(CTM, steps=5)
    with pytest.raises(UsageError, match="other levels"):
        check(CTM, steps=4, shift=3.0)
    check(replace(CTM, shift=3.0), steps=4, shift=3.0)
    check(TrainedLadder(), steps=5, shift=3.0)  # flow matching knows every level


def test_a_consistency_model_wants_fresh_noise() -> None:
    ladder = replace(CTM, jumps_to_end=True)
    check(ladder, steps=1)
    check(ladder, steps=4, solver="renoise")
    with pytest.raises(QualityWarning, match="solver=renoise"):
        check(ladder, steps=4)


def test_a_window_that_sees_both_ways_has_to_be_trained() -> None:
    with pytest.raises(QualityWarning, match="both ways"):
        check(TrainedLadder(), kind="rolling", steps=4, bidirectional=True)
    check(TrainedLadder(), steps=4, bidirectional=True)  # a single frame in flight
    check(TrainedLadder(bidirectional=True), kind="rolling", steps=4, bidirectional=True)


def test_plans_leave_their_ladder_in_the_model(tmp_path: Path) -> None:
    never = RolloutConfig(rolling=0.5, bidirectional=True)  # its rollouts start at the end
    assert student_of(nano_model(), PlanConfig(rollout=never)).config.ladder == TrainedLadder()
    student = student_of(nano_model(), PlanConfig(rollout=replace(never, start=0.5)))
    assert student.config.ladder == TrainedLadder(bidirectional=True)
    ctm = PlanConfig(distillation=DistillationConfig("ctm", rungs=6, shift=2.0))
    student = student_of(student, ctm)
    assert student.config.ladder == TrainedLadder(6, 2.0, bidirectional=True)
    assert student.config.denoiser.jumps
    further = student_of(student, PlanConfig())
    assert further.config == student.config
    copy.deepcopy(further).save_pretrained(tmp_path)
    loaded = WorldModel.from_pretrained(tmp_path)
    assert loaded.config.ladder == student.config.ladder
    with pytest.raises(UsageError, match="distilled on 6 rungs"):
        Stream(loaded, Sampler(steps=4, shift=2.0).schedule())
