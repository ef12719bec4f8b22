"""What episodes of agents that walk ask, beside their results: courses, and maps for films."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.rollout.episodes import RolloutBatch
from worldsim.rollout.eval_config import EvalConfig
from worldsim.rollout.results import Outcomes

Journeys = Mapping[int, Any]


def journeys(config: EvalConfig, starts: Collection[int] | None = None) -> Journeys:
    """Episodes by number of start; none where starts are recorded, or the env plans none.

    Args:
        config: of the ranking.
        starts: which of its starts; all by default.
    """
    if config.env_id is None or config.starts.dataset is not None or config.starts.factors:
        return {}
    from worldsim.validation.navigation.indoor import journeys_of

    seeds = enumerate(config.starts.seeds)
    chosen = {start: seed for start, seed in seeds if starts is None or start in starts}
    return journeys_of(config.env_id, config.env_kwargs, chosen)


def on_courses(outcomes: Outcomes) -> Outcomes:
    """Outcomes whose episodes know their courses, as navigation metrics ask of them."""
    found = journeys(outcomes.eval_config)
    if not found:
        return outcomes
    from worldsim.validation.navigation.indoor import course_of

    courses = {start: course_of(journey) for start, journey in found.items()}

    def placed(batches: list[RolloutBatch]) -> list[RolloutBatch]:
        return [replace(batch, courses=courses) for batch in batches]

    return replace(
        outcomes,
        imagined=placed(outcomes.imagined),
        truth=None if outcomes.truth is None else placed(outcomes.truth),
        baselines={name: placed(batches) for name, batches in outcomes.baselines.items()},
    )


def map_panels(
    outcomes: Outcomes, found: Journeys, policy: str, start: int
) -> NDArray[np.uint8] | None:
    """The scene from above as both ways grow, uint8 `[T, h, w, 3]`; None without a map.

    Args:
        outcomes: with the ways.
        found: of `journeys`.
        policy: whose ways.
        start: from where.
    """
    if start not in found or outcomes.truth is None:
        return None
    from worldsim.reporting.floor_ways import growing_ways

    index = list(outcomes.eval_config.policies).index(policy)
    ways = {
        batch.world: batch.trajectories[start].agent_pos[:, list(batch.position)]
        for batch in (outcomes.truth[index], outcomes.imagined[index])
    }
    return growing_ways(found[start], ways)
