"""The part of `worldsim rank` that measures the judge on starts and policies it does not rank."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from worldsim.cli.console import say

if TYPE_CHECKING:
    from worldsim.rollout.circumstances import Circumstances
    from worldsim.rollout.dependencies import Parts
    from worldsim.rollout.eval_config import EvalConfig, RankingOptions
    from worldsim.rollout.evaluator import Evaluator
    from worldsim.rollout.results import Job


@dataclass(frozen=True)
class JudgeValidationRun:
    """What is run beside a ranking.

    Attributes:
        eval_config: policies and starts that are not ranked, in the ranking's worlds.
        options: of the ranking; the run is no ranking, but is stored as one.
        wanted: its jobs.
    """

    eval_config: "EvalConfig"
    options: "RankingOptions"
    wanted: "dict[Job, Parts]"

    @staticmethod
    def asked(
        settings: dict[str, Any], ranking: "Evaluator", options: "RankingOptions"
    ) -> "JudgeValidationRun | None":
        """What a config asks for; None where it asks for nothing.

        Raises:
            WorldsimError: it cannot be run, or shares policies or starts with the ranking.
        """
        from worldsim.cli.rank import read_blocks
        from worldsim.policies.pool import pool_entries
        from worldsim.rollout.jobs import wanted_results
        from worldsim.rollout.judge_validation import WORLDS, check_validation, validation_of

        if not (count := options.judge_validation):
            return None
        policies = pool_entries((settings["policy"] or {}).get("validation") or {})
        blocks = read_blocks(settings)
        measured = validation_of(ranking.eval_config, policies, count, blocks)
        check_validation(measured, ranking)
        alone = replace(options, groups={}, judge_validation=0)
        return JudgeValidationRun(measured, alone, wanted_results(measured, WORLDS))

    def finish(self, config: DictConfig, out: Path, circumstances: "Circumstances") -> None:
        """Roll out what is missing of it.

        Args:
            config: of the ranking.
            out: the ranking's folder.
            circumstances: of the ranking.
        """
        from worldsim.cli.rank import roll_out_missing
        from worldsim.rollout.dependencies import JUDGE_VALIDATION
        from worldsim.rollout.results import write_eval_config

        folder = out / JUDGE_VALIDATION
        write_eval_config(folder, self.eval_config, self.options, circumstances, self.wanted)
        policies, starts = self.eval_config.policies, self.eval_config.starts
        say(
            f"the judge is measured on {len(policies)} policies that are not ranked, from "
            f"{starts.count} starts of block {starts.block}"
        )
        roll_out_missing(config, folder, self.eval_config, self.wanted)
