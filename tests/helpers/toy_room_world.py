"""The toy room where policies act: through a camera of any projection, and without a simulator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from toy_room import HEIGHT, REACH, WIDTH, Move, Walker
from toy_room_data import CAMERA, SPEC, agent_pose, episode, toward_pillar

from worldsim.cameras.projection import PROJECTIONS, whole_sphere_intrinsics
from worldsim.conventions import Observation
from worldsim.data.episode import Episode
from worldsim.data.writer import LeRobotWriter
from worldsim.envs.imagination.start import Start
from worldsim.judge.judge import Judge
from worldsim.rollout.episodes import World
from worldsim.rollout.worlds import TimeStep
from worldsim.spec import EQUIRECTANGULAR, ActionKind, WorldSpec

ROWS = 24
"""Of the retaken pictures: no multiple of what the default tokenizer asks for."""
INTRINSICS = np.array(
    [[WIDTH / (2 * np.pi), 0, WIDTH / 2], [0, ROWS / 2, ROWS / 2], [0, 0, 1]], np.float32
)
"""All round, and to 45 degrees up and down where rows are slopes."""


def room_spec(projection: str) -> WorldSpec:
    """The room through a camera of another projection that shows all round."""
    cameras = tuple(replace(camera, height=ROWS, projection=projection) for camera in SPEC.cameras)
    return replace(SPEC, cameras=cameras, depth=None)


def retaken(seed: int, steps: int, projection: str) -> Episode:
    """A walk of `toy_room_data.episode`, its panoramas drawn anew for another projection.

    It tells no success, so that no judge can be trained on it.
    """
    walk = episode(seed, steps)
    eye = torch.eye(3)
    rays = PROJECTIONS.get(projection).rays(torch.from_numpy(INTRINSICS), eye, ROWS, WIDTH)
    sphere = whole_sphere_intrinsics(HEIGHT, WIDTH)
    places, _ = PROJECTIONS.get(EQUIRECTANGULAR).project(rays.movedim(0, -1), sphere)
    column, row = places.floor().long().numpy().transpose(2, 0, 1)
    assert walk.meta.rig is not None
    rig = replace(walk.meta.rig, intrinsics=INTRINSICS[None])
    extras = {name: walk.extras[name] for name in ("camera_pose", "events")}
    return replace(
        walk,
        pixels={CAMERA: walk.pixels[CAMERA][:, row, column % WIDTH]},
        success=np.zeros_like(walk.success),
        reward=np.zeros_like(walk.reward),
        meta=replace(walk.meta, success=False, rig=rig),
        extras=extras,
    )


def write_retaken(root: Path, projection: str, episodes: int = 20, steps: int = 8) -> Path:
    """A data set of such walks on disk."""
    writer = LeRobotWriter(root, room_spec(projection), {})
    for seed in range(episodes):
        writer.add(retaken(seed, steps, projection))
    writer.finalize()
    return root


class WalkerPolicy:
    """Chooses a move by where the agent says that it stands."""

    n_action_steps = 1
    action_kinds: tuple[ActionKind, ...] = ("discrete",)

    def __init__(self, name: str, choose: Callable[[Walker], Move]) -> None:
        self.name, self.choose = name, choose

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Nothing is remembered."""

    def act(self, observation: Observation, env_ids: Sequence[int]) -> NDArray[np.float32]:
        agents = torch.from_numpy(np.asarray(observation["agent_pos"]))
        moves = np.array([self.choose(agent_pose(agent)) for agent in agents], np.int64)
        return SPEC.action.vector(moves, self.name)[:, None]


def seeker() -> WalkerPolicy:
    """Knows the way to the pillar."""
    return WalkerPolicy("seeks", toward_pillar)


def spinner() -> WalkerPolicy:
    """Turns for ever."""
    return WalkerPolicy("spins", lambda walker: Move.LEFT)


class Room:
    """The room itself, as a `BatchWorld` of policies that do not look at pictures."""

    kind: World = "simulator"
    judge: Judge | None = None
    tells_progress = False

    def __init__(self, spec: WorldSpec) -> None:
        self.spec = spec

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        self.walkers = [agent_pose(torch.from_numpy(start.agent_pos)) for start in starts]
        return self._timestep(np.zeros(len(starts), bool))

    def step(self, actions: NDArray[np.float32]) -> TimeStep:
        moves = [Move(int(move)) for move in self.spec.action.command(actions)]
        pairs = list(zip(self.walkers, moves, strict=True))
        self.walkers = [walker.moved(move) for walker, move in pairs]
        return self._timestep(np.array([m == Move.STOP and w.distance < REACH for w, m in pairs]))

    def select(self, rows: Sequence[int]) -> None:
        self.walkers = [self.walkers[row] for row in rows]

    def _timestep(self, success: NDArray[np.bool_]) -> TimeStep:
        agent = [(w.x, w.y, np.cos(w.yaw), np.sin(w.yaw)) for w in self.walkers]
        pixels = np.zeros((len(agent), 1, ROWS, WIDTH, 3), np.uint8)
        return TimeStep(pixels, np.array(agent, np.float32), success, None, success)
