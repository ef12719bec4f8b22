"""Plain products give what torch's fused attention gives."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from worldsim.models.attention import DENSE, attention


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
