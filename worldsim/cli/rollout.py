"""`worldsim rollout`: one policy from the same starts in one world or in both."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from worldsim.cli.console import finish, say

if TYPE_CHECKING:
    from worldsim.rollout.episodes import World
    from worldsim.rollout.results import Job

DESCRIPTION = """
Rolls one policy of a pool out from given starts in the simulator, in imagination, or in both,
and keeps what became of every episode and the frames of some. An interrupted run continues.
"""

EXAMPLES = """
worldsim rollout name=expert out=runs/expert
worldsim rollout name=bc_5 world=imagination starts.count=16 sampling_steps=4 out=runs/bc_5
worldsim rollout name=expert model=runs/push policy=pool_push starts.dataset=data/push out=runs/x
"""

WORLDS: "dict[str, tuple[World, ...]]" = {
    "simulator": ("simulator",),
    "imagination": ("imagination",),
    "both": ("imagination", "simulator"),
}


def run(config: DictConfig) -> None:
    """Roll out what is missing and say how it went.

    Raises:
        UsageError: the config does not fit together.
        WorldsimError: something other than the policy failed.
    """
    from worldsim.cli.rank import chosen_policies, read_eval_config, roll_out_missing
    from worldsim.rollout.evaluator import Evaluator
    from worldsim.rollout.jobs import wanted_results

    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    settings: dict[str, Any] = {str(key): value for key, value in plain.items()}
    worlds = WORLDS[settings["world"]]
    policies = chosen_policies(settings["policy"] or {}, [str(settings["name"])])
    eval_config = read_eval_config(settings, policies)
    Evaluator(eval_config).check(worlds)
    out, wanted = Path(settings["out"]), wanted_results(eval_config, worlds)
    roll_out_missing(config, out, eval_config, wanted)
    _say_results(out, list(wanted))
    finish("rollouts", out)


def _say_results(out: Path, jobs: "list[Job]") -> None:
    import numpy as np

    from worldsim.rollout.results import read_result

    for job in jobs:
        batch = read_result(out, job)
        assert batch is not None  # it was written a moment ago
        steps, reached = batch.length.mean(), batch.outcomes("progress").mean()
        progressed = "" if np.isnan(reached) else f", {reached:.2f} progress"
        say(
            f"{batch.policy} in {job.world}: {batch.success.sum()} of {len(batch.success)} "
            f"succeed{progressed}, {steps:.1f} steps"
        )
        for failure in batch.failures:
            say(f"  {failure}")
