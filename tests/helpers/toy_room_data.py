"""The toy room as a world: its spec, its episodes, a data set of them."""

from pathlib import Path

import numpy as np
import torch
from toy_room import FORWARD, HEIGHT, PILLAR, REACH, TURN, WIDTH, Move, Walker, seen

from worldsim.cameras.projection import whole_sphere_intrinsics
from worldsim.cameras.rig import CameraRig
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.writer import LeRobotWriter
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

CAMERA = "panorama"
MOVES = ("stop", "forward", "turn_left", "turn_right")
SPEC = WorldSpec(
    fps=5,
    cameras=(
        CameraSpec(CAMERA, HEIGHT, WIDTH, projection="equirectangular", wrap=True, carrier="agent"),
    ),
    action=discrete_actions(MOVES, (1.0, FORWARD, TURN, TURN), ("1", "m", "rad", "rad")),
    agent_pos=VectorSpec(("agent_x", "agent_y", "agent_cos", "agent_sin"), ("m", "m", "1", "1")),
    state=VectorSpec((), ()),
    camera_pose=True,
    depth="radial",
    events=("stopped", "bumped"),
)


def rig() -> CameraRig:
    """The panorama rides on the agent: x forward there, z forward in the camera."""
    mount = np.eye(4, dtype=np.float32)
    mount[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    intrinsics = whole_sphere_intrinsics(HEIGHT, WIDTH).numpy()
    return CameraRig((CAMERA,), intrinsics[None], mount[None], np.ones(1, bool))


def walk(seed: int, steps: int) -> tuple[list[Walker], list[Move]]:
    """A walk that mostly heads for the pillar and stops there, or at random."""
    rng = np.random.default_rng(seed)
    x, y, turn = rng.uniform(-1, 1, 3).tolist()
    walkers, moves = [Walker(x, y, np.pi * turn)], []
    for _ in range(steps):
        move = Move(int(rng.integers(1, 4))) if rng.random() < 0.3 else toward_pillar(walkers[-1])
        moves.append(move)
        walkers.append(walkers[-1].moved(move))
    return walkers, moves


def toward_pillar(walker: Walker) -> Move:
    """The move of someone who knows the way."""
    if walker.distance < REACH:
        return Move.STOP
    bearing = np.arctan2(PILLAR[1] - walker.y, PILLAR[0] - walker.x) - walker.yaw
    bearing = (bearing + np.pi) % (2 * np.pi) - np.pi
    if abs(bearing) <= TURN / 2:
        return Move.FORWARD
    return Move.LEFT if bearing > 0 else Move.RIGHT


def episode(seed: int, steps: int) -> Episode:
    """A recorded walk; stopping near the pillar is a success."""
    walkers, moves = walk(seed, steps)
    frames, depths = zip(*map(seen, walkers), strict=True)
    stopped = np.array([False, *(move == Move.STOP for move in moves)])
    success = stopped & np.array([walker.distance < REACH for walker in walkers])
    bumped = [False] + [
        move == Move.FORWARD and before == after
        for before, move, after in zip(walkers, moves, walkers[1:], strict=False)
    ]
    action = SPEC.action.vector(np.array(moves, np.int64), "toy room")
    agent = [(w.x, w.y, np.cos(w.yaw), np.sin(w.yaw)) for w in walkers]
    progress = [1 - min(w.distance / 4, 1) for w in walkers]
    return Episode(
        pixels={CAMERA: np.stack(frames)},
        agent_pos=np.array(agent, np.float32),
        state=np.zeros((steps + 1, 0), np.float32),
        action=action,
        action_achieved=action,
        reward=success.astype(np.float32),
        success=success,
        progress=np.array(progress, np.float32),
        task="stop at the red pillar",
        meta=EpisodeMeta("ToyRoom-v0", seed, "walk", bool(success.any()), rig=rig()),
        extras={
            "camera_pose": np.stack([w.pose for w in walkers])[:, None],
            "depth": np.stack(depths)[:, None],
            "events": np.stack([stopped, np.array(bumped)], axis=1).astype(np.float32),
        },
    )


def write_room_data(root: Path, episodes: int = 20, steps: int = 8) -> Path:
    """A data set of walks on disk."""
    writer = LeRobotWriter(root, SPEC, {})
    for seed in range(episodes):
        writer.add(episode(seed, steps))
    writer.finalize()
    return root


def agent_pose(agent_pos: torch.Tensor) -> Walker:
    """Where the agent is, of proprioception `[4]`."""
    x, y, cos, sin = agent_pos.tolist()
    return Walker(x, y, float(np.arctan2(sin, cos)))
