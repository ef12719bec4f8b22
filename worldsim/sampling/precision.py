"""In which precision a world model imagines."""

import copy
from typing import Literal

import torch

from worldsim.hardware import has_fast_bf16
from worldsim.models.world_model import WorldModel
from worldsim.sampling.acceleration import Acceleration, accelerate

Precision = Literal["auto", "float32", "bfloat16"]


def for_inference(
    model: WorldModel, precision: Precision, acceleration: Acceleration = "none"
) -> WorldModel:
    """A frozen copy with denoiser and tokenizer in the asked precision; heads stay float32.

    Its convolutions keep their weights channels-last, as images come: a CPU would reorder them at
    every call, which takes longer than the product where images are few.
    """
    fast = precision == "bfloat16" or (
        precision == "auto" and has_fast_bf16(next(model.parameters()).device)
    )
    model = copy.deepcopy(model).eval().requires_grad_(False)
    if fast:
        model.denoiser.to(torch.bfloat16)
        model.tokenizer.to(torch.bfloat16)
    for part in (model.denoiser, model.tokenizer):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    accelerate(model, acceleration)
    return model
