"""The ring: what is kept, how old it is, and that envs do not touch each other."""

from dataclasses import fields

import torch

from worldsim.models.denoisers.base import ContextShape
from worldsim.sampling.context import Context, new_context

SHAPE = ContextShape(layers=1, tokens=1, heads=1, head_dim=2)
SINK, RECENT = 1, 3


def fill(frames: int, batch: int = 2) -> Context:
    """A context into which frame number f was written with keys equal to f."""
    context = new_context(batch, SHAPE, (1, 1, 1, 1), sink=SINK, recent=RECENT)
    for f in range(frames):
        push(context, float(f))
    return context


def push(context: Context, value: float) -> None:
    batch = len(context.count)
    keys = torch.full((batch, 1, 1, 1, 2), value)
    context.write(0, keys, -keys)
    context.commit(torch.full((batch, 1, 1, 1, 1, 1), value), torch.zeros(batch, 1))


def held(context: Context, row: int = 0) -> dict[int, int]:
    """{frame number: age} of the valid slots of one row."""
    keys = context.read(0)[0][row, :, 0, 0, 0]
    valid, ages = context.valid()[row], context.ages()[row]
    return {int(k): int(a) for k, v, a in zip(keys, valid, ages, strict=True) if v}


def test_empty_context_shows_nothing() -> None:
    context = fill(0)
    assert not context.valid().any()
    assert (context.predecessors()[1] == 1).all()


def test_before_wrapping_every_frame_is_held_with_its_true_age() -> None:
    for frames in range(1, SINK + RECENT + 1):
        assert held(fill(frames)) == {f: frames - f for f in range(frames)}


def test_after_wrapping_sink_and_recent_frames_stay_and_the_gap_is_closed() -> None:
    for frames in (5, 6, 9, 50):
        recent = {f: frames - f for f in range(frames - RECENT, frames)}
        assert held(fill(frames)) == {0: SINK + RECENT} | recent


def test_keys_and_values_stay_together() -> None:
    keys, values = fill(7).read(0)
    torch.testing.assert_close(keys, -values)


def test_several_frames_at_once_equal_one_by_one() -> None:
    together = fill(3)
    keys = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1, 1).expand(2, 2, 1, 1, 2)
    together.write(0, keys, -keys)
    together.commit(torch.zeros(2, 2, 1, 1, 1, 1), torch.zeros(2, 2))
    assert held(together) == held(fill(5))


def test_reset_touches_no_other_env() -> None:
    context = fill(6)
    context.reset([0])
    assert held(context, 0) == {}
    assert held(context, 1) == held(fill(6), 1)
    push(context, 6.0)
    assert held(context, 0) == {6: 1}
    assert held(context, 1) == held(fill(7), 1)


def test_fork_is_independent() -> None:
    context = fill(5)
    twin = context.fork()
    push(twin, 99.0)
    assert held(context) == held(fill(5))
    assert 99 in held(twin)


def test_select_orders_and_repeats_rows() -> None:
    context = fill(4)
    context.reset([1])
    chosen = context.select([1, 0, 0])
    assert held(chosen, 0) == {}
    assert held(chosen, 1) == held(chosen, 2) == held(fill(4))


def test_shapes_do_not_grow() -> None:
    assert fill(3).keys.shape == fill(300).keys.shape


def test_full_is_said_only_when_every_row_is() -> None:
    slots = SINK + RECENT
    assert [fill(frames).full for frames in range(slots + 2)] == [False] * slots + [True, True]
    context = fill(slots)
    assert context.fork().full
    assert context.select([1, 0]).full
    assert not context.joined(fill(slots - 1)).full
    rows = context.fork()
    rows.put([0], fill(1, batch=1))
    assert not rows.full
    context.reset([0])
    assert not context.full
    for _ in range(slots):
        push(context, 0.0)
    assert context.full
    assert context.valid().all()


def test_every_tensor_of_a_context_is_selected_joined_put_and_detached() -> None:
    """A field that is left out would belong to other rows than the rest, or drag a graph along."""
    context = fill(3)
    held_by_fields = {f.name for f in fields(context) if torch.is_tensor(getattr(context, f.name))}
    assert set(context.tensors()) == held_by_fields
    for name, each in context.tensors().items():
        numbered = torch.arange(each.numel(), dtype=each.dtype).reshape(each.shape)
        setattr(context, name, numbered.requires_grad_(each.is_floating_point()))
    swapped = context.select([1, 0])
    both = swapped.joined(context)
    for name, each in context.tensors().items():
        axis = 1 if name in ("keys", "values") else 0
        assert torch.equal(swapped.tensors()[name], each.flip(axis))
        assert torch.equal(both.tensors()[name], torch.cat([each.flip(axis), each], axis))
    context.detach()
    assert not any(each.requires_grad for each in context.tensors().values())
    context.put([0, 1], swapped.detach())
    for name, each in context.tensors().items():
        assert torch.equal(each, swapped.tensors()[name])
