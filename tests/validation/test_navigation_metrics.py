"""Navigation metrics worked by hand, one by one."""

import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.data.navigation.walk import FORWARD, LEFT, RIGHT, STOP, Walk
from worldsim.errors import UsageError
from worldsim.validation.navigation import (
    NAVIGATION_METRICS,
    Course,
    GeodesicTable,
    UndefinedMetricError,
    evaluate,
    formulas,
)
from worldsim.validation.navigation.course import stages
from worldsim.validation.navigation.trajectory_error import (
    absolute_trajectory_error,
    relative_pose_error,
    rigidly_aligned,
)
from worldsim.validation.navigation.warping import dynamic_time_warping, normalised_warping

PAGE = Path(__file__).resolve().parents[2] / "docs" / "navigation.md"


def walk_along(points: Sequence[tuple[float, ...]], actions: Sequence[str], **more: Any) -> Walk:
    """A walk of points (x, y) or (x, y, heading in degrees)."""
    rows = [(*point, 0.0)[:3] for point in points]
    positions = [(x, y, 0.0) for x, y, _ in rows]
    return Walk(np.array(positions), np.radians([h for _, _, h in rows]), tuple(actions), **more)


def course_to(*goals: tuple[float, float], **more: Any) -> Course:
    return Course(goals=tuple(np.array([(x, y, 0.0)]) for x, y in goals), **more)


def value(name: str, walk: Walk, course: Course) -> float:
    return NAVIGATION_METRICS.get(name)(walk, course)


# Three metres along x, a look to the left, three along y; both stops.
ROUND = walk_along(
    [(0, 0), (3, 0), (3, 0), (3, 0, 90), (3, 3, 90), (3, 3, 90)],
    [FORWARD, STOP, LEFT, FORWARD, STOP],
)


@pytest.mark.parametrize(
    ("successes", "isr", "csr"),
    [
        ((1, 1), 1, 1),
        ((1, 0), 1 / 2, 1 / 2),
        ((0, 1), 1 / 2, 1 / 4),
        ((0, 0), 0, 0),
        ((1,), 1, 1),
        ((0,), 0, 0),
        ((1, 0, 1), 2 / 3, (3 + 0 + 1) / 9),
        ((0, 1, 1), 2 / 3, (0 + 1 + 3) / 9),
    ],
)
def test_independent_and_conditional_success(
    successes: tuple[int, ...], isr: float, csr: float
) -> None:
    """LH-VLN's cases of two sub-tasks, and three sub-tasks by the formula."""
    flags = list(map(bool, successes))
    assert formulas.independent_success(flags) == pytest.approx(isr)
    assert formulas.conditional_success(flags) == pytest.approx(csr)


@pytest.mark.parametrize(
    ("successes", "weights", "expected"),
    [
        ((1, 1), (30, 10), 1),
        ((1, 0), (30, 10), 3 / 4),  # 30/40 * (1 + 1) / 2
        ((0, 1), (30, 10), 1 / 8),  # 10/40 * 1 / 2
        ((0, 1, 1), (2, 1, 1), 1 / 4 / 3 + 1 / 4),
        ((1, 0), (0, 0), 1 / 2),  # nothing to walk: both count alike
        ((1, 1), (1e308, 1e308), 1),
    ],
)
def test_conditional_success_by_truth(
    successes: tuple[int, ...], weights: tuple[float, ...], expected: float
) -> None:
    found = formulas.conditional_success_by_truth(list(map(bool, successes)), weights)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "begun_at", "expected"),
    [
        (0.5, 8, 1),  # within the radius
        (4, 8, 1 - 3 / 8),
        (8, 8, 1 - 7 / 8),
        (16, 8, 1 - 15 / 16),  # further than it began
        (0, 0, 1),
        (2, 0, 0),
        (math.inf, 8, 0),
        (math.inf, math.inf, 0),
        (2, math.inf, 1),
    ],
)
def test_target_approach(error: float, begun_at: float, expected: float) -> None:
    assert formulas.target_approach(error, begun_at, 1.0) == pytest.approx(expected)


def test_the_challenge_score_weighs_four() -> None:
    assert formulas.challenge_score(tar=0.5, isr=1, csr=0.5, cgt=0) == pytest.approx(0.2 + 0.3)


@pytest.mark.parametrize(
    "refuse",
    [
        lambda: formulas.independent_success([]),
        lambda: formulas.conditional_success([]),
        lambda: formulas.conditional_success_by_truth([True], [math.nan]),
        lambda: formulas.conditional_success_by_truth([True], [1, 2]),
        lambda: formulas.target_approach(math.nan, 1, 1),
        lambda: formulas.efficiency(1, math.inf),
        lambda: normalised_warping([(0, 0, 0)], [(0, 0, 0)], 0),
    ],
)
def test_formulas_refuse_what_has_no_value(refuse: Any) -> None:
    with pytest.raises(UsageError, match=r"expected|without sub-tasks"):
        refuse()


def test_two_sub_tasks_done() -> None:
    course = course_to((3, 0.5), (3, 3), expert_steps=(1, 2), name="round")
    assert [value(n, ROUND, course) for n in ("sr", "osr", "isr", "csr", "cgt")] == [1] * 5
    assert value("ne", ROUND, course) == pytest.approx((0.5 + 0) / 2)
    shortest = math.hypot(3, 0.5) + 2.5
    assert value("spl", ROUND, course) == pytest.approx(shortest / 6)
    assert value("spl_steps", ROUND, course) == pytest.approx(3 / 5)  # five actions, stops too
    assert value("walked", ROUND, course) == 6 and value("steps", ROUND, course) == 5
    assert value("tar", ROUND, course) == value("tar_all", ROUND, course) == 1
    soft = (1 - 0.5 / math.hypot(3, 0.5) + 1) / 2
    assert value("soft_spl", ROUND, course) == pytest.approx(soft * shortest / 6)


def test_the_second_sub_task_alone() -> None:
    course = course_to((0, 3), (3, 3), expert_steps=(10, 30), expert_lengths=(3.0, 1.0))
    assert value("isr", ROUND, course) == 1 / 2 and value("csr", ROUND, course) == 1 / 4
    assert value("cgt", ROUND, course) == pytest.approx(1 / 4 * 1 / 2)
    assert value("cgt_steps", ROUND, course) == pytest.approx(3 / 4 * 1 / 2)
    for name in ("sr", "osr", "spl", "spl_steps", "sr_view", "isr_view"):
        # The second goal lies underfoot when it stops there: seen whatever the heading.
        assert value(name, ROUND, course) == (0.5 if name == "isr_view" else 0)


def test_paper_wants_the_target_seen_and_code_does_not() -> None:
    """A target half a metre behind: reached, and out of sight."""
    behind = walk_along([(0, 0), (2, 0), (2, 0)], [FORWARD, STOP])
    course = course_to((1.5, 0))
    assert value("sr", behind, course) == 1 and value("sr_view", behind, course) == 0
    for degrees, seen in ((150.5, True), (149.5, False), (-150.5, True)):
        turned = walk_along([(0, 0), (2, 0, degrees), (2, 0, degrees)], [FORWARD, STOP])
        assert value("isr_view", turned, course) == seen  # 60 degrees wide
        assert value("csr_view", turned, course) == value("cgt_view", turned, course) == seen
    told = walk_along([(0, 0), (2, 0), (2, 0)], [FORWARD, STOP], seen=[False, True, False])
    assert value("sr_view", told, course) == 1, "the row before the stop tells"


def test_reaching_is_not_stopping() -> None:
    passing = walk_along([(0, 0), (2, 0), (5, 0)], [FORWARD, FORWARD])
    course = course_to((2, 0))
    assert value("osr", passing, course) == 1 and value("sr", passing, course) == 0
    assert value("ne", passing, course) == 3 and value("spl", passing, course) == 0
    with pytest.raises(UndefinedMetricError, match="never stopped"):
        value("ne_stop", passing, course)
    edge = walk_along([(0, 0), (1, 0), (1, 0)], [FORWARD, STOP])
    assert value("sr", edge, course) == 0, "a metre off is not below a metre"
    assert value("osr", edge, course) == 0


def test_sub_tasks_never_begun_are_absent_from_errors_and_fail() -> None:
    """One stop of three, then time is out at the second."""
    cut = walk_along([(0, 0), (2, 0), (2, 0), (2, 2)], [FORWARD, STOP, FORWARD])
    course = course_to((2, 0), (2, 6), (0, 6))
    assert [(s.stopped, s.error) for s in stages(cut, course)] == [(True, 0), (False, 4)]
    assert value("ne", cut, course) == 2 and value("ne_stop", cut, course) == 0
    assert value("isr", cut, course) == pytest.approx(1 / 3)
    assert value("csr", cut, course) == pytest.approx(3 / 9)
    assert value("tar", cut, course) == pytest.approx((1 + (1 - 3 / 6)) / 2)
    assert value("tar_all", cut, course) == pytest.approx((1 + (1 - 3 / 6)) / 3)
    assert value("soft_spl", cut, course) == pytest.approx((1 + 2 / 6) / 3)


def test_what_follows_the_last_stop_does_not_count() -> None:
    on = walk_along([(0, 0), (2, 0), (2, 0), (9, 0)], [FORWARD, STOP, FORWARD], collided=[0, 0, 1])
    course = course_to((2, 0), reference_path=np.array([(0, 0, 0), (2, 0, 0)]))
    assert value("walked", on, course) == 2 and value("steps", on, course) == 2
    assert value("spl", on, course) == value("ndtw", on, course) == 1
    assert value("collisions", on, course) == 0


def test_several_objects_of_one_name() -> None:
    """The nearest counts, and the shortest way may take another first."""
    course = Course(goals=(np.array([(1.0, 0, 0), (0, 2.0, 0)]), np.array([(0, 3.0, 0)])))
    assert course.shortest_legs(np.zeros(3)) == (2.0, 1.0)
    there = walk_along([(0, 0), (0, 2), (0, 2), (0, 3), (0, 3)], [FORWARD, STOP, FORWARD, STOP])
    assert value("spl", there, course) == 1


def test_geodesic_and_straight_distances_differ() -> None:
    """Two places a metre apart with a wall between, so that the way is five."""
    table = GeodesicTable([(0, 0, 0), (1, 0, 0)], [(0, 5), (5, 0)], reach=0.6)
    course = course_to((1, 0), geodesic=table, radius=2.0)
    stayed = walk_along([(0, 0), (0, 0)], [STOP])
    assert value("sr", stayed, course) == 0 and value("ne", stayed, course) == 5
    assert value("sr", stayed, course_to((1, 0), radius=2.0)) == 1
    near = np.array([(0.1, 0, 0), (0.5, 0, 0), (0.9, 0, 0), (0.5, 3, 0)])
    found = table(near, np.array([1.0, 0, 0]))
    np.testing.assert_allclose(found, [5.1, 5.5, 0.1, np.inf])


def test_warping_by_hand() -> None:
    """Pairs (0,0) (1,1) (1,2): the reference's last point costs 1."""
    path, reference = [(0, 0, 0), (1, 0, 0)], [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert dynamic_time_warping(path, reference) == 1
    assert normalised_warping(path, reference, 0.5) == pytest.approx(math.exp(-1 / 1.5))
    assert dynamic_time_warping([(0, 3, 0)], [(0, 0, 0), (4, 0, 0)]) == 3 + 5


def test_turning_in_place_counts_only_where_repeats_are_kept() -> None:
    turning = walk_along([(0, 1), (0, 1, 30), (0, 1), (2, 0), (2, 0)], [LEFT, RIGHT, FORWARD, STOP])
    course = course_to((2, 0), reference_path=np.array([(0, 0, 0), (2, 0, 0)]), radius=3.0)
    assert value("ndtw", turning, course) == pytest.approx(math.exp(-1 / 6))
    assert value("ndtw_repeats", turning, course) == pytest.approx(math.exp(-3 / 6))
    assert value("sdtw", turning, course) == value("ndtw", turning, course)
    assert value("sdtw_repeats", turning, course) == value("ndtw_repeats", turning, course)
    far = course_to((9, 9), reference_path=course.reference_path, radius=3.0)
    assert value("sdtw", turning, far) == 0 < value("ndtw", turning, far)


def test_collisions() -> None:
    bumped = walk_along([(0, 0)] * 5, [FORWARD] * 4, collided=[True, False, True, True])
    assert value("collisions", bumped, course_to((1, 0))) == 3
    assert value("collision_rate", bumped, course_to((1, 0))) == 3 / 4
    stood = walk_along([(0, 0)], [], collided=[])
    assert value("collision_rate", stood, course_to((1, 0))) == 0


def test_trajectory_errors_by_hand() -> None:
    known = walk_along([(0, 0), (1, 0), (2, 0)], [FORWARD] * 2)
    off = walk_along([(0, 0), (1, 3), (2, 3)], [FORWARD] * 2)
    course = course_to((1, 0), synchronous=known)
    assert value("ate", off, course) == pytest.approx(math.sqrt((0 + 9 + 9) / 3))
    assert value("rpe", off, course) == pytest.approx(math.sqrt(9 / 2)), "one bad motion of two"
    assert value("rpe_turn", off, course) == 0
    turned = walk_along([(0, 0), (1, 0, 20), (2, 0, 20)], [FORWARD] * 2)
    assert value("rpe_turn", turned, course) == pytest.approx(math.radians(20) / math.sqrt(2))
    # The second motion is straight on in the world, so 20 degrees to the right of the agent.
    aside = 2 * math.sin(math.radians(10))
    assert value("rpe", turned, course) == pytest.approx(aside / math.sqrt(2))
    assert relative_pose_error(off, known, delta=2) == pytest.approx((3.0, 0.0))
    assert relative_pose_error(off, known, delta=3) == (0, 0)


def test_alignment_undoes_a_rigid_motion() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    moved = points @ turn.T + [3, -2, 1]
    np.testing.assert_allclose(rigidly_aligned(moved, points), points, atol=1e-12)
    assert absolute_trajectory_error(moved, points) > 1
    assert absolute_trajectory_error(moved, points, "rigid") < 1e-12
    mirrored = points * [1, 1, -1]
    assert absolute_trajectory_error(mirrored, points, "rigid") > 0.1, "a mirror is no motion"
    for degenerate in (points[:1], np.tile(points[:1], (4, 1)), np.outer(range(4), [1, 2, 3])):
        assert absolute_trajectory_error(degenerate + 1.0, degenerate, "rigid") < 1e-12


def test_means_and_pools_of_episodes_of_different_length() -> None:
    """One success of one, and one of three: the paper's ISR is 2/3, the code's 1/2."""
    one = walk_along([(0, 0), (0, 0)], [STOP])
    three = walk_along([(0, 0), (0, 0), (5, 0), (5, 0)], [STOP, FORWARD, STOP])
    courses = [course_to((0, 0)), course_to((0, 0), (9, 0), (0, 0))]
    scores = evaluate([one, three], courses)
    assert scores.means["isr"] == pytest.approx((1 + 1 / 3) / 2)
    assert scores.pooled["isr_pooled"] == pytest.approx(2 / 4)
    # Begun: 1 of 1; 1, 1 - 3/9 and (5 m off since it began there) 1 - 4/5 of three.
    assert scores.pooled["tar_pooled"] == pytest.approx((1 + 1 + 6 / 9 + 1 / 5) / 4)
    assert scores.means["tar"] == pytest.approx((1 + (1 + 6 / 9 + 1 / 5) / 3) / 2)
    assert scores.means["cgt_steps"] is None and scores.told["cgt_steps"] == 0
    csr, cgt = scores.means["csr"], scores.means["cgt"]
    assert csr is not None and cgt is not None
    expected = 0.4 * scores.pooled["tar_pooled"] + 0.2 * (0.5 + csr + cgt)
    assert scores.pooled["challenge"] == pytest.approx(expected)
    for some, asked in (([], []), ([one], courses)):
        with pytest.raises(UsageError, match="expected as many"):
            evaluate(some, asked)


def test_the_page_lists_every_metric_and_its_snippet_runs() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Episode files")[0]
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    names = [name for cell in listed for name in re.findall(r"\w+", cell)]
    assert sorted(names) == sorted([*NAVIGATION_METRICS, "isr_pooled", "tar_pooled", "challenge"])
    (snippet,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(snippet, str(PAGE), "exec"), {})


def test_metrics_need_no_simulator_and_no_torch() -> None:
    code = (
        "import sys, worldsim.validation.navigation, worldsim.data.navigation.vlnce\n"
        "import worldsim.data.navigation.lhpr_writer, worldsim.data.navigation.generator\n"
        "heavy = ('torch', 'mujoco', 'habitat_sim', 'gymnasium', 'scipy', 'pyarrow')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout == "[]\n", said.stderr
