"""Tasks drawn from a described scene, walks cut at turns, and their files in LHPR's layout."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from navigation_scene import apartment, stroll

from worldsim.data.navigation.episode import NavigationEpisode, SubTask
from worldsim.data.navigation.generator import (
    GenerationConfig,
    generate,
    reason_to_reject,
)
from worldsim.data.navigation.instructions import (
    Part,
    Proposal,
    Rejected,
    StepRequest,
    TemplateWriter,
)
from worldsim.data.navigation.scene import Room, SceneDescription, SceneObject
from worldsim.data.navigation.segments import Segment, segment, step_tasks
from worldsim.data.navigation.walk import FORWARD, LEFT, RIGHT, STOP, Walk
from worldsim.errors import DataError, UsageError
from worldsim.validation.navigation import NAVIGATION_METRICS, Course, straight_line

LETTERS = {"F": FORWARD, "L": LEFT, "R": RIGHT, "S": STOP}


def spelt(letters: str) -> tuple[str, ...]:
    return tuple(LETTERS[letter] for letter in letters)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", []),
        ("FFFF", [(0, 3, FORWARD)]),
        ("RR", [(0, 1, RIGHT)]),
        ("FFLFF", [(0, 4, FORWARD)]),  # one turn is no turn
        ("FFFLLFF", [(0, 1, FORWARD), (2, 4, LEFT), (5, 6, FORWARD)]),
        ("FFFLFLF", [(0, 1, FORWARD), (2, 5, LEFT), (6, 6, FORWARD)]),
        ("LLFFF", [(0, 1, LEFT), (2, 4, FORWARD)]),  # nothing lies before it
        ("FFRRRRFF", [(0, 0, FORWARD), (1, 5, "make a right turn"), (6, 7, FORWARD)]),
        ("FLLFFLLF", [(0, 6, "make a left turn"), (7, 7, FORWARD)]),  # two apart: one turn
        ("FLLFFFLLF", [(0, 2, LEFT), (3, 4, FORWARD), (5, 7, LEFT), (8, 8, FORWARD)]),
        ("FFLLRRFF", [(0, 0, FORWARD), (1, 5, "zigzag"), (6, 7, FORWARD)]),
        ("LRLRF", [(0, 3, "zigzag"), (4, 4, FORWARD)]),  # overlapping windows
        ("LLRRLL", [(0, 5, "zigzag")]),  # three that touch
        ("LLFRR", [(0, 1, LEFT), (2, 4, RIGHT)]),  # a step between: they do not touch
    ],
)
def test_segments_by_hand(letters: str, expected: list[tuple[int, int, str]]) -> None:
    assert segment(spelt(letters)) == [Segment(*each) for each in expected]


@pytest.mark.parametrize("seed", range(40))
def test_segments_are_all_of_the_actions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = "".join(rng.choice(list("FLR"), int(rng.integers(0, 60)), p=[0.6, 0.2, 0.2]))
    parts = segment(spelt(letters))
    rows = [row for part in parts for row in range(part.first, part.last + 1)]
    assert rows == list(range(len(letters)))
    for part in parts:
        text = letters[part.first : part.last + 1]
        if part.label == FORWARD:
            assert "LL" not in text and "RR" not in text
    mirrored = letters.translate(str.maketrans("LR", "RL"))
    swapped = {LEFT: RIGHT, RIGHT: LEFT, "make a left turn": "make a right turn",
               "make a right turn": "make a left turn"}  # fmt: skip
    expected = [Segment(p.first, p.last, swapped.get(p.label, p.label)) for p in parts]
    assert segment(spelt(mirrored)) == expected


def walked(letters: str) -> Walk:
    headings, places = [0.0], [np.zeros(3)]
    for letter in letters:
        headings.append(headings[-1] + math.radians(30) * ((letter == "L") - (letter == "R")))
        ahead = np.array([math.cos(headings[-1]), math.sin(headings[-1]), 0])
        places.append(places[-1] + 0.25 * ahead * (letter == "F"))
    return Walk(np.array(places), np.array(headings), spelt(letters))


def two_legs(letters: str = "FFFFFFLLFFFFS" + "RRFFFFFS") -> NavigationEpisode:
    tasks = (SubTask("bag", "0", "Bedroom"), SubTask("desk", "4", "Office"))
    return NavigationEpisode("one", "flat", "Bring the bag", tasks).with_expert(walked(letters))


def test_an_expert_tells_steps_and_metres_of_each_sub_task() -> None:
    tasks = two_legs().sub_tasks
    assert [task.expert_steps for task in tasks] == [12, 7]
    assert [task.expert_length for task in tasks] == pytest.approx([2.5, 1.25])
    with pytest.raises(DataError, match="closes 1 of 2 sub-tasks"):
        two_legs("FFS")


def test_step_tasks_begin_at_turns() -> None:
    """The first sub-task has a turn after five steps; stops are not counted."""
    seen = {3: ("sofa",), 4: ("sofa", "plant"), 13: ("door",)}
    found = step_tasks(
        two_legs(), TemplateWriter(), shortest=5, landmarks=lambda walk, row: seen.get(row, ())
    )
    assert [(s.first, s.last, s.target) for s in found] == [
        (0, 4, "bag"), (5, 11, "bag"), (12, 18, "desk"),
    ]  # fmt: skip
    assert [s.instruction for s in found] == [
        "Go forward past the sofa, on the way to the bag in the bedroom",
        "Turn left, then go forward, to reach the bag in the bedroom",
        "Turn right past the door, then go forward, to reach the desk in the office",
    ]
    walk = two_legs().expert
    assert walk is not None
    for step, row in zip(found, (0, 5, 13), strict=True):  # a stop lies before row 13
        assert step.start is not None
        assert step.start.position == pytest.approx(walk.positions[row])
        assert step.start.heading == walk.headings[row]


def test_step_tasks_of_whole_sub_tasks_and_of_short_ones() -> None:
    whole = step_tasks(two_legs(), TemplateWriter(), by="leg")
    assert [(s.first, s.last) for s in whole] == [(0, 11), (12, 18)]
    assert [
        (s.first, s.last) for s in step_tasks(two_legs("FFS" + "LLFFFFFFS"), TemplateWriter())
    ] == [(2, 9)]
    assert step_tasks(two_legs("SS"), TemplateWriter()) == ()
    with pytest.raises(UsageError, match="no expert"):
        step_tasks(replace(two_legs(), expert=None), TemplateWriter())


def test_generated_episodes_are_tasks_of_the_scene() -> None:
    scene, rng = apartment(), np.random.default_rng(0)
    made = generate(scene, 25, TemplateWriter(), stroll, rng)
    assert len(made.episodes) == 25 == made.proposed - sum(made.rejected.values())
    assert set(made.rejected) <= {"too few objects", "duplicate"}
    assert {len(each.sub_tasks) for each in made.episodes} == {2, 3, 4}
    assert len({each.instruction for each in made.episodes}) == 25
    for episode in made.episodes:
        assert episode.expert is not None and episode.start in scene.starts
        assert episode.step_tasks and episode.step_tasks[-1].last < episode.expert.steps
        course = Course.of(episode, straight_line)
        for name in ("sr", "isr", "csr", "cgt", "cgt_steps", "tar", "osr", "ndtw_repeats"):
            assert NAVIGATION_METRICS.get(name)(episode.expert, course) == pytest.approx(1), name
    again = generate(scene, 25, TemplateWriter(), stroll, np.random.default_rng(0))
    assert [e.instruction for e in again.episodes] == [e.instruction for e in made.episodes]


def test_the_template_says_what_the_plan_does() -> None:
    proposal = TemplateWriter().propose(apartment(), 3, "spot", np.random.default_rng(1))
    thing, place, other = [step.split("'")[1] for step in proposal.plan if step[0] == "M"]
    name = thing.split("_")[0]
    assert proposal.plan[1] == f"Grab('{name}')" and proposal.plan[3] == f"Release('{name}')"
    rooms = {"0": "bedroom", "4": "office"}
    assert proposal.instruction == (
        f"Bring the {name} from the {rooms[thing[-1]]} to the {place.split('_')[0]} in the "
        f"{rooms[place[-1]]}, then fetch the {other.split('_')[0]} from the {rooms[other[-1]]}"
    )
    request = StepRequest((Part("zigzag", ("bed", "rug")), Part(FORWARD)), "mug", "", False)
    assert TemplateWriter().write_step(request) == (
        "Zigzag past the bed, then go forward, on the way to the mug"
    )


BAG = ("Move_to('bag_0')", "Grab('bag')", "Move_to('desk_4')", "Release('bag')")
TOLD = "Take the bag from the bedroom to the desk in the office"


@pytest.mark.parametrize(
    ("proposal", "reason"),
    [
        (Proposal(TOLD, BAG), None),
        (Proposal(TOLD, ("walk to the bag",)), "malformed plan"),
        (Proposal(TOLD, ("Move_to('vase_0')", BAG[2])), "absent object"),
        (Proposal(TOLD, ("Move_to('bag_4')", BAG[2])), "absent object"),
        (Proposal(TOLD, BAG[:1]), "number of sub-tasks"),
        (Proposal(TOLD, (BAG[0], BAG[2], "Grab('bag')")), "impossible carriage"),
        (Proposal(TOLD, (BAG[0], BAG[2], "Release('bag')")), "impossible carriage"),
        (Proposal(TOLD + ", region 4", BAG), "region in the text"),
        (Proposal("Take the bag from the bedroom to the desk", BAG), "target not in the text"),
        (Proposal("Tidy up", BAG), "target not in the text"),
    ],
)
def test_proposals_are_checked_whoever_made_them(proposal: Proposal, reason: str | None) -> None:
    assert reason_to_reject(proposal, apartment(), 0, 2) == reason


def test_ways_and_names_are_checked() -> None:
    proposal, ways = Proposal(TOLD, BAG), {("start_0", "bag_0"), ("bag_0", "desk_4")}
    for missing in ways:
        scene = apartment(reachable=frozenset(ways - {missing}))
        assert reason_to_reject(proposal, scene, 0, 2) == "unreachable"
    scene = apartment(reachable=frozenset(ways))
    assert reason_to_reject(proposal, scene, 0, 2) is None
    assert reason_to_reject(proposal, scene, 1, 2) == "unreachable"
    plain = apartment()
    twin = apartment(
        rooms=(*plain.rooms, Room("5", "Office")),
        objects=(*plain.objects, SceneObject("desk", "5", (0.0, 9.0, 0.0))),
    )
    assert reason_to_reject(proposal, twin, 0, 2) == "ambiguous target"


class Stubborn:
    """A writer that proposes one thing, as a language model might."""

    def __init__(self, instruction: str = TOLD) -> None:
        self.instruction = instruction

    def propose(self, *_: Any) -> Proposal:
        if not self.instruction:
            raise Rejected("no answer")
        return Proposal(self.instruction, BAG)

    def write_step(self, request: StepRequest) -> str:
        return f"{len(request.parts)} parts"


@pytest.mark.parametrize(
    ("writer", "expert", "config", "rejected"),
    [
        (Stubborn(), stroll, {}, {"duplicate": 39}),
        (Stubborn(""), stroll, {}, {"no answer": 40}),
        (Stubborn("Tidy up"), stroll, {}, {"target not in the text": 40}),
        (Stubborn(), lambda episode: None, {}, {"expert failed": 40}),
        (Stubborn(), lambda episode: walked("FS"), {}, {"expert failed": 40}),
        (Stubborn(), stroll, {"max_steps": 5}, {"too many steps": 40}),
    ],
)
def test_rejections_are_counted_by_reason(
    writer: Stubborn,
    expert: Callable[..., Walk | None],
    config: dict[str, Any],
    rejected: dict[str, int],
) -> None:
    settings = GenerationConfig(targets=(2,), attempts=20, **config)
    made = generate(apartment(), 2, writer, expert, np.random.default_rng(0), settings)
    assert made.rejected == rejected and made.proposed == 40
    assert len(made.episodes) == 40 - sum(rejected.values())


def test_a_scene_with_little_in_it() -> None:
    empty = apartment(objects=())
    made = generate(empty, 1, TemplateWriter(), stroll, np.random.default_rng(0))
    assert made.episodes == () and made.rejected == {"too few objects": 20}
    for refuse in (
        lambda: generate(empty, 0, TemplateWriter(), stroll, np.random.default_rng(0)),
        lambda: GenerationConfig(targets=(5,)),
        lambda: GenerationConfig(radius=0.0),
    ):
        with pytest.raises(UsageError, match="expected"):
            refuse()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rooms": (Room("0", "a"), Room("0", "b"))}, "two rooms have one region"),
        ({"objects": (SceneObject("bag", "9", (0.0, 0.0, 0.0)),)}, "is in region '9'"),
        ({"objects": (SceneObject("bag", "0", (0.0, math.nan, 0.0)),)}, "nan"),
        ({"starts": ()}, "no start"),
        ({"reachable": frozenset({("start_0", "vase_0")})}, "no places"),
    ],
)
def test_a_scene_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        apartment(**changes)


def test_a_scene_is_told_its_goals() -> None:
    scene: SceneDescription = apartment()
    assert scene.goals("desk", "4") == ((8.0, 3.0, 0.0),) and scene.goals("desk", "0") == ()
    assert scene.room("4") == "Office" and ("mug", "0") in scene.named
