"""Keys of `configs/scene.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Annotated, Literal

from worldsim.config.limits import OwnParts, ResultFolder, between
from worldsim.config.values import Checked
from worldsim.envs.indoor.scene import FEWEST, MOST, SCENES, SPLITS
from worldsim.errors import UsageError

SceneNumber = Annotated[int, between(0, max(SPLITS.values()) + SCENES - 1)]
RoomCount = Annotated[int, between(FEWEST, MOST)]


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/scene.yaml`."""

    parts: OwnParts
    action: Literal["export"]
    scenes: tuple[SceneNumber, ...]
    rooms: tuple[RoomCount, RoomCount]
    out: ResultFolder

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scenes:
            raise UsageError("scenes is []; expected numbers of apartments, as in scenes=[0,1]")
        if self.rooms[0] > self.rooms[1]:
            raise UsageError(f"rooms is {list(self.rooms)}; expected the fewest first")
