"""Keys of `configs/rank.yaml` and what they accept."""

from collections.abc import Mapping
from dataclasses import dataclass

from worldsim.cli.settings.env import check_env_node
from worldsim.cli.settings.rollout import Pool, RolloutSettings
from worldsim.cli.settings.shared import MODEL
from worldsim.config.limits import Count, InputFile, InputFolder, Text, Whole, dataset_folder
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.ranking.releases import ReleaseOptions
from worldsim.rollout.baselines import BaselineOptions
from worldsim.rollout.episodes import METRICS
from worldsim.rollout.eval_config import RELEASE, Level, PoolName, Resamples
from worldsim.validation.navigation.ranked import RANKED


@dataclass(frozen=True)
class ReferenceNode:
    """Node `reference`."""

    csv: InputFile | None


@dataclass(frozen=True)
class RankFilms(Checked):
    """Node `films`."""

    starts: Whole
    each: Whole


@dataclass(frozen=True)
class ReportNode:
    """Node `report`."""

    title: Text
    summary: str
    also: tuple[InputFolder, ...]


@dataclass(frozen=True)
class Settings(RolloutSettings):
    """See `configs/rank.yaml`."""

    pool: PoolName
    release: ReleaseOptions
    only: tuple[Text, ...]
    metric: Text
    reference: ReferenceNode
    groups: Mapping[str, Text]
    null_policy: Text | None
    bootstrap_samples: Resamples
    level: Level
    baselines: BaselineOptions
    judge_validation: Whole
    hold: Count | None
    films: RankFilms
    report: ReportNode

    def __post_init__(self) -> None:
        super().__post_init__()
        assert set(RANKED) <= set(METRICS)  # filed with the module that names them
        METRICS.get(self.metric)  # an unknown name is refused
        if self.pool == RELEASE:
            self._check_release()
        self.require_policies(self.only, "only")
        self.require_policies(self.groups, "groups")
        self._check_baselines()

    @property
    def chosen_pool(self) -> Pool:
        """The pool that `pool` names."""
        assert self.policy is not None
        if self.pool != RELEASE:
            return self.policy
        if not self.policy.release.policies:
            raise UsageError(
                "pool=release: the chosen `policy` has no release pool; name policies that nothing "
                "was tuned on under `release:` in its file, as configs/policy/pool_push.yaml does"
            )
        return self.policy.release

    def _check_baselines(self) -> None:
        """Refuse baselines that name what is not there."""
        given = self.baselines
        if given.action_error is not None:
            dataset_folder.check(given.action_error, "baselines.action_error")
        if given.demonstrations is not None:
            MODEL.check(given.demonstrations, "baselines.demonstrations")
        if given.changed and self.reference.csv is not None:
            raise UsageError(
                "baselines.changed is compared with the simulator as it is, and reference.csv "
                "stands for that; leave one of them out"
            )
        if given.changed and self.env:
            check_env_node(self.env, given.changed, "baselines.changed")

    def _check_release(self) -> None:
        """Refuse what would make a release run one of other starts or policies.

        Raises:
            UsageError: says which key to leave out.
        """
        for key, given in (("only", self.only), ("starts.factors", self.starts.factors)):
            if given:
                raise UsageError(
                    f"{key} is {given!r}; a release run takes the whole pool from the block's own "
                    f"starts, so leave {key} out"
                )
