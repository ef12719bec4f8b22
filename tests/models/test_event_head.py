"""The event head: its loss, what it learns, how it turns, and where there is none."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from event_testing import event_model
from toy_room_data import SPEC
from worldsim_testing import nano_model, nano_spec

from worldsim.cameras.facing import Facing
from worldsim.errors import UsageError
from worldsim.files import read_json, write_json
from worldsim.models.blocks import RAREST, balanced_loss
from worldsim.models.heads.build import build_heads
from worldsim.models.heads.events import EventHead
from worldsim.models.heads.state import HeadConfig
from worldsim.models.padding import surround_convolutions
from worldsim.models.transfer import transferred
from worldsim.models.world_model import WorldModel


def test_the_loss_of_an_all_right_head_is_none_and_of_an_undecided_one_a_bit() -> None:
    told = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert float(balanced_loss(40 * (2 * told - 1), told)) < 1e-6
    assert float(balanced_loss(-40 * (2 * told - 1), told)) == pytest.approx(40)
    assert float(balanced_loss(torch.zeros(4, 2), told)) == pytest.approx(math.log(2))


def test_both_outcomes_of_each_event_weigh_alike() -> None:
    torch.manual_seed(0)
    logit, told = torch.randn(10, 2), torch.zeros(10, 2)
    told[0, 0], told[:7, 1] = 1.0, 1.0
    each = torch.nn.functional.binary_cross_entropy_with_logits(logit, told, reduction="none")
    halves = [
        (each[told[:, e] > 0.5, e].mean() + each[told[:, e] < 0.5, e].mean()) / 2 for e in (0, 1)
    ]
    torch.testing.assert_close(balanced_loss(logit, told), torch.stack(halves).mean())


def test_frames_without_weight_do_not_count_and_no_frame_weighs_without_bound() -> None:
    torch.manual_seed(0)
    logit, told = torch.randn(6, 3), (torch.rand(6, 3) > 0.5).float()
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    kept = weight > 0
    found = balanced_loss(logit, told, weight)
    torch.testing.assert_close(found, balanced_loss(logit[kept], told[kept]))
    assert float(balanced_loss(logit, told, torch.zeros(6))) == 0.0
    rare = torch.zeros(1000)
    rare[0] = 1.0
    wrong = balanced_loss(-1000.0 * rare, rare)
    assert float(wrong) == pytest.approx(0.5 / RAREST + 0.5 / (1 - RAREST) * math.log(2), rel=1e-2)


def pairs(count: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Frames of which some cell changes or none, and an action; told is [changed, both at once]."""
    draws = torch.Generator().manual_seed(seed)
    before = torch.randn(count, 2, 3, 4, 6, generator=draws)
    changed = torch.rand(count, generator=draws) < 0.3
    action = (torch.rand(count, 1, generator=draws) < 0.5).float()
    after, rows = before.clone(), torch.arange(count)
    places = [torch.randint(size, (count,), generator=draws) for size in (2, 4, 6)]
    after[rows, places[0], 1, places[1], places[2]] += 3.0 * changed
    told = torch.stack([changed, changed & (action[:, 0] > 0.5)], dim=-1).float()
    return before, after, action, told


def test_it_learns_what_changed_between_two_frames_and_by_which_action() -> None:
    torch.manual_seed(0)
    head = EventHead(12, 2, (3, 4, 6), 1, 2)
    optimizer = torch.optim.Adam(head.parameters(), 5e-3)
    for step in range(150):
        before, after, action, told = pairs(48, step)
        loss = balanced_loss(head(before, after, action, torch.ones(48)), told)
        if step == 0:
            assert float(loss.detach()) == pytest.approx(math.log(2), abs=0.02), "undecided"
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    before, after, action, told = pairs(400, 10_000)
    with torch.no_grad():
        said = head(before, after, action, torch.ones(400)) > 0
    right = (said == (told > 0.5)).float().mean(0)
    assert (right > 0.95).all(), right
    # The same frames by another action; an unknown one is neither.
    with torch.no_grad():
        hidden = head(before, after, action, torch.zeros(400))
        other = head(before, after, 1 - action, torch.zeros(400))
    assert torch.equal(hidden, other)


def test_an_event_is_read_alike_whatever_way_the_agent_faces() -> None:
    torch.manual_seed(0)
    facing = Facing.of(SPEC)
    head = build_heads(HeadConfig(width=8, events=True), SPEC, (4, 8, 16), facing).events
    assert head is not None and head.facing == facing
    with torch.no_grad():
        for parameter in head.out.parameters():
            parameter.normal_()
    surround_convolutions(head, SPEC.cameras)
    before, after = torch.randn(2, 3, 1, 4, 8, 16).unbind(0)
    action, known = torch.randn(3, SPEC.action.dim), torch.ones(3)
    none = torch.zeros(3, 1)
    quarter = torch.full((3, 1), torch.pi / 2)
    ahead = head(before, after, action, known, None, none)
    # A quarter to the left: what was in the middle of the latents is four columns to the left.
    turned = head(before.roll(-4, -1), after.roll(-4, -1), action, known, None, quarter)
    torch.testing.assert_close(turned, ahead, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(head(before, after, action, known, None, quarter), ahead, atol=1e-3)


def test_missing_views_do_not_count() -> None:
    model = event_model("touched")
    assert model.event_head is not None
    before, after = torch.randn(2, 2, model.views, *model.latent_shape).unbind(0)
    mask = torch.ones(2, model.views)
    mask[:, 1] = 0
    other = after.clone()
    other[:, 1] += 5.0
    given = torch.zeros(2, model.spec.action.dim), torch.ones(2), mask
    found = model.event_head(before, other, *given)
    torch.testing.assert_close(found, model.event_head(before, after, *given))


def test_it_is_saved_and_loaded_and_models_from_before_have_none(tmp_path: Path) -> None:
    model = event_model("touched", "dropped")
    model.save_pretrained(tmp_path / "new")
    again = WorldModel.from_pretrained(tmp_path / "new")
    assert again.event_head is not None
    pair = torch.randn(2, 3, model.views, *model.latent_shape).unbind(0)
    given = torch.randn(3, model.spec.action.dim), torch.ones(3)
    assert model.event_head is not None
    torch.testing.assert_close(again.event_head(*pair, *given), model.event_head(*pair, *given))
    nano_model().save_pretrained(tmp_path / "old")
    stored = read_json(tmp_path / "old" / "config.json")
    del stored["config"]["head"]["events"], stored["config"]["event_labels"]
    write_json(tmp_path / "old" / "config.json", stored)
    assert WorldModel.from_pretrained(tmp_path / "old").event_head is None


def test_a_world_that_tells_no_events_has_no_head() -> None:
    config = nano_model().config
    wanted = replace(config, head=replace(config.head, events=True))
    with pytest.raises(UsageError, match=r"tells none.*model.head.events=false"):
        WorldModel(wanted, nano_spec())


def test_one_head_more_leaves_the_others_as_they_are() -> None:
    config = nano_model().config
    spec, found = replace(nano_spec(), events=("touched",)), []
    for events in (False, True):
        torch.manual_seed(0)
        found.append(WorldModel(replace(config, head=replace(config.head, events=events)), spec))
    plain, more = (model.state_dict() for model in found)
    assert all(torch.equal(weight, more[name]) for name, weight in plain.items())
    assert {name.split(".")[0] for name in more.keys() - plain.keys()} == {"event_head"}


def test_shared_events_are_those_of_the_model_it_begins_with() -> None:
    source = event_model("touched", "dropped")
    spec = replace(nano_spec(), events=("opened", "dropped"))
    model = transferred(source, spec, source.config.dynamics).eval()
    assert source.event_head is not None and model.event_head is not None
    pair = torch.randn(2, 3, model.views, *model.latent_shape).unbind(0)
    given = torch.randn(3, spec.action.dim), torch.ones(3)
    ours, theirs = (each.event_head(*pair, *given) for each in (model, source))  # type: ignore[misc]
    torch.testing.assert_close(ours[:, 1], theirs[:, 1])
    assert transferred(source, nano_spec(), source.config.dynamics).event_head is None
