"""Who says whether a house was built: a head that reads two frames, or a rule that reads none.

Legend: N envs or samples, H W pixels.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from worldsim.envs.imagination.ledger import Bool, Pixels, Whole
from worldsim.envs.street.drawing import COUNTER, HEIGHT, WIDTH
from worldsim.envs.street.env import CHOICES
from worldsim.errors import DataError
from worldsim.files import atomic_path

_WIDTH = 24
FADE = 0.5
"""Greatest share of their own copy, moved by a column, in training frames, against blur."""


class EventHead(nn.Module):
    """Reads the street of two successive frames and the action between them.

    The counter is hidden from it: what the head says is what the counter will show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(6, _WIDTH, 4, 4),
            nn.SiLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.SiLU(),
        )
        places = (HEIGHT - COUNTER) // 4 * (WIDTH // 4)
        self.action = nn.Embedding(len(CHOICES), 2 * _WIDTH)
        self.mixed = nn.Sequential(nn.Linear(_WIDTH * places, 2 * _WIDTH), nn.SiLU())
        self.out = nn.Sequential(nn.Linear(2 * _WIDTH, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, 1))

    def forward(self, before: Tensor, after: Tensor, choices: Tensor) -> Tensor:
        """Logits `[N]` of frames uint8 `[N, H, W, 3]` and actions `[N]`."""
        pair = torch.cat([before, after], dim=-1)[:, COUNTER:].movedim(-1, 1).float() / 127.5 - 1
        mixed = self.mixed(self.body(pair).flatten(1))
        logits: Tensor = self.out(mixed * (1 + self.action(choices)))[:, 0]
        return logits

    def begin(self, count: int) -> None:
        """See `EventReader`; it remembers nothing."""

    @torch.inference_mode()
    def read(self, before: Pixels, after: Pixels, choices: Whole, places: Whole) -> Bool:
        """See `EventReader`."""
        tensors = (torch.from_numpy(np.ascontiguousarray(x)) for x in (before, after, choices))
        return np.asarray((self(*tensors) > 0).numpy())

    def save(self, path: Path) -> None:
        """Write the weights whole or not at all."""
        from safetensors.torch import save_file

        with atomic_path(path) as temporary:
            save_file(self.state_dict(), temporary)

    @staticmethod
    def load(path: Path) -> "EventHead":
        """Read what `save` wrote.

        Raises:
            DataError: the file is none of this head.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        head = EventHead()
        try:
            head.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise DataError(f"{path} holds no event head of the street: {error}") from error
        return head.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Steps:
    """Recorded steps.

    Attributes:
        before: uint8 `[N, H, W, 3]`.
        after: the same.
        choices: `[N]`.
        events: `[N]` bool.
    """

    before: Pixels
    after: Pixels
    choices: Whole
    events: Bool


def joined(one: Steps, other: Steps) -> Steps:
    """Both."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return Steps(*(np.concatenate(pair) for pair in pairs))


def train_event_head(
    steps: Steps, updates: int = 600, batch: int = 64, lr: float = 2e-3, seed: int = 0
) -> EventHead:
    """A head that learnt from recorded steps, half of each batch with an event.

    Args:
        steps: of the simulator.
        updates: of the weights.
        batch: steps of an update.
        lr: learning rate, which falls to nothing.
        seed: of weights and draws.

    Raises:
        DataError: there is no step with, or none without, an event.
    """
    fired, quiet = np.flatnonzero(steps.events), np.flatnonzero(~steps.events)
    if not len(fired) or not len(quiet):
        raise DataError(
            f"{len(fired)} of {len(steps.events)} recorded steps have an event; a head needs steps "
            "of both kinds, record more"
        )
    torch.manual_seed(seed)
    head, rng = EventHead(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        chosen = np.concatenate([rng.choice(each, batch // 2) for each in (fired, quiet)])
        frames = [torch.from_numpy(_worn(x[chosen], rng)) for x in (steps.before, steps.after)]
        logits = head(*frames, torch.from_numpy(steps.choices[chosen]))
        target = torch.from_numpy(steps.events[chosen].astype(np.float32))
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        falling.step()
    return head.eval().requires_grad_(False)


def _worn(frames: Pixels, rng: np.random.Generator) -> Pixels:
    """Frames as a model imagines them: mixed with a shifted copy, and noisy."""
    each = (len(frames), 1, 1, 1)
    share = rng.uniform(0, FADE, each) * (rng.random(each) < 0.5)
    mixed = (1 - share) * frames + share * np.roll(frames, int(rng.integers(-1, 2)), axis=2)
    noise = rng.normal(0, 1, frames.shape) * rng.uniform(0, 24, each)
    worn: NDArray[np.float64] = mixed + noise
    return worn.round().clip(0, 255).astype(np.uint8)


@dataclass(eq=False)
class NewCellRule:
    """A house is built wherever the walker was not before: a rule of the game, that reads no frame.

    Attributes:
        visited: of each env, cells that it has entered.
    """

    visited: list[set[int]] = field(default_factory=list)

    def begin(self, count: int) -> None:
        """Every walker has been in the middle of its street."""
        self.visited = [{0} for _ in range(count)]

    def read(self, before: Pixels, after: Pixels, choices: Whole, places: Whole) -> Bool:
        """See `EventReader`."""
        fired = [place not in held for place, held in zip(places, self.visited, strict=True)]
        for place, held in zip(places.tolist(), self.visited, strict=True):
            held.add(place)
        return np.array(fired, bool)
