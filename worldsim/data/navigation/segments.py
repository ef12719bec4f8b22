"""A walk cut at its turns, and step tasks made of the parts: NavGen's backward half.

Source: LH-VLN, 2412.09082, section 3.2, and `nav_gen/split_task.py` at 3492080. A window of three
actions with two equal turns begins a turn; turns of one direction few steps apart are one; touching
ones of both directions are a zigzag; all else is going forward.

Parts here follow each other without gap or overlap. The released code looks one step back beyond
the leg's first action, joins zigzags with what they touch only once, and lets parts overlap.
Legend: T actions of a walk, N actions of one sub-task without its stop.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from worldsim.data.navigation.episode import NavigationEpisode, Pose, StepTask, SubTask, legs_of
from worldsim.data.navigation.instructions import InstructionWriter, Part, StepRequest
from worldsim.data.navigation.walk import FORWARD, LEFT, RIGHT, Walk
from worldsim.errors import UsageError

WINDOW, TURNS, APART, SHARP = 3, 2, 3, 3
"""Actions of a window, equal turns in it, actions between turns of one, turns before a bend."""

ZIGZAG = "zigzag"
BENDS = {LEFT: "make a left turn", RIGHT: "make a right turn"}
SHORTEST = 6
"""Actions of a step task; shorter parts join a neighbour, and shorter sub-tasks give none."""

TAGS = 5
"""Landmarks of a part: those seen from most of its rows."""

Landmarks = Callable[[Walk, int], Sequence[str]]
"""Names of what is seen at a row of a walk, as a tagging network or a scene tells it."""


@dataclass(frozen=True)
class Segment:
    """Actions `first` to `last` of a sub-task, and what they do.

    `label` is `move_forward`, `turn_left`, `turn_right`, `zigzag`, or one of `BENDS`.
    """

    first: int
    last: int
    label: str


def segment(actions: Sequence[str]) -> list[Segment]:
    """Parts of a sub-task, in order, that together are all of its N actions.

    A turn begins with the action before it, as in the released code: it leads up to the corner.
    """
    parts: list[Segment] = []
    done = 0
    for turn in _zigzags(_joined(_turns(actions, LEFT) + _turns(actions, RIGHT))):
        first = max(turn.first - 1, done)
        if first > done:
            parts.append(Segment(done, first - 1, FORWARD))
        sharp = list(actions[first : turn.last + 1]).count(turn.label) > SHARP
        label = BENDS.get(turn.label, turn.label) if sharp else turn.label
        parts.append(Segment(first, turn.last, label))
        done = turn.last + 1
    if done < len(actions):
        parts.append(Segment(done, len(actions) - 1, FORWARD))
    return parts


def _turns(actions: Sequence[str], side: str) -> list[Segment]:
    found, i = [], 0
    while i < len(actions):
        hits = [i + k for k, action in enumerate(actions[i : i + WINDOW]) if action == side]
        if len(hits) >= TURNS:
            found.append(Segment(hits[0], hits[-1], side))
            i = hits[-1] + 1
        else:
            i += 1
    return found


def _joined(turns: list[Segment]) -> list[Segment]:
    """Turns by place, those of one direction that are few actions apart as one."""
    whole: list[Segment] = []
    for turn in sorted(turns, key=lambda each: (each.first, each.last)):
        before = whole[-1] if whole else None
        if before and turn.label == before.label and turn.first <= before.last + APART:
            whole[-1] = Segment(before.first, max(before.last, turn.last), turn.label)
        else:
            whole.append(turn)
    return whole


def _zigzags(turns: list[Segment]) -> list[Segment]:
    """Turns that touch or overlap, as one."""
    whole: list[Segment] = []
    for turn in turns:
        if whole and turn.first <= whole[-1].last + 1:
            whole[-1] = Segment(whole[-1].first, max(whole[-1].last, turn.last), ZIGZAG)
        else:
            whole.append(turn)
    return whole


def step_tasks(
    episode: NavigationEpisode,
    writer: InstructionWriter,
    *,
    by: Literal["turn", "leg"] = "turn",
    shortest: int = SHORTEST,
    landmarks: Landmarks | None = None,
) -> tuple[StepTask, ...]:
    """Step tasks of an episode with an expert's walk.

    Args:
        episode: with its expert.
        writer: of their instructions.
        by: `turn` begins a task at each turn; `leg` makes one of each sub-task, as the published
            data has it.
        shortest: actions of a task.
        landmarks: what is seen along the way.

    Raises:
        UsageError: there is no expert.
        DataError: the expert did not stop at every sub-task.
    """
    walk = episode.expert
    if walk is None:
        raise UsageError(f"episode {episode.name} has no expert's walk to split")
    found, number = [], 0
    legs = legs_of(walk, len(episode.sub_tasks))
    for task, (first, stop) in zip(episode.sub_tasks, legs, strict=True):
        parts = segment(walk.actions[first:stop])
        groups = [parts] if by == "leg" else _at_turns(parts, shortest)
        for group in groups:
            length = group[-1].last - group[0].first + 1 if group else 0
            if length >= shortest:
                told = _told(group, walk, first, landmarks)
                found.append(
                    _step_task(task, told, walk, first, number, writer, group[-1] is parts[-1])
                )
        number += stop - first
    return tuple(found)


def _at_turns(parts: list[Segment], shortest: int) -> list[list[Segment]]:
    """Parts grouped so that each group but the first begins with a turn and is long enough."""
    groups: list[list[Segment]] = []
    for part in parts:
        ended = groups and groups[-1][-1].last - groups[-1][0].first + 1 >= shortest
        if not groups or (part.label != FORWARD and ended):
            groups.append([part])
        else:
            groups[-1].append(part)
    if len(groups) > 1 and groups[-1][-1].last - groups[-1][0].first + 1 < shortest:
        groups[-2].extend(groups.pop())
    return groups


def _told(
    group: list[Segment], walk: Walk, row: int, landmarks: Landmarks | None
) -> list[tuple[Segment, tuple[str, ...]]]:
    """Segments of the sub-task that begins at `row`, each with what most of its rows see."""
    told = []
    for part in group:
        seen: Counter[str] = Counter()
        if landmarks is not None:
            for place in range(row + part.first, row + part.last + 1):
                seen.update(set(landmarks(walk, place)))
        told.append((part, tuple(sorted(seen, key=lambda name: (-seen[name], name))[:TAGS])))
    return told


def _step_task(
    task: SubTask,
    told: list[tuple[Segment, tuple[str, ...]]],
    walk: Walk,
    row: int,
    number: int,
    writer: InstructionWriter,
    arrives: bool,
) -> StepTask:
    first, last = told[0][0].first, told[-1][0].last
    x, y, z = walk.positions[row + first].tolist()
    parts = tuple(Part(part.label, seen) for part, seen in told)
    return StepTask(
        instruction=writer.write_step(StepRequest(parts, task.target, task.room, arrives)),
        first=number + first,
        last=number + last,
        target=task.target,
        region=task.region,
        room=task.room,
        start=Pose((x, y, z), float(walk.headings[row + first])),
    )
