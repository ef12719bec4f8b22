"""Metrics of many episodes: means with what they are means of, and sums that are no means.

Legend: M episodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worldsim.data.navigation.walk import Walk
from worldsim.errors import UsageError
from worldsim.validation.navigation import formulas
from worldsim.validation.navigation.course import Course, UndefinedMetricError, stages
from worldsim.validation.navigation.metric import NAVIGATION_METRICS, sub_task_successes


@dataclass(frozen=True)
class NavigationScores:
    """Scores of one policy.

    Attributes:
        episodes: M.
        means: of each metric over the episodes that tell it; None where none does.
        told: how many episodes tell it.
        pooled: of LH-VLN's code, over all sub-tasks of all episodes: `isr_pooled`, `tar_pooled`.
            `challenge` is the ranking score of MMSP 2025. It takes `cgt_steps`, as the code does,
            or `cgt` where an episode does not tell its expert's steps.
    """

    episodes: int
    means: dict[str, float | None]
    told: dict[str, int]
    pooled: dict[str, float]


def evaluate(
    walks: Sequence[Walk], courses: Sequence[Course], names: Sequence[str] | None = None
) -> NavigationScores:
    """Every metric over the episodes of one policy.

    Args:
        walks: M.
        courses: M.
        names: of `NAVIGATION_METRICS`; default all.

    Raises:
        UsageError: no episode, numbers of both that differ, or an unknown name.
    """
    if not walks or len(walks) != len(courses):
        raise UsageError(
            f"{len(walks)} walks and {len(courses)} courses; expected as many, and one at least"
        )
    means, told = {}, {}
    for name in NAVIGATION_METRICS if names is None else names:
        values = _told(name, walks, courses)
        told[name] = len(values)
        means[name] = sum(values) / len(values) if values else None
    return NavigationScores(len(walks), means, told, _pooled(walks, courses))


def _told(name: str, walks: Sequence[Walk], courses: Sequence[Course]) -> list[float]:
    metric, values = NAVIGATION_METRICS.get(name), []
    for walk, course in zip(walks, courses, strict=True):
        try:
            values.append(metric(walk, course))
        except UndefinedMetricError:
            continue
    return values


def _pooled(walks: Sequence[Walk], courses: Sequence[Course]) -> dict[str, float]:
    pairs = list(zip(walks, courses, strict=True))
    successes = [done for pair in pairs for done in sub_task_successes(*pair)]
    rates = [
        formulas.target_approach(stage.error, stage.begun_at, course.radius)
        for walk, course in pairs
        for stage in stages(walk, course)
    ]
    isr, tar = formulas.independent_success(successes), sum(rates) / len(rates)
    by_steps = all(course.expert_steps is not None for course in courses)
    csr = _told("csr", walks, courses)
    cgt = _told("cgt_steps" if by_steps else "cgt", walks, courses)
    pooled = {"isr_pooled": isr, "tar_pooled": tar}
    if cgt:
        means = sum(csr) / len(csr), sum(cgt) / len(cgt)
        pooled["challenge"] = formulas.challenge_score(tar, isr, *means)
    return pooled
