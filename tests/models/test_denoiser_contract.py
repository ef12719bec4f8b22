"""One suite over every registered backbone: shapes, causality, cache, missing views, dropout."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.denoisers.base import (
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    build_denoiser,
    registered_denoisers,
)
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.rows import take_rows
from worldsim.sampling.context import Context, new_context

MAPS = 24
SHAPE = DenoiserShape(3, 4, 8, 8, action_dim=5, state_dim=6, map_channels=MAPS)
LATENT = (3, 4, 8, 8)


def make(name: str) -> Denoiser:
    """A small backbone with every zero-initialised layer shaken, so that all paths count."""
    torch.manual_seed(0)
    model = build_denoiser(
        DenoiserConfig(name, width=32, depth=2, cond_width=32, head_dim=16), SHAPE
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
    return model.eval()


def clip(frames: int, batch: int = 2, seed: int = 1) -> tuple[Tensor, Tensor, Conditioning]:
    """Latents, levels and conditions of a random clip."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng)

    cond = Conditioning(
        action=draw(batch, frames, 5),
        action_mask=torch.ones(batch, frames),
        before=draw(batch, frames, 6),
        after=draw(batch, frames, 6),
        maps=draw(batch, frames, 3, MAPS, 8, 8),
        view_mask=torch.ones(batch, frames, 3),
    )
    return draw(batch, frames, *LATENT), torch.rand(batch, frames, generator=rng), cond


def empty_context(model: Denoiser, batch: int = 2, recent: int = 7) -> Context:
    return new_context(batch, model.context_shape, LATENT, sink=1, recent=recent)


@pytest.fixture(params=sorted(registered_denoisers()))
def model(request: pytest.FixtureRequest) -> Denoiser:
    return make(request.param)


@torch.no_grad()
def test_shape_and_finiteness(model: Denoiser) -> None:
    x, sigma, cond = clip(5)
    out = model(x, sigma, cond)
    assert out.shape == x.shape
    assert out.isfinite().all()


@torch.no_grad()
def test_future_does_not_reach_the_past(model: Denoiser) -> None:
    x, sigma, cond = clip(6)
    before = model(x, sigma, cond)
    changed = x.clone()
    changed[:, 4:] += 1.0
    after = model(changed, sigma, cond)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().max() > 0.1


@torch.no_grad()
def test_cached_equals_uncached(model: Denoiser) -> None:
    x, sigma, cond = clip(8)
    full = model(x, sigma, cond)
    context = empty_context(model)
    for t in range(8):
        frame, level, row = x[:, t : t + 1], sigma[:, t : t + 1], cond.frames(t, t + 1)
        positions = context.count[:, None]
        out = model(frame, level, row, positions, context, write=1)
        context.commit(frame, level)
        torch.testing.assert_close(out[:, 0], full[:, t], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_several_frames_enter_the_cache_at_once(model: Denoiser) -> None:
    x, sigma, cond = clip(7)
    full = model(x, sigma, cond)
    context = empty_context(model)
    model(x[:, :3], sigma[:, :3], cond.frames(0, 3), None, context, write=3)
    context.commit(x[:, :3], sigma[:, :3])
    positions = context.count[:, None] + torch.arange(4)
    out = model(x[:, 3:], sigma[:, 3:], cond.frames(3, 7), positions, context)
    torch.testing.assert_close(out, full[:, 3:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_only_differences_of_positions_matter(model: Denoiser) -> None:
    x, sigma, cond = clip(5)
    positions = torch.arange(5).expand(2, -1)
    near, far = model(x, sigma, cond, positions), model(x, sigma, cond, positions + 1000)
    torch.testing.assert_close(near, far, atol=2e-4, rtol=2e-4)


@torch.no_grad()
def test_clean_frames_come_back_as_they_are_before_training() -> None:
    x, _, cond = clip(4)
    for name in sorted(registered_denoisers()):
        torch.manual_seed(0)
        fresh = build_denoiser(DenoiserConfig(name, 32, 1, 32, 16), SHAPE)
        out = fresh(x, torch.zeros(2, 4), cond)
        torch.testing.assert_close(out, x)


@torch.no_grad()
def test_untrained_model_repeats_a_clean_predecessor() -> None:
    x, _, cond = clip(2)
    sigma = torch.tensor([[0.0, 1.0]]).expand(2, -1)
    for name in sorted(registered_denoisers()):
        torch.manual_seed(0)
        fresh = build_denoiser(DenoiserConfig(name, 32, 1, 32, 16), SHAPE)
        out = fresh(x, sigma, cond)
        torch.testing.assert_close(out[:, 1], x[:, 0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_missing_view_does_not_reach_the_others(model: Denoiser) -> None:
    x, sigma, cond = clip(3)
    mask = torch.ones(2, 3, 3)
    mask[:, :, 2] = 0
    hidden = replace(cond, view_mask=mask)
    before = model(x, sigma, hidden)
    changed = x.clone()
    changed[:, :, 2] += 3.0
    after = model(changed, sigma, hidden)
    torch.testing.assert_close(after[:, :, :2], before[:, :, :2], atol=1e-5, rtol=1e-5)
    seen = model(changed, sigma, cond)
    assert (seen[:, :, :2] - after[:, :, :2]).abs().max() > 1e-3


def test_a_frame_without_any_view_harms_no_other(model: Denoiser) -> None:
    """As clips that are longer than their episode end."""
    x, sigma, cond = clip(5)
    whole = model(x, sigma, cond)
    mask = cond.view_mask.clone()
    mask[1, 3:] = 0.0
    out = model(x * mask[..., None, None, None], sigma, replace(cond, view_mask=mask))
    assert out.isfinite().all()
    torch.testing.assert_close(out[0], whole[0])
    torch.testing.assert_close(out[1, :3], whole[1, :3])
    (out * mask[..., None, None, None]).square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
def test_action_acts_by_token_and_by_map(model: Denoiser) -> None:
    x, sigma, cond = clip(3)
    before = model(x, sigma, cond)
    by_token = model(x, sigma, replace(cond, action=cond.action + 1.0))
    by_map = model(x, sigma, replace(cond, maps=cond.maps + 1.0))
    assert (by_token - before).abs().max() > 1e-3
    assert (by_map - before).abs().max() > 1e-3


@torch.no_grad()
def test_dropped_action_is_not_seen(model: Denoiser) -> None:
    x, sigma, cond = clip(3)
    other = replace(cond, action=cond.action + 1.0, maps=cond.maps - 1.0)
    mask, maps = torch.zeros(2, 3), torch.zeros_like(cond.maps)
    first, second = (replace(each, action_mask=mask, maps=maps) for each in (cond, other))
    torch.testing.assert_close(model(x, sigma, first), model(x, sigma, second))


@torch.no_grad()
def test_permuting_rows_permutes_the_output(model: Denoiser) -> None:
    x, sigma, cond = clip(3, batch=4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = take_rows(cond, order.tolist())
    out = model(x[order], sigma[order], shuffled)
    torch.testing.assert_close(out, model(x, sigma, cond)[order], atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter(model: Denoiser) -> None:
    x, sigma, cond = clip(3)
    model(x, sigma, cond).square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []


def test_unknown_backbone_is_refused() -> None:
    with pytest.raises(UsageError, match="stnet"):
        build_denoiser(DenoiserConfig("stnett"), SHAPE)
