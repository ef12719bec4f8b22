"""`worldsim scene`: apartments as files for other simulators."""

from dataclasses import dataclass
from typing import Annotated, Literal

from omegaconf import DictConfig

from worldsim.cli.console import finish, progress
from worldsim.config.compose import build
from worldsim.config.limits import OwnParts, ResultFolder, between
from worldsim.config.values import Checked
from worldsim.envs.indoor.scene import FEWEST, MOST, SCENES, SPLITS, build_scene
from worldsim.envs.indoor.scene_files import export_scene
from worldsim.errors import UsageError

DESCRIPTION = """\
Writes the procedural apartments of env=indoor as glTF (.glb), with the stage and scene
configurations that habitat-sim reads, and a JSON of their rooms and named things. Made from
numbers, they carry nobody's licence.
"""

EXAMPLES = """\
worldsim scene export scenes=[0,1,2] out=data/apartments
worldsim scene export scenes=[2000000] 'rooms=[4,6]' out=data/apartments
worldsim collect env=habitat env.files=data/apartments env.scenes=3 out=data/habitat
"""

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


def run(config: DictConfig) -> None:
    """Write the scenes."""
    settings = build(Settings, config)
    with progress("scenes", len(settings.scenes)) as advance:
        for number in settings.scenes:
            path = export_scene(build_scene(number, *settings.rooms), settings.out)
            advance(1)
    one = len(settings.scenes) == 1
    finish("scene" if one else f"{len(settings.scenes)} scenes", path if one else settings.out)
