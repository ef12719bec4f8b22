"""The dynamics stage learns walls and pushes from recorded numbers, over whole rollouts."""

import copy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from square_world import SPEC, STEP

from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.tabletop.contact_dynamics import ContactDynamics
from worldsim.training.losses.dynamics import DynamicsLoss, DynamicsPlan, StateTable, open_loop_gaps

LOW, HIGH, TOUCH = 0.03, 0.29, 0.04
"""Walls, and how near a hand drags a block along, in metres."""
PLAN = DynamicsPlan(horizon=4)


@pytest.fixture(scope="module")
def walks() -> CachedDataset:
    """300 episodes of the square world in numbers alone, their blocks near their hands."""
    rng = np.random.default_rng(0)
    hand, block = np.zeros((300, 13, 3), np.float32), np.zeros((300, 13, 2), np.float32)
    action = np.zeros((300, 13, 3), np.float32)
    hand[:, 0] = [0.0, 0.0, 0.1]
    hand[:, 0, :2] = rng.uniform(0.06, 0.26, (300, 2))
    block[:, 0] = np.clip(hand[:, 0, :2] + rng.uniform(-0.08, 0.08, (300, 2)), LOW, HIGH)
    action[:, :12, :2] = rng.uniform(-1, 1, (300, 12, 2))
    for t in range(12):
        moved = np.clip(hand[:, t, :2] + STEP / 100 * action[:, t, :2], LOW, HIGH)
        touched = np.abs(moved - block[:, t]).max(axis=1, keepdims=True) < TOUCH
        dragged = np.clip(block[:, t] + moved - hand[:, t, :2], LOW, HIGH)
        block[:, t + 1] = np.where(touched, dragged, block[:, t])
        hand[:, t + 1, :2], hand[:, t + 1, 2] = moved, 0.1
    arrays = {"agent_pos": hand, "state": block, "action": action}
    known = np.tile(np.arange(13) < 12, 300)
    flat = {name: values.reshape(300 * 13, -1) for name, values in arrays.items()}
    world: Any = SimpleNamespace(
        **flat, action_mask=known, spec=SPEC, rows=lambda e: slice(13 * e, 13 * e + 13)
    )
    return cast(CachedDataset, world)


def new(data: CachedDataset, episodes: range) -> tuple[ContactDynamics, StateTable]:
    torch.manual_seed(0)
    dynamics = ContactDynamics(DynamicsConfig(width=64, depth=1), data.spec)
    table = StateTable(dynamics, data, episodes)
    table.fit_scales(dynamics)
    return dynamics, table


@pytest.fixture(scope="module")
def fitted(walks: CachedDataset) -> ContactDynamics:
    dynamics, table = new(walks, range(280))
    loss, draw = DynamicsLoss(dynamics, PLAN), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(dynamics.parameters(), 6e-3)
    steps = 800
    for step in range(steps):
        chosen = torch.randint(len(table.starts), (64,), generator=draw)
        optimizer.zero_grad()
        batch = table.window(table.starts[chosen], PLAN.horizon)
        loss(batch, step / steps, draw).total.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = 6e-3 * (1 - step / steps)
        optimizer.step()
    return dynamics.requires_grad_(False)


def test_windows_stay_inside_their_episode(walks: CachedDataset) -> None:
    dynamics, table = new(walks, range(3))
    rows = walks.rows(1)
    first = rows.start
    window = table.window(torch.tensor([first, rows.stop - 2]), 3)
    recorded = torch.from_numpy(np.concatenate([walks.agent_pos, walks.state], 1))
    # A first frame has nothing before it; past the last one nothing counts.
    assert torch.equal(
        window["state"][0], recorded[[first, first, first + 1, first + 2, first + 3]]
    )
    assert window["inside"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert torch.equal(window["action"][0], torch.tensor(walks.action[first : first + 3]))
    assert torch.equal(window["state"][1, 1:3], recorded[rows.stop - 2 : rows.stop])


def test_data_without_actions_leave_no_starts(walks: CachedDataset) -> None:
    unknown = copy.copy(walks)
    object.__setattr__(unknown, "action_mask", np.zeros_like(walks.action_mask))
    dynamics = ContactDynamics(DynamicsConfig(width=8, depth=0), walks.spec)
    assert not len(StateTable(dynamics, unknown, range(3)).starts)


def test_only_rows_with_an_action_are_starts(walks: CachedDataset) -> None:
    _, table = new(walks, range(3))
    assert len(table.starts) == sum(walks.rows(e).stop - walks.rows(e).start - 1 for e in range(3))


def test_follows_whole_unseen_episodes(walks: CachedDataset, fitted: ContactDynamics) -> None:
    found = open_loop_gaps(fitted, walks, range(280, 300), (1, 10))
    held, _ = new(walks, range(280))  # untrained: everything stays where it is
    still = open_loop_gaps(held, walks, range(280, 300), (1, 10))
    assert found["ee"][1] < 0.003 and found["ee"][10] < 0.015
    assert found["ee"][10] < 0.3 * still["ee"][10]
    assert set(found) == {"ee", "object"}


def test_rollouts_grow_from_single_steps_to_the_horizon() -> None:
    plan = DynamicsPlan(horizon=10, single=0.5)
    lengths = [plan.rollout_steps(step / 100) for step in range(101)]
    assert lengths == sorted(lengths) and lengths[50] == 1 and set(lengths) >= {1, 2, 3, 5, 10}
    assert lengths[90:] == [10] * 11
    with pytest.raises(UsageError, match="single is 0.95"):
        DynamicsPlan(single=0.95)


@pytest.mark.parametrize("fraction", [0.0, 0.75, 1.0])
def test_every_step_of_a_window_is_learnt_from(walks: CachedDataset, fraction: float) -> None:
    dynamics, table = new(walks, range(20))
    plan = DynamicsPlan(horizon=4, start_noise=0.0)
    loss = DynamicsLoss(dynamics, plan)
    window = table.window(table.first[:1], 4)
    for step in range(4):
        moved = {**window, "state": window["state"].clone()}
        moved["state"][:, 2 + step, 0] += 0.01
        one, other = (
            float(loss(batch, fraction, torch.Generator().manual_seed(0)).total.detach())
            for batch in (window, moved)
        )
        assert one != other


def test_stops_at_the_wall(fitted: ContactDynamics) -> None:
    body = torch.tensor([[HIGH - 0.01, 0.16, 0.1, 0.16, 0.25]])
    action = torch.tensor([[1.0, 0.0, 0.0]])
    assert STEP / 100 > 0.01  # the wall lies within reach
    after = fitted.step(body, body, action, torch.ones(1))
    assert float(after[0, 0]) == pytest.approx(HIGH, abs=0.003)


def test_what_is_touched_moves_and_what_is_not_stays(fitted: ContactDynamics) -> None:
    action, told = torch.tensor([[0.6, 0.0, 0.0]]), torch.ones(1)
    far = torch.tensor([[0.12, 0.12, 0.1, 0.20, 0.20]])
    apart = fitted.step(far, far, action, told)
    assert float((apart - far)[0, 3:].abs().max()) < 0.003
    near = torch.tensor([[0.16, 0.16, 0.1, 0.17, 0.16]])
    pushed = fitted.step(near, near, action, told)
    assert float((pushed - near)[0, 3]) == pytest.approx(0.018, abs=0.01)


def test_loss_ignores_what_lies_past_the_end(walks: CachedDataset) -> None:
    dynamics, table = new(walks, range(3))
    loss = DynamicsLoss(dynamics, DynamicsPlan(horizon=3, start_noise=0.0, forget=0.0))
    window = table.window(torch.tensor([walks.rows(0).stop - 2]), 3)
    wrong = copy.deepcopy(window)
    wrong["state"][:, 3:] += 1.0
    one, other = (loss(w, 1.0, torch.Generator().manual_seed(0)).total for w in (window, wrong))
    assert torch.equal(one, other) and bool(one > 0)


def test_windows_are_turned_over_along_either_axis_or_both(walks: CachedDataset) -> None:
    dynamics, table = new(walks, range(3))
    loss = DynamicsLoss(dynamics, DynamicsPlan(horizon=3, mirror=("x", "y")))
    window = table.window(table.starts[:1].expand(64), 3)
    body, action = loss._mirrored(
        window["state"], window["action"], torch.Generator().manual_seed(0)
    )
    seen = set()
    for there, led in zip(body / window["state"], action / window["action"], strict=True):
        x, y = float(there[0, 0]), float(there[0, 1])
        seen.add((x, y))
        # Hand x, y, z and block x, y, at every step; the action's third entry is zero.
        torch.testing.assert_close(there, torch.tensor([x, y, 1.0, x, y]).expand_as(there))
        torch.testing.assert_close(led[:, :2], torch.tensor([x, y]).expand(3, 2))
    assert seen == {(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)}


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"forget": 1.5}, {"start_noise": -1.0}])
def test_wrong_plans_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))} is"):
        DynamicsPlan(**wrong)  # type: ignore[arg-type]


def test_nothing_is_measured_where_no_episode_is_held_out(walks: CachedDataset) -> None:
    assert open_loop_gaps(new(walks, range(3))[0], walks, [], (1, 10)) == {}
