"""What a memory tells reaches a denoiser by its reference, and an empty one changes nothing."""

from dataclasses import replace

import pytest
import torch
from test_denoiser_contract import LATENT, SHAPE, clip, make
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView, reference
from worldsim.models.denoisers.base import DenoiserConfig, build_denoiser, registered_denoisers
from worldsim.rows import join_rows, take_rows


def remembered(latents: Tensor, coverage: float) -> MemoryView:
    """A memory that renders `latents`, covering every cell alike."""
    null = MemoryView.null(latents)
    return replace(null, render=latents, coverage=torch.full_like(null.coverage, coverage))


def test_a_reference_is_the_previous_frame_or_the_render_or_between() -> None:
    previous, render = torch.randn(2, 3, *LATENT), torch.randn(2, 3, *LATENT)
    none, half = torch.zeros(2, 3, 3, 1, 8, 8), torch.full((2, 3, 3, 1, 8, 8), 0.5)
    assert torch.equal(reference(previous, render, none), previous)
    assert torch.equal(reference(previous, render, none + 1), render)
    torch.testing.assert_close(reference(previous, render, half), (previous + render) / 2)


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(registered_denoisers()))
def test_an_empty_memory_changes_no_bit(name: str) -> None:
    model, (x, sigma, cond) = make(name), clip(4)
    empty = replace(cond, memory=MemoryView.null(x))
    assert torch.equal(model(x, sigma, empty), model(x, sigma, cond))


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(registered_denoisers()))
def test_an_untrained_model_shows_what_is_remembered_where_it_is(name: str) -> None:
    torch.manual_seed(0)
    fresh = build_denoiser(DenoiserConfig(name, 32, 1, 32, 16), SHAPE)
    x, _, cond = clip(2)
    sigma = torch.tensor([[0.0, 1.0]]).expand(2, -1)
    memory = remembered(torch.randn(2, 2, *LATENT), 1.0)
    memory.coverage[:, :, :, :, :, 4:] = 0.0
    out = fresh(x, sigma, replace(cond, memory=memory))[:, 1]
    torch.testing.assert_close(out[..., :4], memory.render[:, 1, ..., :4], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out[..., 4:], x[:, 0, ..., 4:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(registered_denoisers()))
def test_the_network_sees_the_render_as_its_predecessor(name: str) -> None:
    model, (x, sigma, cond) = make(name), clip(3)
    one, other = (
        model(x, sigma, replace(cond, memory=remembered(torch.full_like(x, value), 1.0)))
        for value in (0.0, 1.0)
    )
    model.predicts_residual = False
    bare = model(x, sigma, replace(cond, memory=remembered(torch.ones_like(x), 1.0)))
    assert (other - one).abs().max() > 0 and not torch.allclose(bare, other)
    assert (bare - model(x, sigma, cond)).abs().max() > 1e-4


def test_conditions_carry_their_memory_frame_by_frame() -> None:
    x, _, cond = clip(4)
    cond = replace(cond, memory=remembered(x, 1.0))
    early, late = cond.frames(0, 1), cond.frames(1, 4)
    assert early.memory is not None and torch.equal(early.memory.render, x[:, :1])
    joined = early.then(late)
    assert joined.memory is not None and torch.equal(joined.memory.render, x)
    picked = cond.pick(torch.tensor([3, 0])).memory
    assert picked is not None and torch.equal(picked.render, x[:, [3, 0]])
    half = cond.to(torch.float16).memory
    assert half is not None and half.render.dtype == torch.float16


def test_frames_with_and_without_a_memory_do_not_follow_each_other() -> None:
    x, _, cond = clip(2)
    with pytest.raises(UsageError, match=r"MemoryView\.null"):
        cond.then(replace(cond, memory=MemoryView.null(x)))


def test_the_memory_of_conditions_follows_their_rows() -> None:
    x, _, cond = clip(2, batch=3)
    cond = replace(cond, memory=remembered(x, 1.0))
    branched = take_rows(cond, [2, 2]).memory
    assert branched is not None and torch.equal(branched.render, x[[2, 2]])
    both = join_rows(cond, cond).memory
    assert both is not None and torch.equal(both.render, torch.cat([x, x]))
