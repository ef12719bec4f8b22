"""A world without a simulator: a bright hand on a dark plain pushes a red block, seen from above.

Two cameras of 32 pixels, the second one mirrored; 1 pixel is 1 cm.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.writer import LeRobotWriter
from worldsim.spec import EE_POSITION, ActionSpec, CameraSpec, VectorSpec, WorldSpec

SIZE = 32
STEP = 3.0
CAMERAS = ("above", "mirrored")
SPEC = WorldSpec(
    fps=10,
    cameras=tuple(CameraSpec(name, SIZE, SIZE) for name in CAMERAS),
    action=ActionSpec(
        names=("dx", "dy", "dz"),
        low=(-1.0,) * 3,
        high=(1.0,) * 3,
        units=("m",) * 3,
        scale=(STEP / 100,) * 3,
        mode="delta",
        frame="world",
    ),
    agent_pos=VectorSpec(EE_POSITION, ("m",) * 3),
    state=VectorSpec(("object_x", "object_y"), ("m", "m")),
)


def square_episode(seed: int, length: int) -> Episode:
    """The hand walks at random and drags the block along while it touches it."""
    rng = np.random.default_rng(seed)
    hand, block = rng.uniform(6, 26, 2), rng.uniform(8, 24, 2)
    heading = rng.uniform(-1, 1, 2)
    hands, blocks, actions = [hand], [block], []
    for _ in range(length):
        heading = np.clip(0.7 * heading + 0.6 * rng.uniform(-1, 1, 2), -1, 1)
        moved = np.clip(hand + STEP * heading, 3, SIZE - 3)
        if np.abs(moved - block).max() < 4:
            block = np.clip(block + moved - hand, 3, SIZE - 3)
        hand = moved
        hands.append(hand)
        blocks.append(block)
        actions.append([*heading, 0.0])
    return _episode(np.array(hands), np.array(blocks), np.array(actions, np.float32), seed)


def _episode(
    hands: NDArray[np.float64],
    blocks: NDArray[np.float64],
    actions: NDArray[np.float32],
    seed: int,
) -> Episode:
    above = np.stack([_draw(h, b) for h, b in zip(hands, blocks, strict=True)])
    rows = len(above)
    success = np.arange(rows) > rows - 3 if seed % 2 else np.zeros(rows, bool)
    height = np.full((rows, 1), 0.1)
    return Episode(
        pixels={"above": above, "mirrored": np.ascontiguousarray(above[:, :, ::-1])},
        agent_pos=np.concatenate([hands / 100, height], 1).astype(np.float32),
        state=(blocks / 100).astype(np.float32),
        action=actions,
        action_achieved=actions,
        reward=success.astype(np.float32),
        success=success,
        progress=np.linspace(0, 1, rows, dtype=np.float32),
        task="push the block",
        meta=EpisodeMeta("", seed, "walk", bool(success.any()), rig=_rig()),
    )


def _draw(hand: NDArray[np.float64], block: NDArray[np.float64]) -> NDArray[np.uint8]:
    image = np.full((SIZE, SIZE, 3), 40, np.uint8)
    for centre, colour in ((block, (220, 60, 40)), (hand, (230, 230, 230))):
        x, y = np.round(centre).astype(int)
        image[max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = colour
    return image


def _rig() -> CameraRig:
    """Cameras a metre above the plain that look down on it."""
    focal = 100.0
    intrinsics = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]], np.float32)
    down = np.eye(4, dtype=np.float32)
    return CameraRig(
        CAMERAS,
        np.stack([intrinsics, intrinsics]),
        np.stack([down, down]),
        np.zeros(2, bool),
    )


def write_square_data(root: Path, episodes: int = 12, length: int = 14) -> Path:
    """A data set of square episodes on disk, of up to `length` steps each."""
    writer = LeRobotWriter(root, SPEC, {})
    for seed in range(episodes):
        writer.add(square_episode(seed, length - seed % 3))
    writer.finalize()
    return root


def square_cache(root: Path, episodes: int = 12, length: int = 14) -> CachedDataset:
    """The decoded cache of such a data set."""
    return build_cache(write_square_data(root, episodes, length))
