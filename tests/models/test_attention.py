"""Plain products give what torch's fused attention gives, and blocks what one big mask gives."""

import pytest
import torch
from einops import rearrange
from torch.nn.functional import scaled_dot_product_attention

from worldsim.models.denoisers import attention as module
from worldsim.models.denoisers.attention import DENSE, FrameOrder, attention, joint_attention


def inputs(length: int, keys: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(2, 3, length, 8), (2, 3, keys, 8), (2, 3, keys, 8)]
    return [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("shape", [None, (5, 7), (2, 1, 5, 7), (2, 1, 1, 7)])
def test_equals_fused_attention_and_its_gradients(shape: tuple[int, ...] | None) -> None:
    mask = None if shape is None else torch.rand(shape) < 0.6
    if mask is not None:
        mask[..., 0] = True  # nobody sees nothing
    found = []
    for plain in (True, False):
        q, k, v = inputs(5, 7)
        out = attention(q, k, v, mask) if plain else scaled_dot_product_attention(q, k, v, mask)
        out.square().sum().backward()  # type: ignore[no-untyped-call]
        found.append([out, q.grad, k.grad, v.grad])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_many_keys_are_left_to_the_fused_kernel() -> None:
    q, k, v = inputs(2, DENSE + 1)
    torch.testing.assert_close(attention(q, k, v, None), scaled_dot_product_attention(q, k, v))


TOKENS = 3


def ordered(blocks: tuple[int, ...], valid: torch.Tensor | None) -> FrameOrder:
    still = (torch.ones(1), torch.zeros(1))
    return FrameOrder(still, still, valid, blocks)


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, order: FrameOrder) -> torch.Tensor:
    """Joint attention by one mask over all pairs of tokens."""
    mask = order.mask(k.shape[1] - q.shape[1])
    mask = mask.repeat_interleave(TOKENS, 1).repeat_interleave(TOKENS, 2).unsqueeze(1)
    q, k, v = (rearrange(x, "b t n h d -> b h (t n) d") for x in (q, k, v))
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return rearrange(out, "b h (t n) d -> b t n (h d)", n=TOKENS)


@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (4,), (1, 3), (2, 1, 1)])
@pytest.mark.parametrize("valid", [None, [[True, False], [False, False]], [[True, True]] * 2])
def test_blocks_give_what_one_mask_gives(
    blocks: tuple[int, ...], valid: list[list[bool]] | None
) -> None:
    draw = torch.Generator().manual_seed(0)
    past = 0 if valid is None else 2
    q = torch.randn(2, 4, TOKENS, 2, 8, generator=draw)
    k, v = torch.randn(2, 2, past + 4, TOKENS, 2, 8, generator=draw)
    order = ordered(blocks, None if valid is None else torch.tensor(valid))
    torch.testing.assert_close(joint_attention(q, k, v, order), dense(q, k, v, order))


def test_mask_is_causal_over_blocks() -> None:
    mask = ordered((1, 2), torch.tensor([[True, False]])).mask(2)[0].int().tolist()
    assert mask == [[1, 0, 1, 0, 0], [1, 0, 1, 1, 1], [1, 0, 1, 1, 1]]


@pytest.mark.parametrize("full", [True, False])
def test_a_full_context_leaves_no_mask(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> object:
        seen.append(None if mask is None else mask.shape)
        return attention(q, k, v, mask)

    monkeypatch.setattr(module, "attention", spy)
    q, kv = torch.randn(2, 2, TOKENS, 2, 8), torch.randn(2, 5, TOKENS, 2, 8)
    joint_attention(q, kv, kv, ordered((1, 1), None if full else torch.ones(2, 3).bool()))
    keys = [4 * TOKENS, 5 * TOKENS]
    assert seen == ([None, None] if full else [(2, 1, 1, n) for n in keys])
