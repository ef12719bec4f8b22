"""Metrics of reaching goals: success, how directly, how nearly, and LH-VLN's of sub-tasks.

A suffix names a variant: `_view` wants the target seen (LH-VLN's paper), `_steps` counts expert
steps (LH-VLN's code), `_stop` and `_all` say which sub-tasks are averaged.

Sources: LH-VLN 2412.09082, its code at 3492080 (`habitat_base/simulation.py`, `utils/metrics.py`);
Anderson et al. 1807.06757; habitat-lab `tasks/nav/nav.py`; VLN-CE `habitat_extensions/measures.py`.
"""

import math

from worldsim.data.navigation.walk import Walk
from worldsim.validation.navigation import formulas
from worldsim.validation.navigation.course import (
    Course,
    Stage,
    UndefinedMetricError,
    stages,
    walked_rows,
)
from worldsim.validation.navigation.metric import (
    counted_length,
    register_cost,
    register_share,
    sub_task_successes,
)


@register_share("sr", binary=True)
def success_rate(walk: Walk, course: Course) -> float:
    """SR: every sub-task succeeds, by distance (LH-VLN's code; R2R-CE with one sub-task)."""
    return float(all(sub_task_successes(walk, course)))


@register_share("sr_view", binary=True)
def success_rate_in_view(walk: Walk, course: Course) -> float:
    """SR with the target in view at each stop (LH-VLN's paper)."""
    return float(all(sub_task_successes(walk, course, in_view=True)))


@register_share("osr", binary=True)
def oracle_success_rate(walk: Walk, course: Course) -> float:
    """OSR: every sub-task was within the radius at some row of its own stage, stop or not.

    VLN-CE's text says `<=`, its code `<`, as here. LH-VLN's code leaves out a stage's first row.
    """
    begun = stages(walk, course)
    near = [bool(each.distances.min() < course.radius) for each in begun]
    return float(len(begun) == len(course.goals) and all(near))


@register_cost("ne", "m")
def navigation_error(walk: Walk, course: Course) -> float:
    """NE: mean metres to go at the end of each sub-task begun, one cut off by time included.

    LH-VLN's code; with one sub-task it is habitat-lab's final `DistanceToGoal`. Sub-tasks never
    begun are absent, which flatters agents that are slow: see `tar_all`.
    """
    return _mean_error(stages(walk, course), course)


@register_cost("ne_stop", "m")
def navigation_error_at_stops(walk: Walk, course: Course) -> float:
    """NE of sub-tasks that the agent itself closed, as LH-VLN's paper words it."""
    return _mean_error(tuple(s for s in stages(walk, course) if s.stopped), course)


def _mean_error(ended: tuple[Stage, ...], course: Course) -> float:
    if not ended:
        raise UndefinedMetricError(
            f"{course.name}: the agent never stopped, so there is no error at a stop; use `ne`"
        )
    errors = [each.error for each in ended]
    if not all(map(math.isfinite, errors)):
        raise UndefinedMetricError(
            f"{course.name}: no way leads from where the agent ended to the goal of sub-task "
            f"{1 + [math.isfinite(e) for e in errors].index(False)}, so its error has no value; "
            "`tar`, `soft_spl` and successes have one. Let the geodesic function snap to the floor"
        )
    return sum(errors) / len(errors)


@register_share("spl")
def success_by_path_length(walk: Walk, course: Course) -> float:
    """SPL: S L / max(L, P) in metres (Anderson et al., section 4; habitat-lab `SPL`).

    L is the shortest way from the first position through the goals in order.
    """
    if not all(sub_task_successes(walk, course)):
        return 0.0
    return formulas.efficiency(_shortest(walk, course), counted_length(walk, course))


@register_share("spl_steps")
def success_by_path_steps(walk: Walk, course: Course) -> float:
    """SPL of LH-VLN's code: S E / max(E, A), E expert steps without stops, A steps with them."""
    expert = sum(_expert_steps(course))
    if not all(sub_task_successes(walk, course)):
        return 0.0
    return formulas.efficiency(expert, walked_rows(walk, course))


@register_share("soft_spl")
def soft_success_by_path_length(walk: Walk, course: Course) -> float:
    """softSPL: max(0, 1 - d_T / d_0) L / max(L, P) (habitat-lab `SoftSPL`).

    Of several sub-tasks the first factor is the mean, 0 for those never begun.
    """
    soft = [formulas.approach(each.error, each.begun_at) for each in stages(walk, course)]
    if not any(soft):
        return 0.0
    share = sum(soft) / len(course.goals)
    return share * formulas.efficiency(_shortest(walk, course), counted_length(walk, course))


@register_share("isr")
def independent_success_rate(walk: Walk, course: Course) -> float:
    """ISR: see `formulas.independent_success`; success by distance."""
    return formulas.independent_success(sub_task_successes(walk, course))


@register_share("isr_view")
def independent_success_rate_in_view(walk: Walk, course: Course) -> float:
    """ISR with the target in view at each stop."""
    return formulas.independent_success(sub_task_successes(walk, course, in_view=True))


@register_share("csr")
def conditional_success_rate(walk: Walk, course: Course) -> float:
    """CSR: see `formulas.conditional_success`; success by distance."""
    return formulas.conditional_success(sub_task_successes(walk, course))


@register_share("csr_view")
def conditional_success_rate_in_view(walk: Walk, course: Course) -> float:
    """CSR with the target in view at each stop."""
    return formulas.conditional_success(sub_task_successes(walk, course, in_view=True))


@register_share("cgt")
def conditional_success_by_length(walk: Walk, course: Course) -> float:
    """CGT by metres, as LH-VLN's paper words it; see `formulas.conditional_success_by_truth`.

    Lengths are the course's `expert_lengths`, else those of the shortest way.
    """
    return _by_length(sub_task_successes(walk, course), walk, course)


@register_share("cgt_view")
def conditional_success_by_length_in_view(walk: Walk, course: Course) -> float:
    """CGT by metres, with the target in view at each stop."""
    return _by_length(sub_task_successes(walk, course, in_view=True), walk, course)


@register_share("cgt_steps")
def conditional_success_by_steps(walk: Walk, course: Course) -> float:
    """CGT by expert steps, as LH-VLN's code has it."""
    steps = _expert_steps(course)
    return formulas.conditional_success_by_truth(sub_task_successes(walk, course), steps)


@register_share("tar")
def target_approach_rate(walk: Walk, course: Course) -> float:
    """TAR: mean over sub-tasks begun; see `formulas.target_approach` (LH-VLN's code)."""
    rates = _approach_rates(walk, course)
    return sum(rates) / len(rates)


@register_share("tar_all")
def target_approach_rate_of_all(walk: Walk, course: Course) -> float:
    """TAR over all sub-tasks, 0 for those never begun, which `tar` leaves out. Ours."""
    return sum(_approach_rates(walk, course)) / len(course.goals)


def _approach_rates(walk: Walk, course: Course) -> list[float]:
    return [
        formulas.target_approach(each.error, each.begun_at, course.radius)
        for each in stages(walk, course)
    ]


def _shortest(walk: Walk, course: Course) -> float:
    return sum(_reachable_legs(walk, course))


def _reachable_legs(walk: Walk, course: Course) -> tuple[float, ...]:
    legs = course.shortest_legs(walk.positions[0])
    if not all(map(math.isfinite, legs)):
        raise UndefinedMetricError(
            f"{course.name}: no way leads from the start through all goals (metres of its parts: "
            f"{list(legs)}), so there is no shortest one; leave the episode out (`Course.check`)"
        )
    return legs


def _by_length(successes: list[bool], walk: Walk, course: Course) -> float:
    if not any(successes):
        return 0.0
    known = course.expert_lengths
    lengths = _reachable_legs(walk, course) if known is None else known
    return formulas.conditional_success_by_truth(successes, lengths)


def _expert_steps(course: Course) -> tuple[int, ...]:
    if course.expert_steps is None:
        raise UndefinedMetricError(
            f"{course.name} does not say how many steps its expert took (`expert_steps`); "
            "`spl` and `cgt` go by metres"
        )
    return course.expert_steps
