"""A loss of yes and no in which both outcomes of a batch weigh the same, for verdicts and events.

Legend: N frames, E events.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

RAREST = 0.05
"""Share of a batch below which an outcome weighs less than the other, so that no frame of it weighs
without bound."""


def balanced_loss(logit: Tensor, outcome: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy in which both outcomes of a batch weigh the same, of each event its own.

    Args:
        logit: `[N]` or `[N, E]`.
        outcome: the same shape, 0 or 1.
        weight: `[N]` of the frames, 0 where one does not count; None counts all alike.

    Returns:
        The mean; 0 where nothing counts.
    """
    if weight is None:
        weight = outcome.new_ones(len(outcome))
    counted = weight.reshape(-1, *[1] * (outcome.ndim - 1)).expand_as(outcome)
    count = counted.sum(0).clamp_min(1e-6)
    positive = ((outcome * counted).sum(0) / count).clamp(RAREST, 1 - RAREST)
    balance = torch.where(outcome > 0.5, 0.5 / positive, 0.5 / (1 - positive))
    each = F.binary_cross_entropy_with_logits(logit, outcome, balance * counted, reduction="none")
    return (each.sum(0) / count).mean()
