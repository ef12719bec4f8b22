"""In which precision a world model imagines."""

import copy
from typing import Literal

import torch

from worldsim.models.world_model import WorldModel

Precision = Literal["auto", "float32", "bfloat16"]


def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively (CUDA, or a CPU with AVX-512 BF16/AMX)."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def for_inference(model: WorldModel, precision: Precision) -> WorldModel:
    """A frozen copy with denoiser and tokenizer in the asked precision; heads stay float32.

    Its convolutions keep their weights channels-last, as images come: a CPU would reorder them at
    every call, which takes longer than the product where images are few.
    """
    fast = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16())
    model = copy.deepcopy(model).eval().requires_grad_(False)
    if fast:
        model.denoiser.to(torch.bfloat16)
        model.tokenizer.to(torch.bfloat16)
    for part in (model.denoiser, model.tokenizer):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
