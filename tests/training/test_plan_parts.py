"""Every part of a training plan, alone."""

from dataclasses import replace

import pytest
import torch

from worldsim.diffusion.flow import sampling_sigmas
from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.errors import UsageError
from worldsim.models.heads.state import StateReading
from worldsim.training.losses.noise_levels import (
    NOISE_POLICIES,
    NoiseConfig,
    noise_policy,
)
from worldsim.training.losses.objective import (
    LOSS_MASKS,
    LossMaskConfig,
    ObjectiveConfig,
    foreground_weight,
    frame_weights,
    level_weight,
    loss_mask,
    motion_weight,
    place_weight,
    reading_losses,
    success_balance,
    weighted_error,
)
from worldsim.training.losses.self_rollout import RolloutConfig, gradient_passes

SHAPE: tuple[int, int] = (400, 9)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", list(NOISE_POLICIES))
def test_noise_policy_contract(name: str) -> None:
    config = NoiseConfig(name=name, context_level=0.1)
    sigma = noise_policy(config)(SHAPE, generator())
    assert tuple(sigma.shape) == SHAPE
    assert 0 <= sigma.min() and sigma.max() <= 1
    assert sigma[:, 0].max() <= 0.1, "the first frame plays history"
    assert sigma[:, 1:].max() > 0.9, "pure noise, where samplers begin, is trained on"
    assert torch.equal(sigma, noise_policy(config)(SHAPE, generator()))
    assert noise_policy(replace(config, clean_start=False))(SHAPE, generator())[:, 0].max() > 0.9


def test_uniform_policy_gives_one_level_a_clip_and_others_do_not() -> None:
    assert noise_policy(NoiseConfig(name="uniform"))(SHAPE, generator())[:, 1:].std(1).max() == 0
    assert noise_policy(NoiseConfig())(SHAPE, generator())[:, 1:].std(1).median() > 0.1


def test_context_policy_keeps_its_share_of_history() -> None:
    config = NoiseConfig(context_share=0.7, context_level=0.05, full_share=0.5)
    sigma = noise_policy(config)((4000, 9), generator())[:, 1:]
    assert (sigma <= 0.05).float().mean() == pytest.approx(0.7, abs=0.03)
    assert (sigma == 1).float().mean() == pytest.approx(0.15, abs=0.02)


def test_ladder_policy_stays_on_the_rungs() -> None:
    sigma = noise_policy(NoiseConfig(name="ladder", steps=4, clean_start=False))(SHAPE, generator())
    assert sorted(set(sigma.flatten().tolist())) == [0.25, 0.5, 0.75, 1.0]


def test_unknown_parts_are_named() -> None:
    with pytest.raises(UsageError, match="independent"):
        noise_policy(NoiseConfig(name="independant"))(SHAPE, generator())
    with pytest.raises(UsageError, match="unknown name 'middle'.*random"):
        loss_mask(LossMaskConfig(name="middle"))(SHAPE, generator())


@pytest.mark.parametrize("name", list(LOSS_MASKS))
def test_window_selector_contract(name: str) -> None:
    weights = loss_mask(LossMaskConfig(name=name, frames=3))(SHAPE, generator())
    assert tuple(weights.shape) == SHAPE
    assert set(weights.flatten().tolist()) <= {0.0, 1.0}
    expected = 9 if name == "all" else 3
    assert (weights.sum(1) == expected).all()
    few = loss_mask(LossMaskConfig(name=name, frames=99))((2, 4), generator())
    assert (few == 1).all(), "a window longer than the clip is the clip"


def test_random_window_is_contiguous_and_reaches_everywhere() -> None:
    weights = loss_mask(LossMaskConfig(name="random", frames=3))(SHAPE, generator())
    starts = weights.argmax(1)
    assert sorted(set(starts.tolist())) == list(range(7))
    for row, start in zip(weights, starts, strict=True):
        assert (row[start : start + 3] == 1).all()


def everywhere(x0: torch.Tensor) -> torch.Tensor:
    return torch.ones(*x0.shape[:3], 1, 1, 1)


def test_places_that_are_not_there_make_no_weight() -> None:
    still = torch.full((10, 6, 2, 1, 2, 2), 0.7)
    present = torch.ones(10, 6, 2)
    present[:, 4:] = 0  # padding
    present[:6, :, 1] = 0  # most clips lack a camera
    x0 = still * present[..., None, None, None]
    config = ObjectiveConfig(motion=4.0, foreground=2.0)
    assert torch.equal(place_weight(x0, present, config), torch.ones(10, 6, 2, 1, 2, 2))
    # What moves where it is there weighs as if nothing else had been in the batch.
    x0[7, 1, 1] += 1.0
    alone = place_weight(x0[6:, :4, 1:], torch.ones(4, 4, 1), config)
    torch.testing.assert_close(place_weight(x0, present, config)[6:, :4, 1:], alone)


def test_motion_weight_marks_where_a_thing_was_and_where_it_goes() -> None:
    x0 = torch.zeros(1, 3, 1, 2, 1, 4)
    x0[0, 1:, 0, :, 0, 2] = 1.0  # appears at frame 1 and stays
    weight = motion_weight(x0, everywhere(x0), 2.0, threshold=0.5, least_share=0.01)[0, :, 0, 0, 0]
    assert weight.tolist() == [[1, 1, 13, 1], [1, 1, 13, 1], [1, 1, 1, 1]]  # 1 + 2 / (2 of 12)


def test_motion_weight_grows_linearly_below_its_threshold() -> None:
    x0 = torch.zeros(1, 2, 1, 1, 1, 2)
    x0[0, 1, ..., 0] = 0.25
    x0[0, 1, ..., 1] = 0.5
    assert motion_weight(x0, everywhere(x0), 3.0, 0.5, 0.01)[0, 0].flatten().tolist() == [3.0, 5.0]


def test_what_moves_counts_alike_in_every_view() -> None:
    x0 = torch.zeros(2, 4, 2, 3, 8, 8)
    x0[:, 1::2, 0] = 1.0  # the first view moves as a whole, of the second only a corner
    x0[:, 1::2, 1, :, :2, :2] = 1.0
    extra = motion_weight(x0, everywhere(x0), 2.0, 0.5, 0.01) - 1.0
    assert extra.mean(dim=(0, 1, 3, 4, 5)).tolist() == pytest.approx([2.0, 2.0])
    assert extra[:, :, 1, :, 4:, 4:].abs().max() == 0


def test_motion_weight_of_a_view_where_next_to_nothing_moves_is_bounded() -> None:
    x0 = torch.zeros(1, 2, 1, 1, 10, 10)
    x0[0, 1, 0, 0, 0, 0] = 1.0
    assert motion_weight(x0, everywhere(x0), 2.0, 0.5, 0.02).max().item() == pytest.approx(101.0)


def test_foreground_is_what_rests_where_others_show_background() -> None:
    x0 = torch.zeros(4, 2, 1, 2, 1, 4)
    x0[..., 3] = 1.0  # there in every episode: background
    x0[1, :, 0, :, 0, 0] = 1.0  # rests throughout one
    weight = foreground_weight(x0, everywhere(x0), 2.0, threshold=0.5, least_share=0.5)[
        :, 0, 0, 0, 0
    ]
    expected = torch.ones(4, 4)
    expected[1, 0] = 5.0
    assert torch.equal(weight, expected)
    config, present = ObjectiveConfig(motion=3.0, foreground=2.0), torch.ones(4, 2, 1)
    assert torch.equal(place_weight(x0, present, config)[:, 0, 0, 0, 0], expected)
    x0[1, 1, 0, :, 0, 0] = 0.0  # it leaves, and so moves too
    assert float(place_weight(x0, present, config)[1, 0, 0, 0, 0, 0]) == pytest.approx(
        1 + 3 / 0.5 + 2 / 0.5
    )


def test_level_weight_of_flow_matching_is_the_inverse_square() -> None:
    sigma = torch.tensor([[1.0, 0.5, 0.01]])
    assert level_weight(sigma, ObjectiveConfig(weighting="velocity")).tolist()[0] == pytest.approx(
        [1.0, 4.0, 25.0]
    )
    assert level_weight(sigma, ObjectiveConfig()).tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize(("absolute", "one", "both"), [(0.0, 1.0, 5.0), (0.5, 1.5, 6.0)])
def test_weighted_error_ignores_what_weighs_nothing(
    absolute: float, one: float, both: float
) -> None:
    target = torch.zeros(1, 2, 2, 3, 4, 4)
    predicted = torch.ones_like(target)
    predicted[:, 1] = 100.0
    predicted[:, 0, 1] = 3.0
    frames = torch.tensor([[1.0, 0.0]])
    all_views, one_view = torch.ones(1, 2, 2), torch.tensor([[[1.0, 0.0]] * 2])

    def error(weight: torch.Tensor) -> float:
        return float(weighted_error(predicted, target, weight, absolute))

    assert error(frame_weights(frames, all_views)) == both
    assert error(frame_weights(frames, one_view)) == one
    assert error(frame_weights(torch.zeros(1, 2), all_views)) == 0.0


def reading(state_dim: int) -> StateReading:
    return StateReading(
        torch.zeros(1, 2, 3),
        torch.zeros(1, 2, state_dim),
        torch.zeros(1, 2),
        torch.full((1, 2), 0.5),
    )


def test_reading_losses_are_weighted_and_skip_an_unrecorded_state() -> None:
    frames = torch.tensor([[1.0, 0.0]])
    targets = {
        "agent_pos": torch.full((1, 2, 3), 2.0),
        "state": torch.zeros(1, 2, 0),
        "success": torch.tensor([[1.0, 0.0]]),
        "progress": torch.tensor([[1.0, 9.0]]),
    }
    config = ObjectiveConfig(agent_pos=1.0, state=1.0, success=2.0, progress=4.0)
    loss = reading_losses(reading(0), targets, frames, config, success_weight=3.0)
    log2 = 0.6931472
    assert {k: round(float(v), 4) for k, v in loss.logs.items()} == {
        "agent_pos": 1.5,  # Huber: 2 - 1/2
        "state": 0.0,
        "success": round(3 * log2, 4),
        "progress": 0.25,
    }
    assert float(loss.total) == pytest.approx(1.5 + 2 * 3 * log2 + 4 * 0.25)


def test_success_balance() -> None:
    assert success_balance(torch.tensor([1, 0, 0, 0])) == 3.0
    assert success_balance(torch.zeros(5)) == 1.0
    assert success_balance(torch.ones(5)) == 1.0
    assert success_balance(torch.cat([torch.ones(1), torch.zeros(999)])) == 20.0


def test_rollouts_grow_over_their_phase() -> None:
    config = RolloutConfig(start=0.5, frames=4, frames_end=8)
    assert [config.length(f) for f in (0.0, 0.5, 0.75, 1.0)] == [4, 4, 6, 8]
    with pytest.raises(UsageError, match="frames is 0"):
        RolloutConfig(frames=0)


@pytest.mark.parametrize("chunks", [1, 2, 5, 8])
@pytest.mark.parametrize(
    "schedule",
    [rolling((1.0, 0.75, 0.5, 0.25, 0.0)), Schedule((1.0, 0.6, 0.3, 0.0), 1, 2, 4)],
    ids=str,
)
def test_tiles_cover_every_chunk_once_at_every_offset(schedule: Schedule, chunks: int) -> None:
    for offset in range(schedule.steps):
        passes = gradient_passes(schedule, chunks, offset)
        assert len(passes) == len(list(schedule.rows(chunks)))
        assert sorted(c for chosen in passes for c in chosen.values()) == list(range(chunks))


def test_autoregressive_rollouts_train_the_pass_that_finishes() -> None:
    passes = gradient_passes(autoregressive((1.0, 0.5, 0.0)), 3, 0)
    assert passes == [{}, {0: 0}, {}, {0: 1}, {}, {0: 2}]


def test_schedules_of_rollouts() -> None:
    draw = torch.Generator().manual_seed(0)
    ladder = (1.0, 0.75, 0.5, 0.25, 0.0)
    shorter = {RolloutConfig(most_steps=4).schedule(draw).sigmas for _ in range(60)}
    assert shorter == {tuple(sampling_sigmas(s).tolist()) for s in range(1, 5)}
    left = {RolloutConfig(most_steps=4, exit="random").schedule(draw).sigmas for _ in range(60)}
    assert left == {(*ladder[:s], 0.0) for s in range(1, 5)}
    mixed = [RolloutConfig(most_steps=4, rolling=0.5).schedule(draw) for _ in range(60)]
    assert {schedule.slope == 1 and schedule.steps == 4 for schedule in mixed} == {True, False}
    with pytest.raises(UsageError, match="exit"):
        RolloutConfig(exit="never")  # type: ignore[arg-type]
