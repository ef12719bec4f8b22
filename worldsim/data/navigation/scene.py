"""A scene as task generators need it: rooms, named objects, starts, and what can be reached.

It is plain data, filled from any simulator. Frame: z up, metres, radians.
"""

from dataclasses import dataclass

from worldsim.data.navigation.episode import Point, Pose, as_point
from worldsim.errors import DataError


@dataclass(frozen=True)
class Room:
    """A room.

    Attributes:
        region: its number in the scene, as text.
        name: such as "bedroom"; several rooms may share one.
    """

    region: str
    name: str


@dataclass(frozen=True)
class SceneObject:
    """An object.

    Attributes:
        name: such as "mug"; several objects may share one.
        region: of the room that it is in.
        position: of its centre, or of the floor before it.
        portable: whether it can be carried; others are places to bring things to.
    """

    name: str
    region: str
    position: Point
    portable: bool = False

    @property
    def place(self) -> str:
        """`object_region`, as LHPR names it."""
        return f"{self.name}_{self.region}"


@dataclass(frozen=True)
class SceneDescription:
    """A scene.

    Attributes:
        name: of the scene or its file.
        rooms: with different regions.
        objects: in these rooms.
        starts: poses that an episode may begin at.
        reachable: pairs (from, to) of places with a way between, where a place is `object_region`,
            or `start_i` for start number i; None where all have one.

    Raises:
        DataError: two rooms of one region, an object in no room, no start, or a pair of no place.
    """

    name: str
    rooms: tuple[Room, ...]
    objects: tuple[SceneObject, ...]
    starts: tuple[Pose, ...]
    reachable: frozenset[tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        regions = [room.region for room in self.rooms]
        if len(set(regions)) < len(regions):
            raise DataError(f"scene {self.name}: two rooms have one region among {regions}")
        for thing in self.objects:
            as_point(thing.position, f"{thing.name!r} of scene {self.name}")
            if thing.region not in regions:
                raise DataError(
                    f"scene {self.name}: {thing.name!r} is in region {thing.region!r}, and there "
                    f"are regions {regions}"
                )
        if not self.starts:
            raise DataError(f"scene {self.name} has no start; expected a pose at least")
        places = {thing.place for thing in self.objects}
        places |= {start_place(number) for number in range(len(self.starts))}
        unknown = {place for pair in self.reachable or () for place in pair} - places
        if unknown:
            raise DataError(
                f"scene {self.name}: reachable pairs name {sorted(unknown)}, which are no places; "
                f"places are {sorted(places)}"
            )

    def room(self, region: str) -> str:
        """Name of the room of a region."""
        return next(room.name for room in self.rooms if room.region == region)

    def goals(self, name: str, region: str) -> tuple[Point, ...]:
        """Positions of all objects of a name in a region."""
        return tuple(o.position for o in self.objects if (o.name, o.region) == (name, region))

    def leads_to(self, place: str, other: str) -> bool:
        """Whether there is a way from a place to another."""
        return self.reachable is None or place == other or (place, other) in self.reachable

    @property
    def named(self) -> set[tuple[str, str]]:
        """(name, region) of all objects."""
        return {(thing.name, thing.region) for thing in self.objects}


def start_place(number: int) -> str:
    """The place of a start, as `reachable` names it."""
    return f"start_{number}"
