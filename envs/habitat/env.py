"""HabitatNav: the apartments, tasks, actions and sensors of IndoorNav, simulated by habitat-sim."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal

from worldsim.config.limits import Count, ImageSize, Text, between
from worldsim.config.values import check_arguments
from worldsim.envs.habitat.library import habitat_sim
from worldsim.envs.habitat.viewer import Stage, viewer
from worldsim.envs.habitat.walking import HabitatScene
from worldsim.envs.indoor.agent import Distance, Fov, Motion, Radius, Tall, Turn, View
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.journey import Journey
from worldsim.envs.indoor.scene import FEWEST, MOST, Scene, Split, build_scene
from worldsim.envs.indoor.scene_files import export_scene, find_stage
from worldsim.envs.indoor.sensors import Frame, Sensor
from worldsim.errors import UsageError

Gpu = Annotated[int, between(-1, 255)]

_OWN = TemporaryDirectory(prefix="worldsim_apartments_")
"""Scenes of envs that were given no files, until the process ends."""


class HabitatNav(IndoorNav):
    """IndoorNav whose pictures, depth, collisions and shortest paths come from habitat-sim.

    Observation, action, info, options and scenes are those of `IndoorNav`; the same episode can
    be asked for in both. Privileged waypoints are those of habitat-sim's greedy follower.

    Args:
        files: folder that `worldsim scene export` wrote; None: scenes are written when needed.
        gpu_device_id: number of the graphics device; -1 takes whichever EGL has, a processor
            included. habitat-sim ends the process where there is no such device.
        others: see `IndoorNav`.

    Raises:
        UsageError: habitat-sim is absent or of another version, or an argument does not fit.
    """

    side_by_side: ClassVar[int] = 1  # the thread's simulator shows one scene at a time

    def __init__(
        self,
        files: Text | None = None,
        gpu_device_id: Gpu = -1,
        sensor: Sensor = "panorama",
        image_size: ImageSize = 32,
        fov: Fov = 90,
        depth: bool = True,
        actions: Motion = "discrete",
        forward: Distance = 0.25,
        turn: Turn = 30,
        sliding: bool = True,
        split: Split = "train",
        scenes: Count | None = None,
        rooms: tuple[Count, Count] = (FEWEST, MOST),
        goals: Count = 1,
        radius: Radius = 0.18,
        height: Tall = 1.5,
        camera_height: Tall = 1.25,
        success_distance: Distance = 1.0,
        success_view: View = 60,
        max_episode_steps: Count | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        check_arguments(HabitatNav, given, "env")
        habitat_sim()
        self._files = None if files is None else Path(files)
        if self._files is not None and not self._files.is_dir():
            raise UsageError(
                f"env.files is {files!r}, which is no folder; expected one that `worldsim scene "
                "export out=FOLDER` wrote, or null"
            )
        del given["files"], given["gpu_device_id"]
        super().__init__(**given)
        self._gpu, self._height = gpu_device_id, float(height)

    def _scene(self, number: int, fewest: int, most: int) -> Scene:
        """See `IndoorNav`.

        Raises:
            UsageError: the folder has no file of the scene.
        """
        parts = (self._sensor, self._body, self._height, self._gpu)
        return _staged(build_scene(number, fewest, most), self._files, parts)

    def _look(self, journey: Journey) -> Frame:
        """See `IndoorNav`."""
        assert isinstance(journey.scene, HabitatScene)
        return viewer().look(journey.scene.stage, journey.place, journey.yaw)


@lru_cache(maxsize=8)
def _staged(scene: Scene, folder: Path | None, parts: tuple[Any, ...]) -> HabitatScene:
    """A scene with its files, written here unless a folder of them is given.

    Args:
        scene: of IndoorNav.
        folder: of exported scenes, or None.
        parts: what `Stage` has beside the file.
    """
    if folder is None:
        folder = Path(_OWN.name)
        export_scene(scene, folder)
    return HabitatScene.of(scene, Stage(find_stage(folder, scene), *parts))
