"""Navigation metrics of rollouts: sub-tasks by each world's word, ways on the episode's map."""

import math
from typing import Any

import numpy as np
import pytest
from indoor_testing import ENV, ID

from worldsim.envs import make
from worldsim.envs.indoor.shortest_path import ShortestPaths
from worldsim.rollout.episodes import METRICS, Episode, RolloutBatch, Trajectory
from worldsim.rollout.results import Job, read_result, write_result
from worldsim.validation.navigation.course import Course
from worldsim.validation.navigation.indoor import course_of, journeys_of
from worldsim.validation.navigation.ranked import BY_DISTANCE, RANKED, met_sub_tasks, walk_of

ACROSS = np.array([(0, 0), (1, 0), (2, 0), (2, 0), (2, 1), (2, 1)], float)
"""Two metres ahead, a stop, a metre aside, a stop."""
COURSE = Course(
    goals=(np.array([(2.5, 0, 0)]), np.array([(2, 3.5, 0)])),
    radius=1.0,
    reference_path=np.array([(0, 0, 0), (2, 0, 0), (2, 1, 0.0)]),
)


def walk(met: tuple[bool, ...], places: np.ndarray = ACROSS) -> Trajectory:
    """A trajectory that stops after rows 2 and 4, as often as `met` tells."""
    pose = np.tile(np.eye(4, dtype=np.float32), (len(places), 1, 1))
    pose[:, :2, 3] = places
    stages = np.zeros((len(places), 2), np.float32)
    stages[:, 0] = 2
    for row, word in zip((3, 5), met, strict=False):
        stages[row:, 0] -= 1
        stages[row:, 1] += word
    action = np.zeros((len(places) - 1, 4), np.float32)
    success = np.zeros(len(places), bool)
    return Trajectory(places.astype(np.float32), action, success, pose=pose, stages=stages)


@pytest.mark.parametrize(
    ("met", "isr", "csr", "sr"),
    [
        ((True, True), 1, 1, 1),
        ((True, False), 0.5, 0.5, 0),
        ((False, True), 0.5, 0.25, 0),
        ((False,), 0, 0, 0),
        ((), 0, 0, 0),
    ],
)
def test_success_is_each_worlds_word(
    met: tuple[bool, ...], isr: float, csr: float, sr: float
) -> None:
    """LH-VLN's CSR of (1,1), (1,0) and (0,1) is 1, 1/2 and 1/4; no course is needed."""
    said = {name: METRICS.get(name)(walk(met), Episode(0)) for name in ("isr", "csr", "sr")}
    assert said == {"isr": isr, "csr": csr, "sr": sr}
    padded = list(met) + [False] * (2 - len(met))
    assert met_sub_tasks(walk(met)) == padded
    assert [bool(word) for word in walk_of(walk(met)).met] == list(met)  # type: ignore[union-attr]


def test_ways_are_held_against_the_course() -> None:
    """The word decides success, distances decide the rest: here only the first stop is near."""
    episode = Episode(0, course=COURSE)
    both = {name: METRICS.get(name)(walk((True, True)), episode) for name in RANKED}
    assert both["walked"] == 3 and both["steps"] == 5
    assert both["ne"] == pytest.approx((0.5 + 2.5) / 2)
    shortest = 2.5 + math.hypot(0.5, 3.5)
    assert both["spl"] == pytest.approx(shortest / max(shortest, 3))
    assert both["osr"] == 0 and both["tar"] < 1
    none = {name: METRICS.get(name)(walk((False, False)), episode) for name in RANKED}
    assert none["spl"] == none["cgt"] == none["isr"] == 0
    assert none["ne"] == both["ne"] and none["tar"] == both["tar"]
    # Nobody's word counts in those by distance, which are alike in both.
    distance = {name: both[name] for name in BY_DISTANCE}
    moved = {name for name in RANKED if both[name] != none[name]}
    unjudged = {name for name in RANKED if not METRICS.get(name).judged}
    assert set(BY_DISTANCE) <= unjudged == set(RANKED) - moved
    assert distance["isr_distance"] == 0.5 and distance["csr_distance"] == 0.5
    assert distance["sr_distance"] == distance["spl_distance"] == 0
    assert math.isnan(METRICS.get("isr_distance")(walk((True, True)), Episode(0)))
    without = METRICS.get("spl")(walk((True, True)), Episode(0))
    assert math.isnan(without)
    assert METRICS.get("spl")(walk((True, True)), Episode(0, None, "broke off", (), COURSE)) == 0


def test_results_on_disk_keep_stages(tmp_path: Any) -> None:
    walks = (walk((True, False)), walk((True, True)))
    batch = RolloutBatch("p", "imagination", (0, 1), walks, (None, None), 9)
    write_result(tmp_path, Job("p", "imagination"), {}, batch)
    again = read_result(tmp_path, Job("p", "imagination"))
    assert again is not None
    np.testing.assert_array_equal(again.outcomes("csr"), [0.5, 1])


def test_courses_have_the_simulators_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    """Along a walk, metres to each goal are those that the env tells."""
    env: Any = make(ID, **{**ENV, "goals": 2})
    (journey,) = journeys_of(ID, {**ENV, "goals": 2}, {0: 4}).values()
    course, rng = course_of(journey), np.random.default_rng(0)
    assert len(course.goals) == 2 and course.radius == 1.0
    observation, info = env.reset(seed=4)
    for step in range(24):
        place = np.array([[*observation["agent_pos"][:2], 0.0]])
        goal = course.goals[int(info["stage"])][0]
        metres = course.geodesic(place, goal)
        assert float(np.asarray(metres).item()) == pytest.approx(info["distance_to_goal"], abs=2e-3)
        observation, _, _, _, info = env.step(0 if step == 11 else int(rng.integers(1, 4)))
    legs = course.shortest_legs(np.zeros(3))
    assert legs[0] == pytest.approx(journey.distance, abs=1e-6)
    assert all(map(math.isfinite, legs)) and legs[1] >= 0
    path = course.reference_path
    assert path is not None and np.allclose(path[0], 0, atol=1e-6)
    # Imagined odometry may lead out of the house; the nearest floor counts.
    outside = np.array([[8.0, 8.0, 0.0], [-8.0, -8.0, 0.0]])
    far = course.geodesic(outside, course.goals[0][0])
    assert np.isfinite(far).all()
    # What was found is kept, for each goal by itself.
    other = course.geodesic(outside, course.goals[1][0])
    assert not np.allclose(far, other)
    with monkeypatch.context() as patched:
        patched.setattr(ShortestPaths, "distance", None)
        np.testing.assert_array_equal(course.geodesic(outside, course.goals[0][0]), far)
