"""Metrics of the way itself: likeness to a reference, length, collisions, errors of pose.

Suffix `_repeats` keeps repeated positions, as of an agent that turns in place.

Sources: Ilharco et al. 1907.05446; VLN-CE `habitat_extensions/measures.py`; habitat-lab
`tasks/nav/nav.py`; Sturm et al., IROS 2012.
"""

import math

from worldsim.data.navigation.walk import Bool, Float, Walk
from worldsim.validation.navigation.course import Course, UndefinedMetricError, walked_rows
from worldsim.validation.navigation.goal_metrics import success_rate
from worldsim.validation.navigation.metric import (
    SHARE,
    counted_length,
    counted_path,
    register_cost,
    register_share,
)
from worldsim.validation.navigation.trajectory_error import (
    absolute_trajectory_error,
    relative_pose_error,
)
from worldsim.validation.navigation.warping import normalised_warping, without_repeats


@register_share("ndtw")
def normalised_time_warping(walk: Walk, course: Course) -> float:
    """nDTW: exp(-DTW / (R radius)), of positions less repeats (VLN-CE `NDTW`, but exact)."""
    return normalised_warping(
        without_repeats(counted_path(walk, course)), _reference(course), course.radius
    )


@register_share("ndtw_repeats")
def normalised_time_warping_with_repeats(walk: Walk, course: Course) -> float:
    """nDTW of every position, turns in place included (Ilharco et al., equation 2)."""
    return normalised_warping(counted_path(walk, course), _reference(course), course.radius)


@register_share("sdtw")
def success_by_time_warping(walk: Walk, course: Course) -> float:
    """SDTW: S nDTW (Ilharco et al., equation 3; VLN-CE `SDTW`)."""
    return success_rate(walk, course) * normalised_time_warping(walk, course)


@register_share("sdtw_repeats")
def success_by_time_warping_with_repeats(walk: Walk, course: Course) -> float:
    """SDTW of every position, turns in place included."""
    return success_rate(walk, course) * normalised_time_warping_with_repeats(walk, course)


@register_cost("walked", "m")
def walked_length(walk: Walk, course: Course) -> float:
    """Metres walked until the last sub-task was closed (VLN-CE `PathLength`)."""
    return counted_length(walk, course)


@register_cost("steps", "steps")
def steps_taken(walk: Walk, course: Course) -> float:
    """Actions until the last sub-task was closed; stops count (VLN-CE `StepsTaken`)."""
    return float(walked_rows(walk, course))


@register_cost("collisions", "steps")
def collisions(walk: Walk, course: Course) -> float:
    """Actions that ran into something (habitat-lab `Collisions`)."""
    return float(_collided(walk, course).sum())


@register_cost("collision_rate", "share", SHARE)
def collision_rate(walk: Walk, course: Course) -> float:
    """Share of actions that ran into something; 0 where there was no action."""
    collided = _collided(walk, course)
    return float(collided.mean()) if len(collided) else 0.0


@register_cost("ate", "m")
def absolute_error(walk: Walk, course: Course) -> float:
    """ATE to the course's `synchronous` walk, both in one frame; see `trajectory_error`."""
    return absolute_trajectory_error(walk.positions, _synchronous(course).positions)


@register_cost("ate_aligned", "m")
def absolute_error_aligned(walk: Walk, course: Course) -> float:
    """ATE after the rigid motion that fits best (`evo_ape --align`)."""
    return absolute_trajectory_error(walk.positions, _synchronous(course).positions, "rigid")


@register_cost("rpe", "m")
def relative_error(walk: Walk, course: Course) -> float:
    """RPE of single actions, in metres; see `trajectory_error`."""
    return relative_pose_error(walk, _synchronous(course))[0]


@register_cost("rpe_turn", "rad", (0.0, math.pi))
def relative_turn_error(walk: Walk, course: Course) -> float:
    """RPE of single actions, in radians of heading."""
    return relative_pose_error(walk, _synchronous(course))[1]


def _reference(course: Course) -> Float:
    if course.reference_path is None:
        raise UndefinedMetricError(f"{course.name} has no reference path to compare with")
    return course.reference_path


def _collided(walk: Walk, course: Course) -> Bool:
    if walk.collided is None:
        raise UndefinedMetricError(
            f"{course.name}: nobody told what the walk ran into (`collided`)"
        )
    return walk.collided[: walked_rows(walk, course)]


def _synchronous(course: Course) -> Walk:
    if course.synchronous is None:
        raise UndefinedMetricError(
            f"{course.name} has no walk of the same clock to compare with (`synchronous`)"
        )
    return course.synchronous
