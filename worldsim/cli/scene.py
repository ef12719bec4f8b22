"""`worldsim scene`: apartments as files for other simulators."""

from omegaconf import DictConfig

from worldsim.cli.console import finish, progress
from worldsim.cli.settings.scene import Settings
from worldsim.config.compose import build
from worldsim.envs.indoor.scene import build_scene
from worldsim.envs.indoor.scene_files import export_scene

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


def run(config: DictConfig) -> None:
    """Write the scenes."""
    settings = build(Settings, config)
    with progress("scenes", len(settings.scenes)) as advance:
        for number in settings.scenes:
            path = export_scene(build_scene(number, *settings.rooms), settings.out)
            advance(1)
    one = len(settings.scenes) == 1
    finish("scene" if one else f"{len(settings.scenes)} scenes", path if one else settings.out)
