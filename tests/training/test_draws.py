"""Randomness by step, schedule, averaging: closed forms."""

import math

import pytest
import torch
from torch import nn

from worldsim.errors import UsageError
from worldsim.training.batches import EpochOrder, mix, stream
from worldsim.training.config import CosineSchedule, FitConfig
from worldsim.training.loop import EmaCallback
from worldsim.training.progress import rate_factor


def test_every_item_comes_once_an_epoch_whatever_the_batch_size() -> None:
    order = EpochOrder(7, seed=1)
    drawn = torch.cat([order[start : start + 5] for start in range(0, 35, 5)])
    for epoch in drawn.reshape(-1, 7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert drawn[:7].tolist() != drawn[7:14].tolist()


def test_order_can_be_entered_anywhere() -> None:
    whole = EpochOrder(7, seed=1)[0:40]
    assert torch.equal(EpochOrder(7, seed=1)[13:40], whole[13:])
    assert not torch.equal(EpochOrder(7, seed=2)[0:40], whole)


def test_one_batch_may_span_several_epochs() -> None:
    assert torch.bincount(EpochOrder(3, seed=0)[0:12]).tolist() == [4, 4, 4]


def test_nothing_to_draw_from_is_said() -> None:
    with pytest.raises(UsageError, match="nothing to train on"):
        EpochOrder(0, seed=0)


def test_streams_differ_by_every_part_of_their_path() -> None:
    seeds = {mix(0, "a", 1), mix(0, "a", 2), mix(0, "b", 1), mix(1, "a", 1)}
    assert len(seeds) == 4
    assert torch.equal(
        torch.rand(3, generator=stream(5, "x")), torch.rand(3, generator=stream(5, "x"))
    )


def test_schedule_at_its_corners() -> None:
    schedule = CosineSchedule(warmup=0.2, final=0.1)
    assert rate_factor(schedule, 0.0) == 0.0
    assert rate_factor(schedule, 0.1) == pytest.approx(0.5)
    assert rate_factor(schedule, 0.2) == pytest.approx(1.0)
    assert rate_factor(schedule, 0.6) == pytest.approx(0.55)
    assert rate_factor(schedule, 0.4) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert rate_factor(schedule, 1.0) == rate_factor(schedule, 2.0) == pytest.approx(0.1)
    assert rate_factor(CosineSchedule(warmup=0.0), 0.0) == 1.0


@pytest.mark.parametrize("wrong", [{"warmup": 1.0}, {"warmup": -0.1}, {"final": 1.5}])
def test_schedule_refuses_nonsense(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        CosineSchedule(**wrong)


def constant(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def ema_of(network: nn.Module, decay: float) -> EmaCallback:
    return EmaCallback(network, FitConfig(ema_decay=decay))


def shadow(ema: EmaCallback) -> float:
    return float(ema.state_dict()["shadow"]["weight"])


def test_average_follows_the_recursion_with_its_warm_up() -> None:
    network, expected = constant(0.0), 0.0
    ema = ema_of(network, decay=0.5)
    for step in range(1, 12):
        nn.init.constant_(network.weight, float(step))
        ema.averaged.update_parameters(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert shadow(ema) == pytest.approx(expected, rel=1e-5)


def test_average_is_applied_for_a_while_and_survives_a_reload() -> None:
    network = constant(1.0)
    ema = ema_of(network, decay=0.9)
    nn.init.constant_(network.weight, 3.0)
    with ema.applied():
        assert float(network.weight.detach()) == 1.0
    assert float(network.weight.detach()) == 3.0
    ema.averaged.update_parameters(network)
    twin = ema_of(constant(0.0), decay=0.9)
    twin.load_state_dict(ema.state_dict())
    assert twin.state_dict()["updates"] == 1 and shadow(twin) == shadow(ema)
    nn.init.constant_(network.weight, 5.0)
    for each in (ema, twin):
        each.averaged.update_parameters(network)
    assert shadow(twin) == shadow(ema) != 3.0


def test_frozen_weights_are_not_kept() -> None:
    network = nn.Sequential(constant(1.0), constant(2.0).requires_grad_(False))
    assert set(ema_of(network, 0.9).state_dict()["shadow"]) == {"0.weight"}
