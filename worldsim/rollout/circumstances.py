"""What a reader must know beside the figures of a ranking, and what turns results into figures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from worldsim.config.limits import Seed, Text, between, inside
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.judge.judge import JudgeReport, load_pretrained_judge
from worldsim.models.pretrained import SHIPPED
from worldsim.models.weights import WEIGHTS
from worldsim.models.world_model import WorldModel
from worldsim.policies.simple import keeps_still
from worldsim.rollout.comparison import DEVELOPMENT_SEEDS, Comparison
from worldsim.rollout.dependencies import digest_file
from worldsim.rollout.metrics import METRICS, SUCCESS
from worldsim.rollout.trajectory import World

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
    """

    reference_csv: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    null_policy: str | None = "zero"
    bootstrap_samples: Resamples = 4000
    level: Level = 0.95
    seed: Seed = 0
    metric: Text = SUCCESS

    def __post_init__(self) -> None:
        super().__post_init__()
        METRICS.get(self.metric)
        if self.reference_csv is not None and self.metric != SUCCESS:
            raise UsageError(
                f"metric={self.metric}: logged rates are of success, so nothing else can be "
                "compared with them; leave reference.csv out, or rank metric=success"
            )

    @property
    def worlds(self) -> tuple[World, ...]:
        """Worlds in which policies must be rolled out."""
        return ("imagination",) if self.reference_csv else ("imagination", "simulator")


@dataclass(frozen=True)
class Circumstances:
    """Of model, judge and starts.

    Attributes:
        judge: the judge's measured error.
        state_assisted: whether the world model carries the simulator's state.
        development_starts: whether the model was developed on some of these starts; None where
            that is not known.
        null_policy_moves: whether the actions of the null policy may move the robot.
    """

    judge: JudgeReport
    state_assisted: bool
    development_starts: bool | None
    null_policy_moves: bool

    @staticmethod
    def of(comparison: Comparison, options: RankingOptions) -> "Circumstances":
        """As model and judge are now.

        Raises:
            WorldsimError: either cannot be read.
        """
        model = WorldModel.from_pretrained(comparison.model)
        entry = comparison.policies.get(options.null_policy or "") or {}
        return Circumstances(
            judge=load_pretrained_judge(comparison.judge).report,
            state_assisted=model.state_assisted,
            development_starts=developed_on(comparison),
            null_policy_moves=entry.get("kind") == "zero" and not keeps_still(model.spec),
        )


def developed_on(comparison: Comparison) -> bool | None:
    """Whether a model that ships was developed on some of the starts; None for other models."""
    weights = Path(comparison.model) / WEIGHTS
    shipped = {digest_file(file) for file in SHIPPED.glob(f"*/{WEIGHTS}")}
    if comparison.starts.dataset is not None or digest_file(weights) not in shipped:
        return None
    return any(seed in DEVELOPMENT_SEEDS for seed in comparison.starts.seeds)
