"""Navigation metrics of walks at random: their order, their range, no NaN, and ranking by them."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim.data.navigation.walk import ACTIONS, FORWARD, LEFT, RIGHT, STOP, Walk
from worldsim.errors import DataError, UsageError, WorldsimError
from worldsim.ranking.rank import rank
from worldsim.rollout.episodes import METRICS, Episode, RolloutBatch, Trajectory
from worldsim.validation.navigation import (
    NAVIGATION_METRICS,
    Course,
    GeodesicTable,
    UndefinedMetricError,
    evaluate,
)
from worldsim.validation.navigation.ranked import as_episode_metric, walk_of
from worldsim.validation.navigation.warping import dynamic_time_warping, normalised_warping

SEEDS = range(60)
TURN = math.radians(30)


def drawn_walk(rng: np.random.Generator, steps: int) -> Walk:
    """Forward by a quarter of a metre, turns by 30 degrees, and stops."""
    actions = tuple(rng.choice([STOP, FORWARD, LEFT, RIGHT], steps, p=[0.1, 0.5, 0.2, 0.2]))
    heading, place = 0.0, np.zeros(3)
    headings, places = [heading], [place]
    for action in actions:
        heading += TURN * ((action == LEFT) - (action == RIGHT))
        ahead = np.array([math.cos(heading), math.sin(heading), 0.0])
        place = place + 0.25 * ahead * (action == FORWARD)
        headings.append(heading)
        places.append(place)
    collided = rng.random(steps) < 0.2
    return Walk(np.array(places), np.array(headings), actions, collided)


def drawn(seed: int) -> tuple[Walk, Course]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 5))
    flat = np.array([1.5, 1.5, 0.0])
    course = Course(
        goals=tuple(rng.normal(size=(int(rng.integers(1, 4)), 3)) * flat for _ in range(count)),
        reference_path=rng.normal(size=(int(rng.integers(1, 12)), 3)) * flat,
        expert_steps=tuple(int(n) for n in rng.integers(0, 20, count)),
        synchronous=drawn_walk(rng, 15),
        name=f"episode {seed}",
    )
    return drawn_walk(rng, int(rng.integers(0, 40))), course


def values(walk: Walk, course: Course) -> dict[str, float]:
    """Of every metric that has one."""
    found = {}
    for name in NAVIGATION_METRICS:
        try:
            found[name] = NAVIGATION_METRICS.get(name)(walk, course)
        except UndefinedMetricError as error:
            assert "episode" in str(error)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_order_and_range(seed: int) -> None:
    walk, course = drawn(seed)
    found = values(walk, course)
    assert set(NAVIGATION_METRICS) - set(found) <= {"ne_stop"}
    for name, number in found.items():
        low, high = NAVIGATION_METRICS.get(name).bounds
        assert math.isfinite(number) and low <= number <= high + 1e-12, name
        assert not NAVIGATION_METRICS.get(name).binary or number in (0, 1), name
    for less, more in [
        ("spl", "sr"), ("spl_steps", "sr"), ("sdtw", "sr"), ("sdtw", "ndtw"), ("sr", "osr"),
        ("sr", "isr"), ("csr", "isr"), ("sr", "csr"), ("sr", "cgt"), ("sr_view", "sr"),
        ("isr_view", "isr"), ("csr_view", "csr"), ("cgt_view", "cgt"), ("tar_all", "tar"),
        ("ate_aligned", "ate"), ("collision_rate", "collisions"),
    ]:  # fmt: skip
        assert found[less] <= found[more] + 1e-9, (less, more)
    assert found["csr"] >= found["isr"] / len(course.goals) - 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_do_not_depend_on_the_frame(seed: int) -> None:
    """A world turned about its upright axis and moved gives the same figures."""
    walk, course = drawn(seed)
    cos, sin = math.cos(1.1), math.sin(1.1)
    turn = np.array([(cos, -sin, 0), (sin, cos, 0), (0, 0, 1)])

    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(points @ turn.T + [4.0, -7.0, 2.0])

    def walked(each: Walk) -> Walk:
        return Walk(moved(each.positions), each.headings + 1.1, each.actions, each.collided)

    assert course.reference_path is not None and course.synchronous is not None
    other = Course(
        goals=tuple(moved(goals) for goals in course.goals),
        reference_path=moved(course.reference_path),
        expert_steps=course.expert_steps,
        synchronous=walked(course.synchronous),
    )
    ours, theirs = values(walk, course), values(walked(walk), other)
    assert ours.keys() == theirs.keys()
    for name, number in ours.items():
        assert number == pytest.approx(theirs[name], abs=1e-9), name


@pytest.mark.parametrize("seed", range(20))
def test_warping_is_the_least_over_all_pairings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    path, reference = (rng.normal(size=(int(rng.integers(1, 9)), 3)) for _ in range(2))

    @lru_cache(None)
    def least(i: int, j: int) -> float:
        apart = float(np.linalg.norm(path[i] - reference[j]))
        if i == j == 0:
            return apart
        before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
        return apart + min(least(a, b) for a, b in before if a >= 0 and b >= 0)

    expected = least(len(path) - 1, len(reference) - 1)
    assert dynamic_time_warping(path, reference) == pytest.approx(expected)
    assert dynamic_time_warping(reference, path) == pytest.approx(expected)
    assert normalised_warping(path, path, 0.3) == 1
    assert 0 <= normalised_warping(path, reference, 0.3) < 1


@pytest.mark.parametrize("seed", range(20))
def test_an_expert_has_every_share_at_its_best(seed: int) -> None:
    """It walks straight to each goal and is compared with itself."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 5))
    goals = rng.normal(size=(count, 3)) * [5, 5, 0]
    before = np.concatenate([np.zeros((1, 3)), goals])
    points, actions, headings = [before[0]], [], [0.0]
    for start, goal in zip(before, goals, strict=False):
        ahead = float(np.arctan2(*(goal - start)[1::-1]))
        points += [goal, goal]
        actions += [FORWARD, STOP]
        headings += [ahead, ahead]
    walk = Walk(np.array(points), np.array(headings), tuple(actions), np.zeros(len(actions), bool))
    course = Course(
        goals=tuple(goals[:, None]),
        reference_path=before,
        expert_steps=(2,) * count,
        synchronous=walk,
    )
    for name, number in values(walk, course).items():
        metric = NAVIGATION_METRICS.get(name)
        if metric.more_is_better:
            assert number == pytest.approx(1), name
        elif name not in ("walked", "steps"):
            assert number == pytest.approx(0, abs=1e-7), name


ONE = np.zeros((1, 3))
WAY = np.array([(0.0, 0, 0), (1, 0, 0)])
APART = GeodesicTable(WAY, [(0, np.inf), (np.inf, 0)])
STOPPED = Walk(np.zeros((2, 3)), np.zeros(2), (STOP,), np.zeros(1, bool))


@pytest.mark.parametrize(
    ("walk", "course"),
    [
        pytest.param(Walk(ONE, np.zeros(1), (), np.zeros(0, bool)), {}, id="one point"),
        pytest.param(STOPPED, {"goals": (ONE,)}, id="starts at its goal"),
        pytest.param(STOPPED, {"goals": (ONE, ONE), "expert_steps": (0, 0)}, id="nothing to walk"),
        pytest.param(STOPPED, {"geodesic": APART}, id="unreachable goal"),
        pytest.param(
            STOPPED, {"goals": (ONE, WAY[1:]), "geodesic": APART}, id="second unreachable"
        ),
        pytest.param(STOPPED, {"radius": 1e-300}, id="tiny radius"),
        pytest.param(STOPPED, {"radius": 5e-324, "goals": (ONE,)}, id="smallest radius"),
        pytest.param(
            Walk(np.full((2, 3), 1e7), np.full(2, 1e300), (FORWARD,), np.ones(1, bool)),
            {"expert_lengths": (1e308,)},
            id="far away",
        ),
        pytest.param(STOPPED, {"goals": (ONE,), "expert_lengths": (0.0,)}, id="no expert's length"),
    ],
)
def test_odd_input_gives_finite_figures_or_says_why_not(walk: Walk, course: dict[str, Any]) -> None:
    given: dict[str, Any] = {
        "goals": (WAY[1:],), "reference_path": ONE, "synchronous": STOPPED, "name": "episode 7",
    }  # fmt: skip
    made = Course(**given | course)
    for number in values(walk, made).values():
        assert math.isfinite(number)
    for mean in evaluate([walk], [made]).means.values():
        assert mean is None or math.isfinite(mean)


def test_an_unreachable_goal_is_failure_and_has_no_distance() -> None:
    course = Course(goals=(WAY[1:],), geodesic=APART, name="episode 3")
    found = values(STOPPED, course)
    assert [found[n] for n in ("sr", "osr", "isr", "spl", "soft_spl", "tar", "cgt")] == [0] * 7
    with pytest.raises(UndefinedMetricError, match="episode 3: no way leads .* sub-task 1"):
        NAVIGATION_METRICS.get("ne")(STOPPED, course)
    with pytest.raises(DataError, match="sub-task 1 cannot be reached from the start"):
        course.check(STOPPED.positions[0])
    first = Course(goals=(ONE, WAY[1:]), geodesic=APART, name="episode 4")
    with pytest.raises(DataError, match="sub-task 2 cannot be reached from that of sub-task 1"):
        first.check(STOPPED.positions[0])
    assert NAVIGATION_METRICS.get("isr")(STOPPED, first) == 0.5
    with pytest.raises(UndefinedMetricError, match="no shortest one"):
        NAVIGATION_METRICS.get("soft_spl")(STOPPED, first)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Walk(np.zeros((0, 3)), np.zeros(0)), "empty path"),
        (lambda: Walk(np.array([(0, np.nan, 0)]), np.zeros(1)), "position 0 .* nan"),
        (lambda: Walk(np.array([(0, np.inf, 0)]), np.zeros(1)), "finite metres"),
        (lambda: Walk(np.array([(0, 1e200, 0)]), np.zeros(1)), "finite metres"),
        (lambda: Walk(ONE, np.array([np.nan])), "headings .* nan"),
        (lambda: Walk(ONE, np.zeros(2)), r"headings .* \[2\], expected \[1\]"),
        (lambda: Walk(ONE, np.zeros(1), (STOP,)), r"actions .* \[1\], expected \[0\]"),
        (lambda: Walk(ONE[:, :2], np.zeros(1)), r"shape \(1, 2\)"),
        (lambda: Walk([("a", "b", "c")], np.zeros(1)), "no array of numbers"),  # type: ignore[arg-type]
        (lambda: Course(goals=()), "no sub-task"),
        (lambda: Course(goals=(np.zeros((0, 3)),)), "sub-task 1 .* empty"),
        (lambda: Course(goals=(ONE,), radius=0.0), "radius"),
        (lambda: Course(goals=(ONE,), radius=math.nan), "radius"),
        (lambda: Course(goals=(ONE,), reference_path=np.zeros((0, 3))), "reference path .* empty"),
        (lambda: Course(goals=(ONE,), expert_steps=(1, 2)), "expert_steps"),
        (lambda: Course(goals=(ONE,), expert_lengths=(math.inf,)), "expert_lengths"),
        (lambda: Course(goals=(ONE,), field_of_view=0.0), "field_of_view"),
        (lambda: GeodesicTable(WAY, [(0, -1), (-1, 0)]), "negative"),
        (lambda: GeodesicTable(WAY, [(0, np.nan), (1, 0)]), "NaN"),
        (lambda: GeodesicTable(WAY, [(0, 1)]), "shape"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("metres", [np.nan, -1.0, np.zeros(5)])
def test_a_geodesic_function_is_not_trusted(metres: Any) -> None:
    """NaN comes of points that could not be snapped to the floor (habitat-sim)."""
    course = Course(
        goals=(ONE,), geodesic=lambda p, g: np.broadcast_to(metres, np.shape(metres) or len(p))
    )
    with pytest.raises(UsageError, match="geodesic function gives"):
        NAVIGATION_METRICS.get("sr")(STOPPED, course)


def trajectory(walk: Walk) -> Trajectory:
    """As rollouts store it: poses and one-hot actions."""
    pose = np.tile(np.eye(4, dtype=np.float32), (walk.steps + 1, 1, 1))
    cos, sin = np.cos(walk.headings), np.sin(walk.headings)
    pose[:, :2, 0], pose[:, :2, 1] = np.stack([cos, sin], 1), np.stack([-sin, cos], 1)
    pose[:, :3, 3] = walk.positions
    action = np.array([[name == a for name in ACTIONS] for a in walk.actions], np.float32)
    flat = np.zeros((walk.steps + 1, 2), np.float32)
    return Trajectory(flat, action.reshape(-1, 4), np.zeros(walk.steps + 1, bool), pose=pose)


@pytest.mark.parametrize("name", sorted(NAVIGATION_METRICS))
def test_rankings_take_every_metric(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values in the batch of a rollout are those of the walks; NaN where an episode has none."""
    pairs = [drawn(seed) for seed in range(12)]
    courses = {start: course for start, (_, course) in enumerate(pairs)}
    metric = as_episode_metric(name, courses)
    monkeypatch.setattr(METRICS, "_entries", {**METRICS._entries, name: metric})
    batch = RolloutBatch(
        "policy",
        "simulator",
        tuple(courses),
        tuple(trajectory(walk) for walk, _ in pairs),
        (None,) * 12,
    )
    expected = [values(*pair).get(name, math.nan) for pair in pairs]
    if "collision" in name:
        expected = [math.nan] * 12  # trajectories do not tell
    np.testing.assert_allclose(batch.outcomes(name), expected, atol=2e-6)


def test_policies_are_ranked_by_conditional_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better policies stop nearer; both worlds order them by CSR, which is no rate of successes."""
    goals = (np.array([(0.0, 0, 0)]), np.array([(0.0, 0, 0)]), np.array([(0.0, 0, 0)]))
    courses = {start: Course(goals=goals) for start in range(30)}
    metric = as_episode_metric("csr", courses)
    monkeypatch.setattr(METRICS, "_entries", {**METRICS._entries, "csr": metric})

    def outcomes(spread: float, seed: int) -> NDArray[np.float64]:
        rng = np.random.default_rng(seed)
        walks = [Walk(rng.normal(size=(4, 3)) * spread, np.zeros(4), (STOP,) * 3) for _ in courses]
        names = (None,) * len(walks)
        batch = RolloutBatch("p", "w", tuple(courses), tuple(map(trajectory, walks)), names)
        return batch.outcomes("csr")

    spreads = (0.3, 0.5, 0.7, 0.9, 1.2)
    reference, imagined = (
        np.stack([outcomes(spread, 10 * i + seed) for i, spread in enumerate(spreads)])
        for seed in (0, 5)
    )
    report = rank(
        reference, imagined, [f"spread_{s}" for s in spreads], metric="csr", bootstrap_samples=50
    )
    assert (
        report.ordered()[0].name == "spread_0.3" and (report.coefficients.pearson.value or 0) > 0.9
    )


def test_the_adapter_says_what_is_missing() -> None:
    walk, course = drawn(3)
    told = trajectory(walk)
    metric, less = (as_episode_metric(n, {0: course}) for n in ("isr", "walked"))
    assert metric(told, Episode(0, error="broke off")) == 0
    assert math.isnan(less(told, Episode(0, error="broke off")))
    blind = Trajectory(told.agent_pos, told.action, told.success)
    assert math.isnan(metric(blind, Episode(0)))
    with pytest.raises(UsageError, match="no course of start 5"):
        metric(told, Episode(5))
    with pytest.raises(UsageError, match="record `pose`"):
        walk_of(blind)
    with pytest.raises(UsageError, match="one-hot rows of stop"):
        walk_of(Trajectory(told.agent_pos, told.action[:, :2], told.success, pose=told.pose))
    with pytest.raises(WorldsimError, match="Did you mean 'isr'"):
        as_episode_metric("irs", {})
