"""One ranking out of several of the same policies and model from other starts each."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from math import gcd
from typing import Any

from worldsim.errors import UsageError
from worldsim.rollout.baselines import ACTION_ERROR
from worldsim.rollout.episodes import RolloutBatch, join_batches
from worldsim.rollout.eval_config import StartPlan
from worldsim.rollout.results import Outcomes

OF_THE_RUN = {"starts", "batch_size", "films", "device"}
"""Fields of a comparison in which pooled rankings may differ."""


def pool_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """One ranking out of several of the same policies and model from other starts each.

    Raises:
        UsageError: there are fewer than two, they differ in more than their starts, or share some.
    """
    if len(parts) < 2:
        raise UsageError(f"pooling needs two rankings or more, got {len(parts)}")
    first = parts[0]
    for other in parts[1:]:
        _require_alike(first, other)
    truths = [part.truth for part in parts if part.truth is not None]
    return replace(
        first,
        eval_config=replace(first.eval_config, starts=_pooled_starts(parts)),
        circumstances=replace(
            first.circumstances,
            development_starts=_of_all([p.circumstances.development_starts for p in parts]),
        ),
        imagined=_join([part.imagined for part in parts]),
        truth=_join(truths) if len(truths) == len(parts) else None,
        baselines={
            name: first.baselines[name]  # recorded episodes are the same whatever the starts
            if name == ACTION_ERROR
            else _join([part.baselines[name] for part in parts])
            for name in first.baselines
        },
    )


def _require_alike(first: Outcomes, other: Outcomes) -> None:
    ours, theirs = asdict(first.eval_config), asdict(other.eval_config)
    differing = [key for key in ours if key not in OF_THE_RUN and ours[key] != theirs[key]]
    if first.logged != other.logged or first.options.worlds != other.options.worlds:
        differing.append("reference")
    if first.circumstances.judge != other.circumstances.judge:
        differing.append("judge report")
    starts: dict[str, Any] = {"starts.factors": "factors", "starts.dataset": "dataset"}
    differing += [k for k, f in starts.items() if ours["starts"][f] != theirs["starts"][f]]
    if differing:
        raise UsageError(
            f"the rankings cannot be pooled: they differ in {', '.join(differing)}; only their "
            "starts may"
        )
    if first.eval_config.starts.dataset is not None:
        raise UsageError("rankings from a data set's first frames share them, and cannot be pooled")


def _pooled_starts(parts: Sequence[Outcomes]) -> StartPlan:
    """Blocks as long as the greatest number that divides all."""
    plans = [part.eval_config.starts for part in parts]
    length = gcd(*(plan.count // len(plan.blocks) for plan in plans))
    begins = tuple(seed for plan in plans for seed in plan.seeds[::length])
    block = plans[0].block if len({plan.block for plan in plans}) == 1 else None
    return replace(plans[0], count=sum(plan.count for plan in plans), seed=begins, block=block)


def _join(worlds: Sequence[list[RolloutBatch]]) -> list[RolloutBatch]:
    return [join_batches(list(same)) for same in zip(*worlds, strict=True)]


def _of_all(known: list[bool | None]) -> bool | None:
    """Whether any are development starts; None unless all are known."""
    return None if None in known else any(known)
