"""What turns results into a ranking: metric, groups, resampling, and by what the judge is tried."""

from dataclasses import dataclass, field
from typing import Annotated

from worldsim.config.limits import Seed, Text, Whole, between, inside
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.rollout.episodes import METRICS, SUCCESS, World

JUDGE_VALIDATION = "judge_validation"
"""Key of a ranking's config, and folder below its own."""

Resamples = Annotated[int, between(1, 10**7)]
Level = Annotated[float, inside(0, 1)]
"""Of a confidence interval, such as 0.95."""


@dataclass(frozen=True)
class RankingOptions(Checked):
    """What turns results into a ranking.

    Attributes:
        reference_csv: logged rates that stand for the reference; None takes the simulator.
        groups: {policy: group} of policies that are compared among themselves too.
        null_policy: the policy that does nothing, if it is in the pool.
        bootstrap_samples: resamples of every interval.
        level: of every interval.
        seed: of the resampling.
        metric: registered name of the episode metric that is ranked.
        judge_validation: starts of the validation block from which policies that are not ranked run
            in both worlds, to measure the judge; see `worldsim.rollout.judge_validation`.
    """

    reference_csv: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    null_policy: str | None = "zero"
    bootstrap_samples: Resamples = 4000
    level: Level = 0.95
    seed: Seed = 0
    metric: Text = SUCCESS
    judge_validation: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        METRICS.get(self.metric)
        if self.reference_csv is not None and self.metric != SUCCESS:
            raise UsageError(
                f"metric={self.metric}: logged rates are of success, so nothing else can be "
                "compared with them; leave reference.csv out, or rank metric=success"
            )
        if self.reference_csv is not None and self.judge_validation:
            raise UsageError(
                f"judge_validation={self.judge_validation} holds imagination against a simulator, "
                "and reference.csv says that rates are of another world; leave one of them out"
            )

    @property
    def worlds(self) -> tuple[World, ...]:
        """Worlds in which policies must be rolled out."""
        return ("imagination",) if self.reference_csv else ("imagination", "simulator")
