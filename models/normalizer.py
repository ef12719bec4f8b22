"""Statistics that bring latents and vectors to unit variance; stored as readable JSON."""

from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import DataError

FIELDS = ("latent", "agent_pos", "state")
LEAST_STD = 1e-4


class Normalizer(nn.Module):
    """Mean and standard deviation of latent channels `[c]`, agent_pos `[P]` and state `[S]`."""

    def __init__(self, channels: int, agent_pos_dim: int, state_dim: int) -> None:
        super().__init__()
        for name, size in zip(FIELDS, (channels, agent_pos_dim, state_dim), strict=True):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def fit(self, name: str, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of one of `FIELDS`.

        Entries that hardly vary (a constant rotation) keep their scale, so that noise in them is
        not blown up.
        """
        std = torch.where(std < LEAST_STD, torch.ones_like(std), std)
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_std").copy_(std)

    def normalize(self, name: str, value: Tensor) -> Tensor:
        """To unit variance; latents are `[..., c, h, w]`, vectors `[..., dim]`."""
        mean, std = self._statistics(name)
        return (value - mean) / std

    def denormalize(self, name: str, value: Tensor) -> Tensor:
        """Inverse of `normalize`."""
        mean, std = self._statistics(name)
        return value * std + mean

    def _statistics(self, name: str) -> tuple[Tensor, Tensor]:
        mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
        if name == "latent":
            return mean[:, None, None], std[:, None, None]
        return mean, std

    def to_json(self) -> dict[str, Any]:
        """`{name: {mean, std}}` as lists."""
        return {
            name: {part: getattr(self, f"{name}_{part}").tolist() for part in ("mean", "std")}
            for name in FIELDS
        }

    def load_json(self, data: dict[str, Any]) -> None:
        """Inverse of `to_json`.

        Raises:
            DataError: a field is missing or has the wrong length.
        """
        for name in FIELDS:
            for part in ("mean", "std"):
                buffer: Tensor = getattr(self, f"{name}_{part}")
                values = torch.tensor(data.get(name, {}).get(part, []), dtype=buffer.dtype)
                if values.shape != buffer.shape:
                    raise DataError(
                        f"normalizer.json: {name}.{part} has {values.numel()} numbers, "
                        f"the model needs {buffer.numel()}"
                    )
                buffer.copy_(values)
