"""Memory beside an instructed network, as MGDM has it (LH-VLN, 2412.09082, section 4).

Short-term memory holds what was seen, with the confidence of each choice. When it is full, two
neighbours are averaged, those whose merging leaves the confidences with the least entropy: what is
told apart stays. Long-term memory is a bank of recorded steps. The choice is multiplied by the mean
action of the steps that look most alike.

Here both stand on the features of the network that they are beside, where MGDM uses a language
model's tokens and EVA-CLIP's.

Legend: N batch, S slots, F features, K bank, A choices.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldsim.errors import UsageError
from worldsim.models.blocks import zero_init
from worldsim.models.instructed import InstructedNet

_FLOOR = 0.05
"""Least weight of a choice that no recorded step took: they are few, and need not be right."""


@dataclass(frozen=True)
class MemoryConfig:
    """Shape of a `RememberingNet`.

    Attributes:
        slots: S, memories before they are blurred.
        bank: K, recorded steps; 0 retrieves nothing.
        neighbours: steps that are retrieved.
        width: of the attention.
    """

    slots: int
    bank: int
    neighbours: int = 8
    width: int = 64

    def __post_init__(self) -> None:
        if self.slots < 2 or self.bank < 0 or min(self.neighbours, self.width) < 1:
            raise UsageError(f"MemoryConfig: need two slots or more and positive sizes, got {self}")


def entropy_pooled(memories: Tensor, confidences: Tensor) -> tuple[Tensor, Tensor]:
    """One memory less: two neighbours become their mean, where that leaves the least entropy.

    Args:
        memories: `[n, F]`, n from 2.
        confidences: `[n]`, positive.
    """
    count = len(confidences)
    one = torch.eye(count, dtype=confidences.dtype)
    # Row i of `mean` averages entries i and i + 1 and keeps the others.
    mean = torch.stack(
        [
            torch.cat([one[:i], one[i : i + 2].mean(dim=0, keepdim=True), one[i + 2 :]])
            for i in range(count - 1)
        ]
    )
    pooled = mean @ confidences
    share = pooled / pooled.sum(dim=1, keepdim=True)
    chosen = int(torch.special.entr(share).sum(dim=1).argmin())
    return mean[chosen].to(memories) @ memories, pooled[chosen]


@dataclass
class ShortTermMemory:
    """What one episode remembers.

    Attributes:
        slots: most memories.
        memories: `[n, F]`.
        confidences: `[n]` of the choices that were made there.
    """

    slots: int
    memories: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    confidences: Tensor = field(default_factory=lambda: torch.zeros(0))

    def add(self, feature: Tensor, confidence: float) -> None:
        """Remember a feature `[F]`, and blur what is too much."""
        if not len(self.confidences):
            self.memories, self.confidences = feature[None], feature.new_tensor([confidence])
            return
        if len(self.confidences) == self.slots:
            self.memories, self.confidences = entropy_pooled(self.memories, self.confidences)
        self.memories = torch.cat([self.memories, feature[None]])
        self.confidences = torch.cat([self.confidences, feature.new_tensor([confidence])])

    def padded(self, features: int) -> tuple[Tensor, Tensor]:
        """Memories `[S, F]`, newest last, and which of them are there `[S]`."""
        held = torch.zeros(self.slots, features)
        there = torch.zeros(self.slots, dtype=torch.bool)
        if count := len(self.confidences):
            held[:count], there[:count] = self.memories, True
        return held, there


class RememberingNet(nn.Module):
    """An instructed network whose choice is corrected by what it remembers.

    Args:
        plain: the network beside which it stands; it is not trained with it.
        config: the shape.
    """

    bank_keys: Tensor
    bank_choices: Tensor

    def __init__(self, plain: InstructedNet, config: MemoryConfig) -> None:
        super().__init__()
        self.plain, self.config = plain, config
        features, text = plain.config.glance.features, plain.config.glance.text
        self.query = nn.Linear(features + text, config.width)
        self.key = nn.Linear(features, config.width)
        self.value = nn.Linear(features, config.width)
        self.correction = nn.Sequential(
            nn.Linear(2 * config.width, config.width),
            nn.SiLU(),
            zero_init(nn.Linear(config.width, plain.config.choices)),
        )
        self.register_buffer("bank_keys", torch.zeros(config.bank, features))
        self.register_buffer("bank_choices", torch.zeros(config.bank, plain.config.choices))

    def fresh(self) -> ShortTermMemory:
        """The memory of an episode that begins."""
        return ShortTermMemory(self.config.slots)

    def corrections(self, seen: Tensor, text: Tensor, held: Tensor, there: Tensor) -> Tensor:
        """What memory adds to the logits `[N, A]`.

        Args:
            seen: features now `[N, F]`.
            text: `[N, text]`.
            held: memories `[N, S, F]`.
            there: `[N, S]` which of them there are.
        """
        query = self.query(torch.cat([seen, text], dim=1))
        score = torch.einsum("nw,nsw->ns", query, self.key(held)) / self.config.width**0.5
        share = score.masked_fill(~there, -1e9).softmax(dim=1) * there
        recalled = torch.einsum("ns,nsw->nw", share, self.value(held))
        added: Tensor = self.correction(torch.cat([query, recalled], dim=1))
        return added

    def retrieved(self, seen: Tensor) -> Tensor:
        """Mean action `[N, A]` of the recorded steps that look most like features `[N, F]`."""
        if not self.config.bank:
            return seen.new_ones(len(seen), self.plain.config.choices)
        likeness = F.normalize(seen, dim=1) @ F.normalize(self.bank_keys, dim=1).T
        nearest = likeness.topk(min(self.config.neighbours, self.config.bank), dim=1).indices
        return self.bank_choices[nearest].mean(dim=1)

    def decide(
        self, frames: Tensor, trail: Tensor, tokens: Tensor, memories: list[ShortTermMemory]
    ) -> Tensor:
        """Shares of the choices `[N, A]`; each episode then remembers what it saw.

        Args:
            frames: `[N, T, V, 3, H, W]`, see `InstructedNet`.
            trail: `[N, R, 4]`.
            tokens: `[N, L]`.
            memories: N.
        """
        text = self.plain.glance.read(tokens)
        looks = self.plain.looks(frames, text)
        seen = looks[0]
        held, there = zip(*(memory.padded(seen.shape[1]) for memory in memories), strict=True)
        added = self.corrections(seen, text, torch.stack(held), torch.stack(there))
        weight = (self.plain.choose(looks, text, trail) + added).softmax(dim=1)
        weight = weight * (self.retrieved(seen) + _FLOOR)
        share: Tensor = weight / weight.sum(dim=1, keepdim=True)
        for memory, feature, confidence in zip(memories, seen, share.amax(dim=1), strict=True):
            memory.add(feature, confidence.item())
        return share
