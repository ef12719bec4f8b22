"""Trains the memory of the MGDM variant beside a finished instructed network.

The network stays as it is, so what it saw in each recorded step is computed once, and so is what an
episode had remembered by then.

Legend: M rows, S slots, F features, A choices.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from worldsim.conventions import to_model_video
from worldsim.errors import DataError
from worldsim.imitation.walking import WalkingLesson, WalkingTraining
from worldsim.models.instructed import InstructedNet
from worldsim.models.remembering import MemoryConfig, RememberingNet
from worldsim.policies.instructed import load_instructed, save_instructed
from worldsim.training.batches import mix

AT_ONCE = 256
"""Rows that go through the network at once."""
_BATCH, _RATE = 128, 2e-3


class Recalled(NamedTuple):
    """What the network makes of M rows, without any memory, and what there was to remember."""

    seen: Tensor
    text: Tensor
    logits: Tensor
    choice: Tensor
    held: Tensor
    there: Tensor


def train_memory(
    lesson: WalkingLesson, config: WalkingTraining, checkpoint: Path, out: Path
) -> Path:
    """Train a memory beside the network of a checkpoint, and save both in `out`.

    Args:
        lesson: what the network learnt from.
        config: `memory_slots`, `memory_steps`, `bank` and `seed` are read.
        checkpoint: of the network.
        out: folder to write; it is returned.

    Raises:
        DataError: the checkpoint is of no plain network.
    """
    plain, spec = load_instructed(checkpoint)
    if not isinstance(plain, InstructedNet):
        raise DataError(f"{checkpoint} remembers already; expected a plain instructed network")
    torch.manual_seed(mix(config.seed, "memory"))
    bank = min(config.bank, len(lesson.rows))
    network = RememberingNet(plain, MemoryConfig(config.memory_slots, bank))
    known = _recalled(network, lesson)
    draw = np.random.default_rng(config.seed)
    chosen = torch.from_numpy(draw.permutation(len(lesson.rows))[:bank])
    network.bank_keys.copy_(known.seen[chosen])
    network.bank_choices.copy_(F.one_hot(known.choice[chosen], known.logits.shape[1]).float())
    parts = [network.query, network.key, network.value, network.correction]
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=_RATE)
    for _ in range(config.memory_steps):
        rows = torch.from_numpy(draw.integers(len(lesson.rows), size=_BATCH))
        seen, text, logits, choice, held, there = (part[rows] for part in known)
        added = network.corrections(seen, text, held.float(), there)
        loss = F.cross_entropy(logits + added, choice)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    save_instructed(out, network.eval(), spec)
    return out


@torch.no_grad()
def _recalled(network: RememberingNet, lesson: WalkingLesson) -> Recalled:
    plain, parts = network.plain, []
    for start in range(0, len(lesson.rows), AT_ONCE):
        index = np.arange(start, min(start + AT_ONCE, len(lesson.rows)))
        batch = lesson.gather(index, plain.config)
        frames, text = to_model_video(batch["pixels"]), plain.glance.read(batch["tokens"])
        looks = plain.looks(frames, text)
        logits = plain.choose(looks, text, batch["trail"])
        parts.append((looks[0], text, logits, batch["choice"]))
    seen, text, logits, choice = (torch.cat(part) for part in zip(*parts, strict=True))
    sure = logits.softmax(dim=1).amax(dim=1)
    held = torch.zeros(len(seen), network.config.slots, seen.shape[1], dtype=torch.float16)
    there = torch.zeros(len(seen), network.config.slots, dtype=torch.bool)
    memory, last = network.fresh(), -1
    for row, first in enumerate(lesson.first):
        if first != last:
            memory, last = network.fresh(), int(first)
        padded, there[row] = memory.padded(seen.shape[1])
        held[row] = padded.half()
        memory.add(seen[row], float(sure[row]))
    return Recalled(seen, text, logits, choice, held, there)
