"""What a map of points costs beside imagination, and against plain NumPy; whether it stays bounded.

A panoramic model with random weights imagines a walk of 16 envs through a room. One memory update
and one render are measured beside one imagined step without a memory, and the geometry of both
against the same operations in plain NumPy, env by env. Seconds are of the processor, so that
other processes do not count.

    python scripts/bench/memory.py [--envs 16] [--threads 1] [--rounds 5] [--steps 1000]
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.cameras.depth import unproject
from worldsim.cameras.projection import PROJECTIONS, scale_intrinsics, whole_sphere_intrinsics
from worldsim.cameras.splat import Points, splat
from worldsim.config.compose import build, compose_config
from worldsim.memory.base import FrameCameras, MemoryConfig, MemorySize, ShownFrames
from worldsim.memory.points import PointMemory
from worldsim.memory.voxels import Voxels, merged, voxel_keys
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

Array = NDArray[np.floating]
HIGH, WIDE = 32, 64
STEPS = 2
"""Denoising steps of a frame, as imagination envs take them unless told otherwise."""
SIDE = 4.0
"""Metres from the middle of the room to its walls."""
SPHERE = PROJECTIONS.get("equirectangular")
SPEC = WorldSpec(
    fps=5,
    cameras=(CameraSpec("panorama", HIGH, WIDE, "equirectangular", True, "agent"),),
    action=discrete_actions(("stop", "forward", "turn_left", "turn_right")),
    agent_pos=VectorSpec(("agent_x", "agent_y", "agent_cos", "agent_sin"), ("m", "m", "1", "1")),
    state=VectorSpec((), ()),
    camera_pose=True,
    depth="radial",
)


def main() -> None:
    """Measure, print, and end with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000, help="of the walk that bounds points")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = small_model()
    step = imagined_step(model, options.envs, options.rounds)
    walk = Walk(model, options.envs, options.steps)
    update, render = walk.measure()
    share = (update + render) / step
    print(f"one imagined step of {options.envs} envs: {1e3 * step:.1f} ms")
    print(f"update {1e3 * update:.1f} ms, render {1e3 * render:.1f} ms: {share:.1%} of a step")
    print(f"points of the fullest env along {options.steps} steps: {walk.most}")
    torch_s, numpy_s = geometry(options.envs, options.rounds)
    for name, seconds in torch_s.items():
        print(f"{name}: {1e3 * seconds:.1f} ms, NumPy {1e3 * numpy_s[name]:.1f} ms")
    ratio = sum(numpy_s.values()) / sum(torch_s.values())
    line = {
        "name": f"update and render of point maps, {options.envs} panoramas of {HIGH}x{WIDE}",
        "value": round(1e3 * (update + render), 2),
        "unit": "ms",
        "ratio": round(ratio, 2),
        "against": "its geometry in plain NumPy, env by env",
        "share_of_imagined_step": round(share, 3),
        "imagined_step_ms": round(1e3 * step, 1),
        "points_most": walk.most,
        "points_cap": walk.memory.config.points,
        "steps": options.steps,
        "ratios": {name: round(numpy_s[name] / torch_s[name], 2) for name in torch_s},
    }
    print(json.dumps(line))


def small_model() -> WorldModel:
    """A panoramic model of the size of `model=tiny_pixels`, without a memory."""
    overrides = [
        *("dataset=none", "out=none", "model=tiny_pixels"),
        *("model.conditioners=[rays,action]", "model.dynamics.name=agent"),
    ]
    config = build(WorldModelConfig, compose_config("train", overrides).model)
    torch.manual_seed(0)
    return WorldModel(config, SPEC).eval().requires_grad_(False)


def imagined_step(model: WorldModel, envs: int, rounds: int) -> float:
    """Processor seconds of one step of a stream, in the fewest steps that the model takes."""
    stream = Stream.of(model, Sampler.of(model, STEPS))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (envs, 1, HIGH, WIDE, 3), dtype=np.uint8)
    agent = np.tile(np.array([0, 0, 1, 0], np.float32), (envs, 1))
    mount = np.eye(4, dtype=np.float32)
    mount[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    rig = {
        "intrinsics": np.tile(whole_sphere_intrinsics(HIGH, WIDE).numpy(), (envs, 1, 1, 1)),
        "extrinsics": np.tile(mount, (envs, 1, 1, 1)),
        "mounted": np.ones((envs, 1), bool),
    }
    stream.reset(pixels, agent, rig)
    actions = np.eye(4, dtype=np.float32)[rng.integers(0, 4, envs)]

    def once() -> None:
        stream.act(actions)
        stream.pixels()

    for _ in range(10):  # the context fills
        once()
    return timed(once, rounds)


def timed(run: Callable[[], object], rounds: int) -> float:
    """Least processor seconds of a call."""
    run()
    best = math.inf
    for _ in range(rounds):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return best


def poses_of(envs: int, step: int) -> Tensor:
    """Cameras to world `[N, 4, 4]` of walkers on curves of their own, at one step."""
    phase = torch.arange(envs) * 0.7 + 0.05 * step
    yaw = phase * 1.7
    cos, sin, none = yaw.cos(), yaw.sin(), torch.zeros(envs)
    pose = torch.eye(4).repeat(envs, 1, 1)
    pose[:, :3, 0] = torch.stack([sin, -cos, none], -1)
    pose[:, :3, 1] = torch.tensor([0.0, 0.0, -1.0])
    pose[:, :3, 2] = torch.stack([cos, sin, none], -1)
    pose[:, 0, 3], pose[:, 1, 3] = 2.5 * phase.cos(), 2.0 * (1.3 * phase).sin()
    return pose


def depth_of(poses: Tensor) -> Tensor:
    """Radial depth `[N, H, W]` of a room of `SIDE` and 1.25 m above and below the camera."""
    sphere = whole_sphere_intrinsics(HIGH, WIDE)
    rays = SPHERE.rays(sphere.expand(len(poses), 3, 3), poses[:, :3, :3], HIGH, WIDE)
    half = torch.tensor([SIDE, SIDE, 1.25])[None, :, None, None]
    start = poses[:, :3, 3, None, None]
    return ((torch.where(rays > 0, half, -half) - start) / rays).amin(1)


class Walk:
    """Envs that walk on and on, a new frame and its memory every step."""

    def __init__(self, model: WorldModel, envs: int, steps: int) -> None:
        latent = (1, *model.latent_shape)
        size = MemorySize(SPEC, latent, envs, torch.device("cpu"))
        config = replace(MemoryConfig(), name="points", depth="simulator")
        self.memory = PointMemory.new(config, size)
        sphere = whole_sphere_intrinsics(HIGH, WIDE)
        cells = scale_intrinsics(sphere, latent[2] / HIGH).repeat(envs, 1, 1, 1)
        self.cells, self.envs, self.steps, self.most = cells, envs, steps, 0
        self.latents = torch.randn(envs, 1, *latent)

    def measure(self) -> tuple[float, float]:
        """Mean processor seconds of an update and of a render, over the latter half."""
        update, render = [], []
        for step in range(self.steps):
            pose = poses_of(self.envs, step)
            cameras = FrameCameras(pose[:, None, None], self.cells, torch.ones(self.envs))
            shown = ShownFrames(
                self.latents,
                cameras,
                torch.ones(self.envs, 1, 1),
                torch.ones(self.envs, dtype=torch.long),
                torch.full((self.envs, 1), step),
                depth_of(pose)[:, None, None],
            )
            begin = time.process_time()
            self.memory.update(shown)
            middle = time.process_time()
            self.memory.view(cameras)
            update.append(middle - begin)
            render.append(time.process_time() - middle)
            self.most = max(self.most, int(self.memory.stats()["points_most"]))
        half = self.steps // 2
        # Not the median: every few updates one merges, which is the dearest.
        return float(np.mean(update[half:])), float(np.mean(render[half:]))


def geometry(envs: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds of each operation in torch, batched, and in NumPy, env by env."""
    # Of a place where no point falls on the edge of a pixel, whose side rounding decides.
    poses, voxel, channels = poses_of(envs, 3), MemoryConfig().voxel, 8
    sphere = whole_sphere_intrinsics(HIGH, WIDE)
    intrinsics, frames = sphere.expand(envs, 3, 3), [poses_of(envs, 7 * i) for i in range(4)]
    depths = [depth_of(each) for each in frames]
    place = torch.cat(
        [
            unproject(depth, "radial", intrinsics, pose, SPHERE).flatten(1, 2)
            for depth, pose in zip(depths, frames, strict=True)
        ],
        1,
    )
    features, ones = torch.randn(*place.shape[:2], channels), torch.ones(place.shape[:2])
    valid, radius = ones > 0, torch.cat([d.flatten(1) for d in depths], 1) / (2 * sphere[1, 1])
    points = Points(place, features, radius, valid)

    def cloud() -> Voxels:
        key = voxel_keys(place, valid, voxel)
        return Voxels(key, place, features, ones, radius, ones.long())

    ours: dict[str, Callable[[], object]] = {
        "unproject": lambda: unproject(depths[0], "radial", intrinsics, poses, SPHERE),
        "merge": lambda: merged(cloud()),
        "splat": lambda: splat(points, intrinsics, poses, (HIGH, WIDE), SPHERE, 2, 0),
    }
    flat = place.numpy(), features.numpy(), poses.numpy(), depths[0].numpy()
    plain: dict[str, Callable[[], object]] = {
        "unproject": lambda: [plain_unproject(d, p) for d, p in zip(flat[3], flat[2], strict=True)],
        "merge": lambda: [plain_merge(p, f, voxel) for p, f in zip(flat[0], flat[1], strict=True)],
        "splat": lambda: [plain_splat(*one) for one in zip(*flat[:3], strict=True)],
    }
    require_same(ours, plain)
    return (
        {name: timed(run, rounds) for name, run in ours.items()},
        {name: timed(run, rounds) for name, run in plain.items()},
    )


def plain_unproject(depth: Array, pose: Array) -> Array:
    """Points `[H, W, 3]` of a panorama."""
    longitude = ((np.arange(WIDE) + 0.5) / WIDE - 0.5) * 2 * np.pi
    latitude = ((np.arange(HIGH) + 0.5) / HIGH - 0.5) * np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    rays = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], -1)
    found: Array = depth[..., None] * (rays @ pose[:3, :3].T) + pose[:3, 3]
    return found


def plain_merge(place: Array, features: Array, voxel: float) -> tuple[Array, Array]:
    """Means of what lies in one voxel."""
    cells = np.floor(place / voxel).astype(np.int64)
    _, inverse = np.unique(cells, axis=0, return_inverse=True)
    count = np.bincount(inverse.reshape(-1))
    values = np.concatenate([place, features], axis=1)
    total = np.zeros((len(count), values.shape[1]), np.float32)
    np.add.at(total, inverse.reshape(-1), values)
    mean = total / count[:, None]
    return mean[:, :3], mean[:, 3:]


def plain_splat(place: Array, features: Array, pose: Array) -> tuple[Array, Array]:
    """Mean features `[H, W, C]` and mask of the nearest points, drawn twice as fine."""
    high, wide = 2 * HIGH, 2 * WIDE
    local = (place - pose[:3, 3]) @ pose[:3, :3]
    depth = np.linalg.norm(local, axis=1)
    longitude = np.arctan2(local[:, 0], local[:, 2])
    latitude = np.arctan2(local[:, 1], np.hypot(local[:, 0], local[:, 2]))
    column = np.floor((longitude / (2 * np.pi) + 0.5) * wide).astype(np.int64) % wide
    row = np.floor((latitude / np.pi + 0.5) * high).astype(np.int64).clip(0, high - 1)
    index = row * wide + column
    nearest = np.full(high * wide, np.inf, np.float32)
    np.minimum.at(nearest, index, depth)
    kept = depth <= nearest[index] * 1.02
    total = np.zeros((high * wide, features.shape[1]), np.float32)
    np.add.at(total, index[kept], features[kept])
    count = np.bincount(index[kept], minlength=high * wide)
    mean = total / np.maximum(count, 1)[:, None]
    shown = (count > 0).reshape(HIGH, 2, WIDE, 2)
    blocks = mean.reshape(HIGH, 2, WIDE, 2, -1).sum(axis=(1, 3))
    return blocks / np.maximum(shown.sum(axis=(1, 3)), 1)[..., None], shown.mean(axis=(1, 3))


def require_same(
    ours: dict[str, Callable[[], object]], plain: dict[str, Callable[[], object]]
) -> None:
    """Fail where both do not compute the same, but for points on the edge of a pixel."""
    mine, theirs = ours["splat"](), plain["splat"]()
    shown = mine.features.movedim(1, -1).numpy()  # type: ignore[attr-defined]
    told = np.stack([each[0] for each in theirs])  # type: ignore[attr-defined]
    assert (np.abs(shown - told).max(-1) > 1e-3).mean() < 0.02
    counted = ours["merge"]().count.tolist()  # type: ignore[attr-defined]
    assert counted == [len(each[0]) for each in plain["merge"]()]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
