"""Long-horizon tasks drawn from described scenes, checked, and rolled out: NavGen's forward half.

Source: LH-VLN, 2412.09082, section 3.2, and `nav_gen/task_gen.py`, `nav_gen/dataset_gen.py` at
3492080. What is rejected is counted by reason, so that a scene or a writer that gives little is
seen. The simulator is a callable: an expert that walks an episode, or gives up.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from worldsim.data.navigation.episode import (
    GRAB,
    MOVE,
    RELEASE,
    NavigationEpisode,
    SubTask,
    absent_objects,
    parse_step,
)
from worldsim.data.navigation.instructions import InstructionWriter, Proposal, Rejected
from worldsim.data.navigation.scene import SceneDescription, start_place
from worldsim.data.navigation.segments import Landmarks, step_tasks
from worldsim.data.navigation.walk import Walk
from worldsim.errors import DataError, UsageError

TARGETS = (2, 3, 4)
ATTEMPTS = 20
"""Proposals for each episode that is wanted, before a scene is given up."""

Expert = Callable[[NavigationEpisode], Walk | None]
"""Walks an episode and stops at every target; None where it could not."""


@dataclass(frozen=True)
class GenerationConfig:
    """How tasks are drawn.

    Attributes:
        targets: numbers of sub-tasks, drawn evenly.
        radius: metres within which a sub-task succeeds.
        robot: of LHPR.
        max_steps: actions of an expert, stops counted.
        attempts: proposals for each episode that is wanted.
        split: whether step tasks are made of the expert's walk.

    Raises:
        UsageError: a value that cannot be.
    """

    targets: tuple[int, ...] = TARGETS
    radius: float = 1.0
    robot: str = "spot"
    max_steps: int = 500
    attempts: int = ATTEMPTS
    split: bool = True

    def __post_init__(self) -> None:
        if not self.targets or not set(self.targets) <= set(TARGETS):
            raise UsageError(f"targets are {self.targets}, expected some of {TARGETS}")
        if not 0 < self.radius < float("inf") or self.max_steps < 1 or self.attempts < 1:
            raise UsageError(
                f"radius {self.radius}, max_steps {self.max_steps} and attempts {self.attempts}: "
                "expected numbers above 0"
            )


@dataclass(frozen=True)
class Generated:
    """What came of it.

    Attributes:
        episodes: with experts, and step tasks if wanted.
        proposed: how many proposals there were.
        rejected: {reason: how many}; with the episodes they add up to `proposed`.
    """

    episodes: tuple[NavigationEpisode, ...]
    proposed: int
    rejected: dict[str, int]


def generate(
    scene: SceneDescription,
    count: int,
    writer: InstructionWriter,
    expert: Expert,
    rng: np.random.Generator,
    config: GenerationConfig | None = None,
    landmarks: Landmarks | None = None,
) -> Generated:
    """Up to `count` episodes of a scene; fewer where attempts run out.

    Args:
        scene: described.
        count: of episodes wanted.
        writer: proposes and words.
        expert: rolls out.
        rng: of every draw; the same gives the same episodes.
        config: see `GenerationConfig`.
        landmarks: what is seen along the way, for step tasks.

    Raises:
        UsageError: `count` is below 1.
    """
    if count < 1:
        raise UsageError(f"{count} episodes are wanted of scene {scene.name}; expected 1 or more")
    config, rejected = config or GenerationConfig(), Counter[str]()
    episodes: list[NavigationEpisode] = []
    proposed = 0
    while len(episodes) < count and proposed < count * config.attempts:
        proposed += 1
        try:
            known = {each.instruction for each in episodes}
            drawn = _draw(scene, f"{scene.name}-{len(episodes):04d}", known, writer, rng, config)
            episodes.append(_rolled_out(drawn, writer, expert, config, landmarks))
        except Rejected as reason:
            rejected[str(reason)] += 1
    return Generated(tuple(episodes), proposed, dict(rejected))


def _draw(
    scene: SceneDescription,
    name: str,
    known: set[str],
    writer: InstructionWriter,
    rng: np.random.Generator,
    config: GenerationConfig,
) -> NavigationEpisode:
    targets = int(rng.choice(config.targets))
    start = int(rng.integers(len(scene.starts)))
    proposal = writer.propose(scene, targets, config.robot, rng)
    reason = reason_to_reject(proposal, scene, start, targets)
    text = proposal.instruction
    if reason is None and any(text in other or other in text for other in known):
        reason = "duplicate"  # LH-VLN finds a task's step tasks by its text, so parts count too
    if reason is not None:
        raise Rejected(reason)
    moves = [step[1:] for step in map(parse_step, proposal.plan) if step[0] == MOVE]
    tasks = tuple(
        SubTask(
            target, region, scene.room(region), scene.goals(target, region), radius=config.radius
        )
        for target, region in moves
    )
    return NavigationEpisode(
        name=name,
        scene=scene.name,
        instruction=proposal.instruction,
        sub_tasks=tasks,
        start=scene.starts[start],
        plan=proposal.plan,
        robot=config.robot,
    )


def reason_to_reject(
    proposal: Proposal, scene: SceneDescription, start: int, targets: int
) -> str | None:
    """Why a proposal is no task of a scene, or None.

    Args:
        proposal: of any writer.
        scene: that it should be about.
        start: number of the start.
        targets: moves that were asked for.
    """
    try:
        steps = list(map(parse_step, proposal.plan))
    except DataError:
        return "malformed plan"
    moves = [(name, region) for verb, name, region in steps if verb == MOVE]
    if absent_objects(proposal.plan, scene.named):
        return "absent object"
    if len(moves) != targets:
        return "number of sub-tasks"
    if not _can_be_carried(steps):
        return "impossible carriage"
    text = proposal.instruction.lower()
    if "region" in text:
        return "region in the text"
    if any(n.lower() not in text or scene.room(r).lower() not in text for n, r in moves):
        return "target not in the text"
    if any(_is_ambiguous(scene, *move) for move in moves):
        return "ambiguous target"
    places = [start_place(start), *(f"{name}_{region}" for name, region in moves)]
    if not all(map(scene.leads_to, places, places[1:])):
        return "unreachable"
    return None


def _can_be_carried(steps: list[tuple[str, str, str]]) -> bool:
    """Whether things are grabbed where they are, with an empty hand, and released by it."""
    held, at = None, None
    for verb, name, _ in steps:
        if verb == MOVE:
            at = name
        elif verb == GRAB and held is None and at == name:
            held = name
        elif verb == RELEASE and held == name and at != name:
            held = None
        else:
            return False
    return True


def _is_ambiguous(scene: SceneDescription, name: str, region: str) -> bool:
    """Whether another room of the same name has an object of the same name."""
    room = scene.room(region)
    return any(o == name and r != region and scene.room(r) == room for o, r in scene.named)


def _rolled_out(
    drawn: NavigationEpisode,
    writer: InstructionWriter,
    expert: Expert,
    config: GenerationConfig,
    landmarks: Landmarks | None,
) -> NavigationEpisode:
    walk = expert(drawn)
    if walk is None or len(walk.stops) < len(drawn.sub_tasks):
        raise Rejected("expert failed")
    if walk.steps > config.max_steps:
        raise Rejected("too many steps")
    episode = drawn.with_expert(walk)
    if not config.split:
        return episode
    return replace(episode, step_tasks=step_tasks(episode, writer, landmarks=landmarks))
