"""Exponential moving average of weights, kept beside the network it follows."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Shadow copies of a network's trainable parameters.

    The decay warms up, `min(decay, (1 + n) / (10 + n))` after n updates, so that short runs
    do not average in their random start.

    Args:
        network: whose parameters to follow.
        decay: the final decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.shadow = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the shadow towards the present weights; call once per optimiser step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        lives: list[Tensor] = list(self._live.values())
        torch._foreach_lerp_(list(self.shadow.values()), lives, 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context the network carries the averaged weights."""
        kept = {name: p.detach().clone() for name, p in self._live.items()}
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(kept)

    def to(self, device: torch.device) -> None:
        """Move the shadow to where the network has gone."""
        self.shadow = {name: value.to(device) for name, value in self.shadow.items()}

    def write_into_network(self) -> None:
        """Make the averaged weights the network's own."""
        self._write(self.shadow)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """Everything needed to go on; inverse of `load_state_dict`."""
        return {"updates": self.updates, "shadow": self.shadow}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, int | dict[str, Tensor]]) -> None:
        """Restore what `state_dict` gave."""
        updates, shadow = state["updates"], state["shadow"]
        assert isinstance(updates, int) and isinstance(shadow, dict)
        self.updates = updates
        for name, value in self.shadow.items():
            value.copy_(shadow[name])

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])
