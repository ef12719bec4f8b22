"""One habitat-sim simulator for each thread, which shows one scene after the other.

Making one costs seconds, another scene milliseconds. Its OpenGL context belongs to the thread that
made it. Places are in our frame (z up); `worldsim.data.navigation.frames` turns them.

Metres.
"""

import atexit
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from worldsim.data.navigation.frames import quaternion_of_heading, to_habitat
from worldsim.envs.habitat.graphics import Context, current
from worldsim.envs.habitat.library import habitat_sim
from worldsim.envs.habitat.sensors import frame_of, sensor_specs
from worldsim.envs.indoor.agent import Array, Body
from worldsim.envs.indoor.sensors import Float, Frame, SensorConfig
from worldsim.errors import WorldsimError

_CELLS = 6
"""Cells of a navigation mesh in the agent's radius, which recast rounds up to whole cells."""
_CELL_HEIGHT, _CLIMB = 0.05, 0.1
"""Metres; the agent steps over rugs and onto no furniture."""
MOVES = ("move_forward", "turn_left", "turn_right")


@dataclass(frozen=True)
class Stage:
    """A scene as habitat-sim loads it, and who walks and looks there.

    Attributes:
        file: its `.stage_config.json`.
        sensor: what is seen; a simulator that began without colours cannot have them later.
        body: of the agent.
        height: of the agent, metres.
        gpu: number of the graphics device; -1 takes whichever EGL has, a processor included.
    """

    file: Path
    sensor: SensorConfig
    body: Body
    height: float
    gpu: int

    @property
    def walker(self) -> tuple[Path, float, float]:
        """What a navigation mesh depends on."""
        return self.file, self.body.radius, self.height


class Viewer:
    """A simulator and the navigation meshes that it made."""

    def __init__(self) -> None:
        self.library = habitat_sim()
        self._folder = TemporaryDirectory(prefix="worldsim_navmesh_")
        self._mediator = self.library.metadata.MetadataMediator()
        self._simulator: Any = None
        self._context: Context | None = None
        self._stage: Stage | None = None
        self._follower: Any = None
        self._meshes: dict[tuple[Path, float, float], Path] = {}

    def look(self, stage: Stage, place: Array, yaw: float) -> Frame:
        """What an agent at `place` `[2]` with a heading sees."""
        self._show(stage)
        self._stand(place, yaw)
        return frame_of(self._simulator.get_sensor_observations(), stage.sensor)

    def pathfinder(self, stage: Stage) -> Any:
        """A `PathFinder` of its own for a scene and an agent.

        Raises:
            WorldsimError: the scene has no floor to stand on.
        """
        if stage.walker not in self._meshes:
            self._show(stage)
        found = self.library.PathFinder()
        found.load_nav_mesh(str(self._meshes[stage.walker]))
        return found

    def follow(self, stage: Stage, place: Array, yaw: float, goal: Float) -> str | None:
        """What habitat-sim's greedy follower does next; None where it is there or knows no way.

        Args:
            stage: where; the follower's turns and steps are those of its body.
            place: `[2]` of the agent.
            yaw: its heading.
            goal: `[3]` in Habitat's frame.
        """
        self._show(stage)
        self._stand(place, yaw)
        if self._follower is None:
            self._follower = self._simulator.make_greedy_follower(
                goal_radius=stage.body.forward / 2, fix_thrashing=True
            )
        # Its memory of turns would make an answer depend on earlier questions.
        self._follower.reset()
        try:
            action: str | None = self._follower.next_action_along(goal)
        except self.library.errors.GreedyFollowerError:
            return None
        return action

    def close(self) -> None:
        """End the simulator."""
        # MuJoCo may have ended the display, and all contexts with it, as the process ends.
        alive = self._context is not None and self._context.make_current()
        if self._simulator is not None and alive:
            self._simulator.close()
        self._simulator = self._stage = self._follower = self._context = None
        self._folder.cleanup()

    def _show(self, stage: Stage) -> None:
        """Let the simulator have a scene, its sensors and its agent."""
        self._take_context()
        if stage == self._stage:
            return
        self._follower = self._stage = None
        # The scene's instance, which lies beside the stage, names one that is known already;
        # habitat-sim crashes where it is not.
        self._mediator.stage_template_manager.load_configs(str(stage.file))
        configuration = _configuration(self.library, stage, self._mediator)
        if self._simulator is None:
            self._simulator = self.library.Simulator(configuration)
            self._context = current()
        else:
            self._simulator.reconfigure(configuration)
        self._load_mesh(stage)
        self._stage = stage

    def _take_context(self) -> None:
        """Let what follows be drawn in the simulator's context.

        Raises:
            WorldsimError: it cannot be had.
        """
        if self._context is not None and not self._context.make_current():
            raise WorldsimError(
                "habitat-sim's OpenGL context is gone or another thread's; make the env anew, in "
                "the thread that uses it"
            )

    def _load_mesh(self, stage: Stage) -> None:
        """Give the simulator the navigation mesh of its scene, and keep that as a file.

        Raises:
            WorldsimError: none could be made.
        """
        simulator, path = self._simulator, self._meshes.get(stage.walker)
        if path is not None:
            simulator.pathfinder.load_nav_mesh(str(path))
            return
        settings = self.library.NavMeshSettings()
        settings.set_defaults()
        settings.agent_radius, settings.agent_height = stage.body.radius, stage.height
        settings.cell_size = stage.body.radius / _CELLS
        settings.cell_height, settings.agent_max_climb = _CELL_HEIGHT, _CLIMB
        path = Path(self._folder.name) / f"{len(self._meshes)}.navmesh"
        made = simulator.recompute_navmesh(simulator.pathfinder, settings)
        if not made or not simulator.pathfinder.save_nav_mesh(str(path)):
            raise WorldsimError(
                f"habitat-sim made no navigation mesh of {stage.file}; is it an apartment that "
                "`worldsim scene export` wrote?"
            )
        self._meshes[stage.walker] = path

    def _stand(self, place: Array, yaw: float) -> None:
        """Stand the agent on the floor at `place` `[2]`."""
        state = self.library.AgentState()
        state.position = to_habitat([place[0], place[1], 0.0]).astype(np.float32)
        state.rotation = list(quaternion_of_heading(yaw))
        self._simulator.get_agent(0).set_state(state)


def _configuration(library: Any, stage: Stage, mediator: Any) -> Any:
    """habitat-sim's configuration of a scene with one agent."""
    backend, agent = library.SimulatorConfiguration(), library.agent.AgentConfiguration()
    backend.scene_id = str(stage.file)
    backend.gpu_device_id = stage.gpu
    backend.enable_physics = False
    backend.allow_sliding = stage.body.sliding
    agent.height, agent.radius = stage.height, stage.body.radius
    agent.sensor_specifications = sensor_specs(library, stage.sensor)
    turn = float(np.rad2deg(stage.body.turn))
    amounts = dict(zip(MOVES, (stage.body.forward, turn, turn), strict=True))
    agent.action_space = {
        name: library.agent.ActionSpec(name, library.agent.ActuationSpec(amount=amount))
        for name, amount in amounts.items()
    }
    return library.Configuration(backend, [agent], mediator)


_OF_THREAD = threading.local()


def viewer() -> Viewer:
    """This thread's viewer."""
    if not hasattr(_OF_THREAD, "viewer"):
        _OF_THREAD.viewer = Viewer()
        atexit.register(_OF_THREAD.viewer.close)
    found: Viewer = _OF_THREAD.viewer
    return found
