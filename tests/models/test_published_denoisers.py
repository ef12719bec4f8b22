"""`svd` and `wan` compute what diffusers' networks compute, from folders that diffusers wrote."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel, WanTransformer3DModel
from torch import Tensor

from worldsim.config.compose import build, compose_config
from worldsim.diffusion.flow import add_noise
from worldsim.errors import DataError, UsageError
from worldsim.models.denoisers.base import (
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    build_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.published import PublishedConfig
from worldsim.models.world_model import WorldModelConfig

SHAPE = DenoiserShape(2, 4, 8, 8, action_dim=3, state_dim=2, map_channels=3)
BATCH, FRAMES, HISTORY = 2, 4, 3
CONFIGS = {
    "svd": DenoiserConfig("svd", 32, 1, cond_width=24, head_dim=16, history=HISTORY),
    "wan": DenoiserConfig("wan", 32, 2, cond_width=24, head_dim=16, history=HISTORY),
}


def their_svd() -> Any:
    torch.manual_seed(5)
    network: Any = UNetSpatioTemporalConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=1,
        cross_attention_dim=24,
        num_attention_heads=(2, 4, 8, 8),
    )
    return network.eval()


def their_wan(**sizes: Any) -> Any:
    torch.manual_seed(5)
    given = {"num_layers": 2, "ffn_dim": 128, "text_dim": 24} | sizes
    network: Any = WanTransformer3DModel(num_attention_heads=2, attention_head_dim=16, **given)
    return network.eval()


THEIRS: dict[str, Callable[[], Any]] = {
    "svd": their_svd,
    "wan": lambda: their_wan(in_channels=4, out_channels=4),
}
PART = {"svd": "unet", "wan": "transformer"}


def ours(name: str, folder: Path, **published: Any) -> Denoiser:
    torch.manual_seed(0)
    settings = PublishedConfig(weights=str(folder), **published)
    network = build_denoiser(replace(CONFIGS[name], published=settings), SHAPE)
    network.take_weights()
    return network.eval()


def clip(frames: int = FRAMES) -> tuple[Tensor, Conditioning]:
    rng = torch.Generator().manual_seed(2)

    def draw(*size: int) -> Tensor:
        return torch.randn(BATCH, frames, *size, generator=rng)

    ones = torch.ones(BATCH, frames)
    maps, views = draw(SHAPE.views, 3, 8, 8), ones[..., None].repeat(1, 1, SHAPE.views)
    cond = Conditioning(draw(3), ones, draw(2), draw(2), maps, views)
    return draw(SHAPE.views, 4, 8, 8), cond


class Told(torch.nn.Module):
    """In the conditioner's place: the same token for every frame and view."""

    def forward(self, *_: Any) -> Tensor:
        token = torch.linspace(-1, 1, 24)
        return token.expand(BATCH, FRAMES, SHAPE.views, 24)


def stacked(x: Tensor) -> Tensor:
    """`[B, T, V, c, h, w]` to `[B, T, c, V*h, w]`."""
    return torch.cat(x.unbind(2), dim=-2)


@torch.no_grad()
def test_svd_is_what_diffusers_computes_for_a_window(tmp_path: Path) -> None:
    """At one level, its image the predecessor, preconditioned as EDM (2206.00364, eq. 7)."""
    theirs = their_svd()
    theirs.save_pretrained(tmp_path)
    network = ours("svd", tmp_path)
    network.conditioner = Told()
    (x0, cond), level = clip(), 0.4
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(9))
    sigma = torch.full((BATCH, FRAMES), level)
    x = add_noise(x0, noise, sigma)
    found = network(x, sigma, cond)[:, -1]
    deviation = level / (1 - level)
    frames = stacked(x) / (1 - level)  # as EDM has them: clean latents beside noise
    shown = stacked(x)[:, -2:-1].expand_as(frames) / 0.18215
    scaled = frames / (deviation**2 + 1) ** 0.5
    out = theirs(
        torch.cat([scaled, shown], dim=2),
        0.25 * torch.tensor(deviation).log(),
        Told()()[:, 0],
        torch.tensor([[6.0, 127.0, level]]).repeat(BATCH, 1),
    ).sample[:, -1]
    c_skip, c_out = 1 / (deviation**2 + 1), -deviation / (deviation**2 + 1) ** 0.5
    expected = c_skip * frames[:, -1] + c_out * out
    torch.testing.assert_close(stacked(found[:, None])[:, 0], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_wan_is_what_diffusers_computes_for_frames_that_see_each_other(tmp_path: Path) -> None:
    """At a level for each frame; what is put out is the flow's velocity."""
    theirs = their_wan(in_channels=4, out_channels=4)
    theirs.save_pretrained(tmp_path / "transformer")
    network = ours("wan", tmp_path)
    network.conditioner = Told()
    x, cond = clip()
    sigma = torch.tensor([[0.1, 0.9, 0.5, 0.3], [1.0, 0.2, 0.7, 0.4]])
    found = stacked(network(x, sigma, cond, blocks=(FRAMES,)))
    tokens = SHAPE.views * 4 * 4
    velocity = theirs(
        stacked(x).transpose(1, 2),
        1000 * sigma.repeat_interleave(tokens, dim=1),
        Told()()[:, 0],
    ).sample.transpose(1, 2)
    expected = stacked(x) - sigma[..., None, None, None] * velocity
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    alone = stacked(network(x, sigma, cond))
    assert (alone[:, 0] - found[:, 0]).abs().max() > 1e-3  # which sees no later frame


@pytest.mark.parametrize("name", sorted(CONFIGS))
@torch.no_grad()
def test_what_is_new_begins_silent_and_tokens_do_not(name: str, tmp_path: Path) -> None:
    THEIRS[name]().save_pretrained(tmp_path / PART[name])
    network, (x, cond) = ours(name, tmp_path), clip()
    sigma = torch.full((BATCH, FRAMES), 0.6)
    before = network(x, sigma, cond)
    assert torch.equal(network(x, sigma, replace(cond, maps=cond.maps + 1)), before)
    assert (network(x, sigma, replace(cond, action=-cond.action)) - before).abs().max() > 1e-5


@pytest.mark.parametrize("name", sorted(CONFIGS))
@torch.no_grad()
def test_an_action_enters_the_frame_that_it_leads_to(name: str, tmp_path: Path) -> None:
    """And later ones by what they see of it; a chunk of actions is never spread over frames."""
    THEIRS[name]().save_pretrained(tmp_path / PART[name])
    network, (x, cond) = ours(name, tmp_path), clip()
    sigma = torch.full((BATCH, FRAMES), 0.6)
    action = cond.action.clone()
    action[:, 2] += 1.0
    moved = network(x, sigma, replace(cond, action=action)) - network(x, sigma, cond)
    largest = moved.abs().amax(dim=(0, 2, 3, 4, 5))
    assert largest[:2].max() == 0 and largest[2] > 1e-5


def test_other_networks_and_sizes_are_refused(tmp_path: Path) -> None:
    their_wan(in_channels=36, out_channels=4).save_pretrained(tmp_path / "image")
    THEIRS["wan"]().save_pretrained(tmp_path / "wan")
    with pytest.raises(UsageError, match="in_channels is 36, and the model's is 4"):
        ours("wan", tmp_path / "image")
    with pytest.raises(UsageError, match="'WanTransformer3DModel', expected a 'UNetSpatio"):
        ours("svd", tmp_path / "wan")
    with pytest.raises(UsageError, match="'unet' is trained here"):
        settings = PublishedConfig(weights=str(tmp_path / "wan"))
        build_denoiser(DenoiserConfig("unet", published=settings), SHAPE).take_weights()
    with pytest.raises(UsageError, match="multiple of 32"):
        build_denoiser(DenoiserConfig("svd", 48, 1, 24, 16), SHAPE)
    file = next((tmp_path / "wan").glob("*.safetensors"))
    file.unlink()
    with pytest.raises(DataError, match="only safetensors are read"):
        ours("wan", tmp_path / "wan")


def trained(network: Denoiser) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def test_part_of_a_network_may_be_trained(tmp_path: Path) -> None:
    THEIRS["svd"]().save_pretrained(tmp_path)
    network = ours("svd", tmp_path, trained=("temporal",))
    network.freeze()
    of_theirs = {name for name in trained(network) if name.startswith("net.")}
    assert of_theirs and all("temporal" in name for name in of_theirs)
    new = {name for name, _ in network.named_parameters() if not name.startswith("net.")}
    assert new <= trained(network)
    whole = ours("svd", tmp_path)
    whole.freeze()
    assert trained(whole) == {name for name, _ in whole.named_parameters()}
    with pytest.raises(UsageError, match="names 'tempural'"):
        ours("svd", tmp_path, trained=("tempural",)).freeze()


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_activations_computed_anew_give_the_same_gradients(name: str, tmp_path: Path) -> None:
    THEIRS[name]().save_pretrained(tmp_path)
    (x, cond), found = clip(), []
    sigma = torch.full((BATCH, FRAMES), 0.6)
    for anew in (False, True):
        network = ours(name, tmp_path, checkpointing=anew).train()
        passes: list[int] = []
        layer = next(m for n, m in network.named_modules() if n.endswith("attn1.to_q"))
        layer.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        network(x, sigma, cond).square().mean().backward()
        assert len(passes) == 1 + anew
        found.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and found[0]
    for parameter, gradient in found[0].items():
        torch.testing.assert_close(found[1][parameter], gradient, atol=1e-6, rtol=1e-4)


def test_gradients_of_narrow_images_are_numbers_in_bfloat16() -> None:
    """Which they are not where a convolution halves a single column; memory is soiled to tell."""
    shape = DenoiserShape(1, 4, 4, 4, action_dim=3, state_dim=2, map_channels=0)
    torch.manual_seed(0)
    network = build_denoiser(CONFIGS["svd"], shape).train()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    x, cond = clip()
    cond = replace(cond, maps=cond.maps[:, :, :1, :0, :4, :4], view_mask=cond.view_mask[..., :1])
    for _ in range(3):
        network.zero_grad()
        soiled = [torch.full((128, 128, 3, 3), torch.nan) for _ in range(8)]
        del soiled
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x[:, :, :1, :, :4, :4], torch.full((BATCH, FRAMES), 0.6), cond)
        out.float().square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def wan_parameters(width: int, layers: int, hidden: int, text: int) -> int:
    """By hand, of Wan 2.1 (2503.20314, section 4.2) as diffusers defines it."""
    attention = 4 * linear(width, width) + 2 * width
    feed_forward = linear(width, hidden) + linear(hidden, width)
    layer = 2 * attention + feed_forward + 2 * width + 6 * width
    patches = linear(16 * 4, width) + linear(width, 16 * 4)
    noise = linear(256, width) + linear(width, width) + linear(width, 6 * width)
    return layers * layer + patches + noise + linear(text, width) + linear(width, width) + 2 * width


PUBLISHED = {
    # Of stabilityai/stable-video-diffusion-img2vid, whose float16 file of the network is 3.05 GB.
    "svd": (1_524_623_082, 97_742_847),
    # Of Wan-AI/Wan2.1-T2V-1.3B, "1.3B"; its autoencoder is 127 M with resampling in time.
    "wan": (wan_parameters(1536, 30, 8960, 4096), 124_567_987),
}


def on_meta() -> AbstractContextManager[Any]:
    device: AbstractContextManager[Any] = torch.device("meta")
    return device


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_full_sizes_have_the_published_number_of_parameters(name: str) -> None:
    from worldsim.models.tokenizers.base import build_tokenizer

    composed = compose_config("train", ["dataset=x", "out=x", f"model={name}"])
    config = build(WorldModelConfig, composed.model, "model")
    shape = DenoiserShape(3, config.tokenizer.channels, 24, 40, 7, 8, 20)
    with on_meta():
        network: Any = build_denoiser(config.denoiser, shape)
        tokenizer = build_tokenizer(config.tokenizer)
    counts = [sum(p.numel() for p in part.parameters()) for part in (network.net, tokenizer)]
    assert counts == list(PUBLISHED[name])
    beside = sum(p.numel() for p in network.parameters()) - counts[0]
    assert beside < 0.05 * counts[0]
