"""The comparison that measures a judge where it is used: paired starts that no ranking uses.

Policies of the chosen pool's `validation` run from starts of the validation block in imagination
and in the simulator. Model, judge, steps and horizon are those of the ranking. Results lie in a
folder of their own below the ranking's, and are kept and continued as its own are.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worldsim.errors import UsageError
from worldsim.rollout.baselines import BaselineOptions
from worldsim.rollout.dependencies import JUDGE_VALIDATION
from worldsim.rollout.episodes import World
from worldsim.rollout.eval_config import VALIDATION, EvalConfig, StartPlan
from worldsim.rollout.evaluator import Evaluator
from worldsim.rollout.start_blocks import StartBlocks

WORLDS: tuple[World, ...] = ("imagination", "simulator")


def validation_of(
    ranked: EvalConfig,
    policies: Mapping[str, Mapping[str, Any]],
    count: int,
    blocks: StartBlocks,
) -> EvalConfig:
    """What is run to measure the judge of a ranking.

    Args:
        ranked: the ranking.
        policies: {name: entry} of the validation pool.
        count: starts.
        blocks: where the validation block is.

    Raises:
        UsageError: there is no simulator or no policy, or a policy or a start is ranked too.
    """
    _require_others(ranked, policies, f"{JUDGE_VALIDATION}={count}")
    starts = StartPlan(count, None, ranked.starts.factors, block=VALIDATION)
    measured = replace(
        ranked,
        policies={str(name): dict(entry) for name, entry in policies.items()},
        starts=blocks.place(starts),
        films=0,
        pool="development",
        baselines=BaselineOptions(),
        gate=False,
    )
    if ranked.starts.dataset is None:
        _keep_apart(set(ranked.starts.seeds), measured, "starts.block or starts.seed")
    return measured


def _require_others(
    ranked: EvalConfig, policies: Mapping[str, Mapping[str, Any]], asked: str
) -> None:
    """Refuse a ranking without a simulator, and policies that are none or are ranked too."""
    if ranked.env_id is None:
        raise UsageError(
            f"{asked} holds imagination against a simulator, and there is none; "
            f"choose an env, such as env=push, or leave {JUDGE_VALIDATION} out"
        )
    if not policies:
        raise UsageError(
            f"{asked}: the chosen `policy` has no validation pool; name policies "
            "that are not ranked under `validation:` in its file, as pool_push.yaml does"
        )
    alike = [
        f"{name} ({other} of the ranking)"
        for name, entry in policies.items()
        for other, ranked_entry in ranked.policies.items()
        if dict(entry) == dict(ranked_entry)
    ]
    if alike:
        raise UsageError(
            f"{asked}: these policies are ranked too: {', '.join(alike)}. A judge is "
            "measured on others than those whose rates it corrects; turn a dial"
        )


def check_validation(measured: EvalConfig, ranking: Evaluator) -> None:
    """Refuse early what could not be rolled out, and recorded starts that are ranked too.

    Args:
        measured: of `validation_of`.
        ranking: of the ranking.

    Raises:
        WorldsimError: see `Evaluator.check`.
        UsageError: the ranking begins from recorded episodes with seeds of the validation starts.
    """
    if (data := ranking.recorded_starts) is not None:
        chosen = data.episodes[: ranking.eval_config.starts.count]
        seeds = {seed for seed in map(data.seed, chosen) if seed is not None}
        _keep_apart(seeds, measured, "starts.dataset")
    Evaluator(measured).check(WORLDS)


def _keep_apart(ranked: set[int], measured: EvalConfig, key: str) -> None:
    """Refuse seeds of ranked starts that are among the validation starts."""
    shared = sorted(ranked & set(measured.starts.seeds))
    if shared:
        raise UsageError(
            f"{JUDGE_VALIDATION} runs from the block {VALIDATION}, and shares {len(shared)} of "
            f"its starts with the ranking (seed {shared[0]}); change {key}"
        )
