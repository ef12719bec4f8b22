"""Who words tasks: an interface that templates or a language model implement.

NavGen lets a language model choose sub-tasks and word them, then rejects what does not fit the
scene (LH-VLN, 2412.09082, section 3.2; `nav_gen/task_gen.py`, `nav_gen/prompt/rule.txt`). So does
this interface: `worldsim.data.navigation.generator` checks every proposal, whoever made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from worldsim.data.navigation.episode import GRAB, MOVE, RELEASE
from worldsim.data.navigation.scene import SceneDescription, SceneObject
from worldsim.data.navigation.walk import FORWARD, LEFT, RIGHT

T = TypeVar("T")

OBJECTS_PER_REGION = 5
"""Of a scene's objects, drawn before a task is, so that favourites are not always chosen."""

PHRASES = {FORWARD: "go forward", LEFT: "turn left", RIGHT: "turn right"}


class Rejected(Exception):
    """A task that was not made; its text is the reason that is counted."""


@dataclass(frozen=True)
class Proposal:
    """A task before it is checked.

    Attributes:
        instruction: what the agent will be told.
        plan: steps `Move_to('object_region')`, `Grab('object')`, `Release('object')`.
    """

    instruction: str
    plan: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """A part of a walk: its label (`segments`) and the landmarks seen from it."""

    label: str
    landmarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepRequest:
    """A step task to be worded.

    Attributes:
        parts: in order.
        target: of its sub-task.
        room: of the target.
        arrives: whether it ends at the target, or on the way there.
    """

    parts: tuple[Part, ...]
    target: str
    room: str
    arrives: bool


class InstructionWriter(Protocol):
    """Proposes tasks and words step tasks; a language model's answer has to be parsed to these."""

    def propose(
        self, scene: SceneDescription, targets: int, robot: str, rng: np.random.Generator
    ) -> Proposal:
        """A task of `targets` moves.

        Raises:
            Rejected: none could be made, with the reason.
        """
        ...

    def write_step(self, request: StepRequest) -> str:
        """An instruction for a part of a walk."""
        ...


class TemplateWriter:
    """Draws "bring X to the ROOM" and words it by template.

    Two moves are one carriage: to a portable object, then to a place in a room. A third move
    fetches another object, four moves are two carriages. All lie in at most two rooms, as NavGen
    wants it.
    """

    def propose(
        self, scene: SceneDescription, targets: int, robot: str, rng: np.random.Generator
    ) -> Proposal:
        """See `InstructionWriter`."""
        near = self._sample(scene, rng)
        cargo = _shuffled([thing for thing in near if thing.portable], rng)
        places = _shuffled([thing for thing in near if not thing.portable], rng)
        carriages, fetched = divmod(targets, 2)
        if len(cargo) < carriages + fetched or len(places) < carriages:
            raise Rejected("too few objects")
        plan: list[str] = []
        phrases: list[str] = []
        for thing, place in zip(cargo, places[:carriages], strict=False):
            plan += [_move(thing), f"{GRAB}('{thing.name}')"]
            plan += [_move(place), f"{RELEASE}('{thing.name}')"]
            phrases.append(self._carriage(scene, thing, place))
        if fetched:
            thing = cargo[carriages]
            plan += [_move(thing), f"{GRAB}('{thing.name}')"]
            phrases.append(f"fetch the {thing.name} from the {_room(scene, thing)}")
        return Proposal(_sentence(", then ".join(phrases)), tuple(plan))

    def write_step(self, request: StepRequest) -> str:
        """See `InstructionWriter`."""
        phrases = []
        for part in request.parts:
            past = f" past the {part.landmarks[0]}" if part.landmarks else ""
            phrases.append(f"{PHRASES.get(part.label, part.label)}{past}")
        end = "to reach" if request.arrives else "on the way to"
        room = f" in the {request.room.lower()}" if request.room else ""
        return f"{_sentence(', then '.join(phrases))}, {end} the {request.target}{room}"

    def _sample(self, scene: SceneDescription, rng: np.random.Generator) -> list[SceneObject]:
        """A few objects of each of at most two rooms that hold any."""
        regions = list(dict.fromkeys(thing.region for thing in scene.objects))
        drawn = []
        for region in _shuffled(regions, rng)[:2]:
            known = {thing.place: thing for thing in scene.objects if thing.region == region}
            drawn += _shuffled(list(known.values()), rng)[:OBJECTS_PER_REGION]
        return drawn

    def _carriage(self, scene: SceneDescription, thing: SceneObject, place: SceneObject) -> str:
        return (
            f"bring the {thing.name} from the {_room(scene, thing)} "
            f"to the {place.name} in the {_room(scene, place)}"
        )


def _room(scene: SceneDescription, thing: SceneObject) -> str:
    return scene.room(thing.region).lower()


def _move(thing: SceneObject) -> str:
    return f"{MOVE}('{thing.place}')"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shuffled(things: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [things[i] for i in rng.permutation(len(things))]
