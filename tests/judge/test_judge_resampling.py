"""Steps drawn again by other noise: what draws share, how far they disagree, the gate of it."""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagination_testing import nano_judge
from replay_testing import Scripted, recorded
from worldsim_testing import nano_model, nano_start

from worldsim.errors import DataError, UsageError
from worldsim.judge.gate import GateLimit
from worldsim.judge.gates import GATES, RESAMPLING
from worldsim.judge.imagined import measure_imagined
from worldsim.judge.resampling import (
    SQUARES,
    Resampling,
    ResamplingGate,
    frame_spread,
    require_noise,
)
from worldsim.judge.sampling import JudgeConfig
from worldsim.judge.training import _measure, train_judge
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (4, 2, 5)).astype(np.float32)


def stream(model: WorldModel | None = None, steps: int = 2, seed: int = 0) -> Stream:
    """Two streams at their first frames."""
    model = model or nano_model()
    made, start = Stream.of(model, Sampler.of(model, steps)), nano_start(2)
    made.reset(start["pixels"], start["agent_pos"], None, [0, 1], seed)
    return made


def unshown() -> WorldModel:
    """A model whose denoiser is not shown pure noise."""
    model = nano_model()
    config = replace(model.config, denoiser=replace(model.config.denoiser, pure_noise=False))
    made = WorldModel(config, model.spec).eval()
    made.load_state_dict(model.state_dict())
    return made


def test_draws_share_the_past_and_differ_in_noise_alone() -> None:
    drawn, alone = stream(), stream()
    for actions in ACTIONS[:2]:
        twin = drawn.fork(3)
        twin.act(np.concatenate([actions] * 3))
        drawn.act(actions)
        alone.act(actions)
        # What is drawn beside it leaves no trace in the stream itself.
        torch.testing.assert_close(drawn.newest, alone.newest, rtol=0, atol=0)
        frames = torch.cat([drawn.newest[None], twin.newest.reshape(3, 2, *twin.newest.shape[1:])])
        for i in range(4):
            for j in range(i):
                assert (frames[i] - frames[j]).abs().amax(dim=(1, 2, 3, 4)).min() > 0
        # Where the agent is, noise does not say.
        torch.testing.assert_close(twin.world_state, drawn.world_state.repeat(3, 1))


def test_draws_are_a_function_of_seed_row_and_number() -> None:
    first, second, other = stream().fork(2), stream().fork(3), stream(seed=1).fork(2)
    for each, count in ((first, 2), (second, 3), (other, 2)):
        each.act(np.concatenate([ACTIONS[0]] * count))
    torch.testing.assert_close(first.newest, second.newest[:4], rtol=1e-5, atol=1e-5)
    assert (first.newest - other.newest).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-4


def test_without_pure_noise_one_step_is_deterministic_and_refused() -> None:
    model = unshown()
    for steps, differ in ((1, False), (2, True)):
        running = stream(model, steps)
        twin = running.fork(1)
        twin.act(ACTIONS[0])
        running.act(ACTIONS[0])
        assert bool((twin.newest != running.newest).any()) is differ
    require_noise(model.config, 2, "asked")
    require_noise(nano_model().config, 1, "asked")
    with pytest.raises(UsageError, match=r"asked: .*deterministic in one denoising step"):
        require_noise(model.config, 1, "asked")


def test_spread_is_the_standard_deviation_where_it_is_greatest() -> None:
    draws = 0.3 * torch.randn(200, 2, 3, 4, 16, 16, generator=torch.manual_seed(0))
    everywhere = frame_spread(draws)
    assert everywhere.shape == (2,)
    torch.testing.assert_close(everywhere, torch.full((2,), 0.3), rtol=0.05, atol=0)
    # A small thing that only some draws show fills a square, and hardly moves the mean.
    still = torch.zeros(4, 1, 3, 4, 16, 16)
    side = 16 // SQUARES
    still[:2, 0, 1, :, :side, :side] = 1.0
    assert float(frame_spread(still)) == pytest.approx(np.sqrt(1 / 3), rel=1e-5)
    assert float(frame_spread(torch.ones(3, 1, 3, 4, 16, 16))) == 0


def test_a_usual_step_has_an_error_of_one() -> None:
    rng = np.random.default_rng(0)
    replays = [np.abs(rng.normal(0, [0.2, 0.05], (30, 2))).astype(np.float32) for _ in range(20)]
    scale = Resampling.of(4, replays)
    errors = scale.error(np.concatenate(replays))
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(1, rel=1e-4)
    assert scale.error(np.array([2 * scale.frames, 2 * scale.judge], np.float32)) == pytest.approx(
        2
    )


def test_a_judge_that_never_doubts_leaves_the_frames_to_say() -> None:
    scale = Resampling.of(4, [np.array([[0.1, 0.0], [0.1, 0.0]], np.float32)])
    assert scale.error(np.array([0.1, 0.0], np.float32)) == pytest.approx(np.sqrt(0.5))
    with pytest.raises(DataError, match=r"give the same frames.*judge.gate_draws=0"):
        Resampling.of(4, [np.zeros((3, 2), np.float32)])


def test_a_scale_survives_the_disk(tmp_path: Path) -> None:
    scale = Resampling(4, 0.125, 0.25)
    scale.save(tmp_path)
    assert Resampling.of_folder(tmp_path) == scale
    (tmp_path / "resampling.json").write_text('{"draws": 4}')
    with pytest.raises(DataError, match="describes no resampling"):
        Resampling.of_folder(tmp_path)


class Flipping:
    """A judge whose answers are given one by one."""

    def __init__(self, answers: list[list[float]]) -> None:
        self.answers: Iterator[list[float]] = iter(answers)

    def read(self, observation: Any, action: Any) -> Any:
        class Said:
            success_probability = np.array(next(self.answers), np.float32)

        assert len(observation.pixels) == len(action) == len(Said.success_probability)
        return Said


def test_readings_are_of_frames_and_of_the_judge() -> None:
    running = stream()
    gate: Any = ResamplingGate(Flipping([[0.0, 0.5, 1.0, 0.5]]), 3)  # type: ignore[arg-type]
    check = gate.begin(running, ACTIONS[0])
    running.act(ACTIONS[0])
    readings = check(running, np.array([0.5, 0.5], np.float32))
    assert readings.shape == (2, 2)
    # The first row was judged 0.5, 0 and 1, the second always the same.
    np.testing.assert_allclose(readings[:, 1], [0.5, 0.0], atol=1e-6)
    assert (readings[:, 0] > 0).all()


def test_gates_look_at_whole_replays_and_change_no_verdict() -> None:
    judge: Any = Scripted(lambda action: float(action[0] == 1))
    config = JudgeConfig(depth_band=3, gate_draws=3)
    plain = measure_imagined(judge, nano_model(), recorded(), config, "weights")
    gated = measure_imagined(
        judge, nano_model(), recorded(), config, "weights", (ResamplingGate(judge, 3),)
    )
    assert plain is not None and gated is not None
    assert gated.report == plain.report and plain.readings == []
    # Depths of the replays: two wins, two losses; steps after a success are left out.
    assert [len(each) for each in gated.readings[0]] == [6, 2, 6, 5]
    assert all(each.shape[1] == 2 for each in gated.readings[0])


def test_a_gate_is_made_beside_a_judge_and_goes_with_its_model(tmp_path: Path) -> None:
    folder = tmp_path / GATES.get(RESAMPLING).folder
    asked = JudgeConfig(gate_steps=0, gate_draws=3, gate_quantile=0.9)
    _measure(copy(nano_judge()), nano_model(), recorded(), asked, "weights", tmp_path)
    limit = GateLimit.of_folder(folder, "weights", 2)
    assert limit is not None and (limit.kind, limit.replays) == (RESAMPLING, 4)
    assert 0.3 < limit.limit < 10 and Resampling.of_folder(folder).draws == 3
    assert GateLimit.of_folder(folder, "others", 2) is None
    # Made again without draws, it is no more.
    without = replace(asked, gate_draws=0)
    _measure(copy(nano_judge()), nano_model(), recorded(), without, "others", tmp_path)
    assert not folder.exists()


def test_what_cannot_be_gated_by_draws_is_refused_before_anything_is_learnt(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"judge.gate_draws: .*deterministic"):
        train_judge(
            recorded(), nano_model().spec, JudgeConfig(gate_draws=4), tmp_path, model=unshown()
        )
    with pytest.raises(UsageError, match=r"gate_draws is 1, and one draw"):
        JudgeConfig(gate_draws=1)
    with pytest.raises(UsageError, match=r"replays is 0; a gate's limit"):
        JudgeConfig(gate_draws=4, replays=0)
    assert not list(tmp_path.iterdir())
