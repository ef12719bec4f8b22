"""What is taken from the frames that a training clip remembers, so that a model does not trust them
more than its own memory deserves.

A stream begins with nothing, keeps what its own frames showed, and comes back after long. So some
clips begin with nothing (EvoWorld#9 finds the first segment worse where that was never trained),
frames are missing or noisy, and how old they may be widens along training (WorldMem, 2504.12369,
table 5: 25.3 dB against 19.2 without). Rollouts add the model's own frames
(`worldsim.training.losses.self_rollout`).

Legend: B clips, K remembered frames.
"""

import torch
from torch import Tensor

from worldsim.data.memory_sampler import MemorySamplerConfig
from worldsim.training.batches import Batch

PREFIX = "memory_"


def oldest(config: MemorySamplerConfig, fraction: float) -> float:
    """Most frames between a clip and what it remembers, after `fraction` of training.

    It grows by a constant factor, up to what no episode reaches.
    """
    if config.widen == 0 or fraction >= config.widen:
        return float("inf")
    longest = 4096.0
    return float(config.near * (longest / config.near) ** (fraction / config.widen))


def thinned(
    batch: Batch, config: MemorySamplerConfig, fraction: float, generator: torch.Generator
) -> Batch:
    """A batch of clips that remember less, and less well; see the head of this file.

    Args:
        batch: with the `memory_` entries of `worldsim.data.clips`, or none of them.
        config: chances.
        fraction: of training that is done.
        generator: of the draws.
    """
    if f"{PREFIX}frame_mask" not in batch:
        return batch
    mask = batch[f"{PREFIX}frame_mask"]
    draws = torch.rand(mask.shape, generator=generator), torch.rand(len(mask), generator=generator)
    kept = mask.cpu() & (draws[0] >= config.drop) & (draws[1] >= config.empty)[:, None]
    age = (batch["start"][:, None] - batch[f"{PREFIX}number"]).cpu()
    kept = (kept & (age <= oldest(config, fraction))).to(mask.device)
    # Those that stay come first, in their order: what is beyond the mask is padding.
    order = (~kept).int().sort(dim=1, stable=True).indices
    found = {name: _taken(value, order) for name, value in batch.items() if _is_row(name)}
    found[f"{PREFIX}frame_mask"] = kept.gather(1, order)
    for name in ("action_mask", "view_mask"):
        there = found[f"{PREFIX}frame_mask"]
        part = found[f"{PREFIX}{name}"]
        found[f"{PREFIX}{name}"] = part & there.reshape(*there.shape, *(1,) * (part.ndim - 2))
    return {**batch, **found}


def noised(latents: Tensor, config: MemorySamplerConfig, generator: torch.Generator) -> Tensor:
    """Remembered latents `[B, K, V, c, h, w]` of unit variance, each noisy by a level up to
    `config.noise`."""
    if config.noise == 0:
        return latents
    level = config.noise * torch.rand(latents.shape[:2], generator=generator)
    level = level[..., None, None, None, None].to(latents)
    grain = torch.randn(latents.shape, generator=generator).to(latents)
    return (1.0 - level) * latents + level * grain


def _is_row(name: str) -> bool:
    return name.startswith(PREFIX)


def _taken(value: Tensor, order: Tensor) -> Tensor:
    index = order.reshape(*order.shape, *(1,) * (value.ndim - 2))
    return value.gather(1, index.expand(*order.shape, *value.shape[2:]))
