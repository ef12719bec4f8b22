"""What the memory of `model=tiny_panorama` costs beside imagination and against plain NumPy.

Sixteen envs walk on and on through a room. One update and one render of their maps, as the config
says them and with finer voxels, are measured beside an imagined step of the same model without a
memory. Weights are random, and the depth head is run but the room's depth taken. The geometry of
the last maps is measured against the same operations in plain NumPy, env by env. Seconds are of
the processor, so that other processes do not count.

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
from worldsim.hardware import keep_freed_memory
from worldsim.memory.base import (
    FrameCameras,
    FrameReader,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    registered_memories,
)
from worldsim.memory.frames_points import FramesPointsMemory
from worldsim.memory.voxels import (
    BITS,
    MERGED_EVERY,
    Voxels,
    appended,
    inserted,
    summed,
    voxel_keys,
)
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

Array = NDArray[np.floating]
HIGH, WIDE = 32, 64
STEPS = 2
"""Denoising steps of a frame."""
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
    parser.add_argument("--finer", type=float, default=0.05, help="metres of the finer voxels")
    parser.add_argument("--points", type=int, default=2**18, help="most points of finer maps")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as rollouts do
    stream, memory = small_stream()
    step = imagined_step(stream, options.envs, options.rounds)
    alone = imagined_step(stream, 1, options.rounds)
    print(
        f"one imagined step of {options.envs} envs: {1e3 * step:.1f} ms, of one {1e3 * alone:.1f}"
    )
    maps = [memory, replace(memory, voxel=options.finer, points=options.points)]
    measured = [
        one_map(stream.model, config, options.envs, options.steps, options.rounds, step)
        for config in maps
    ]
    lonely = Walk(stream.model, memory, 1, options.steps).measure()
    rate = 1.0 / (alone + sum(lonely))
    print(f"one env: {rate:.1f} steps/s with its memory")
    line = {
        "name": f"update and render of memories, {options.envs} panoramas of {HIGH}x{WIDE}",
        "value": measured[0]["update_and_render_ms"],
        "unit": "ms",
        "ratio": measured[0]["ratio"],
        "against": "its geometry in plain NumPy, env by env",
        "imagined_step_ms": round(1e3 * step, 1),
        "steps": options.steps,
        "one_env_steps_per_s": round(rate, 1),
        "maps": measured,
    }
    print(json.dumps(line))


def one_map(
    model: WorldModel, config: MemoryConfig, envs: int, steps: int, rounds: int, step: float
) -> dict[str, object]:
    """Figures of one map, beside an imagined step of `step` seconds."""
    walk = Walk(model, config, envs, steps)
    update, render = walk.measure()
    both = update + render
    print(f"voxels of {config.voxel} m: update {1e3 * update:.1f} ms, render {1e3 * render:.1f} ms")
    print(
        f"  {both / step:.1%} of a step without memory, {both / (step + both):.1%} of one with it"
    )
    print(f"  points of the fullest env along {steps} steps: {walk.most} of {config.points}")
    torch_s, numpy_s = geometry(walk, rounds)
    for name, seconds in torch_s.items():
        print(f"  {name}: {1e3 * seconds:.1f} ms, NumPy {1e3 * numpy_s[name]:.1f} ms")
    return {
        "voxel": config.voxel,
        "update_and_render_ms": round(1e3 * both, 2),
        "update_ms": round(1e3 * update, 2),
        "render_ms": round(1e3 * render, 2),
        "share_of_imagined_step": round(both / step, 3),
        "share_of_step_with_memory": round(both / (step + both), 3),
        "points_most": walk.most,
        "points_cap": config.points,
        "ratio": round(sum(numpy_s.values()) / sum(torch_s.values()), 2),
        "ratios": {name: round(numpy_s[name] / torch_s[name], 2) for name in torch_s},
    }


def small_stream() -> tuple[Stream, MemoryConfig]:
    """A stream of `model=tiny_panorama` without its memory, and this memory's config."""
    overrides = ["dataset=none", "out=none", "model=tiny_panorama"]
    config = build(WorldModelConfig, compose_config("train", overrides).model)
    torch.manual_seed(0)
    plain = replace(config, memory=MemoryConfig())
    model = WorldModel(plain, SPEC).eval().requires_grad_(False)
    return Stream.of(model, Sampler.of(model, STEPS)), config.memory


def imagined_step(stream: Stream, envs: int, rounds: int) -> float:
    """Processor seconds of one step of a stream of `envs` rows and of showing its frames."""
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

    def __init__(self, model: WorldModel, config: MemoryConfig, envs: int, steps: int) -> None:
        latent = (1, *model.latent_shape)
        size = MemorySize(SPEC, latent, envs, torch.device("cpu"))
        memory = registered_memories().get(config.name).new(config, size)
        assert isinstance(memory, FramesPointsMemory)
        sphere = whole_sphere_intrinsics(HIGH, WIDE)
        self.cells = scale_intrinsics(sphere, latent[2] / HIGH).repeat(envs, 1, 1, 1)
        self.memory, self.config, self.reader = memory, config, model.reader
        self.envs, self.steps, self.most = envs, steps, 0
        self.latents = torch.randn(envs, 1, *latent)

    @torch.inference_mode()
    def measure(self) -> tuple[float, float]:
        """Mean processor seconds of an update and of a render, over the latter half."""
        update, render = [], []
        for step in range(self.steps):
            shown = self.shown(step)
            begin = time.process_time()
            self.memory.view(shown.cameras)
            middle = time.process_time()
            self.memory.update(shown)
            update.append(time.process_time() - middle)
            render.append(middle - begin)
            self.most = max(self.most, int(self.memory.stats()["points_most"]))
        half = self.steps // 2
        # Not the median: every few updates one merges, which is the dearest.
        return float(np.mean(update[half:])), float(np.mean(render[half:]))

    def shown(self, step: int) -> ShownFrames:
        """The frames of a step. The head's depth is of noise, so the room's takes its place."""
        pose, ones = poses_of(self.envs, step), torch.ones(self.envs, dtype=torch.long)
        far, told = depth_of(pose)[:, None, None], self.reader.depth
        assert told is not None

        def depth(latents: Tensor) -> Tensor:
            told(latents)
            return far

        parts = self.reader.pixels, depth, "radial", self.reader.latents
        cameras = FrameCameras(pose[:, None, None], self.cells, ones.float())
        mask, number = ones.float()[:, None, None], torch.full((self.envs, 1), step)
        reader = FrameReader(*parts)  # type: ignore[arg-type]
        return ShownFrames(self.latents, cameras, mask, ones, number, None, reader)


def geometry(walk: Walk, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Processor seconds of each operation in torch, batched, and in NumPy, env by env."""
    envs, held = walk.envs, walk.memory.points.settled
    sphere = whole_sphere_intrinsics(HIGH, WIDE)
    intrinsics = sphere.expand(envs, 3, 3)
    coming = [poses_of(envs, walk.steps + step) for step in range(MERGED_EVERY)]
    depths, poses = [depth_of(each) for each in coming], coming[0]
    new = walk.memory.points.map.taken(held.key[:, :0])
    for depth, pose in zip(depths, coming, strict=True):
        place = unproject(depth, "radial", intrinsics, pose, SPHERE).flatten(1, 2)
        far, features = depth.flatten(1), torch.rand_like(place)
        key = voxel_keys(place, far > 0, walk.config.voxel)
        new = appended(new, Voxels(key, place, features, 1 / far**2, far, torch.ones_like(key)))
    none, points = (
        torch.zeros_like(held.valid),
        Points(held.place, held.features, held.radius, held.valid),
    )
    ours: dict[str, Callable[[], object]] = {
        "unproject": lambda: unproject(depths[0], "radial", intrinsics, poses, SPHERE),
        "merge": lambda: inserted(held, none, summed(new)),
        "splat": lambda: splat(points, intrinsics, poses, (HIGH, WIDE), SPHERE, 2, 0),
    }
    flat = [[row(each, k) for k in range(envs)] for each in (held, appended(held, new))]
    far_away, where = depths[0].numpy(), poses.numpy()
    plain: dict[str, Callable[[], object]] = {
        "unproject": lambda: [plain_unproject(*one) for one in zip(far_away, where, strict=True)],
        "merge": lambda: [plain_merge(*one) for one in flat[1]],
        "splat": lambda: [
            plain_splat(*one[1:3], pose) for one, pose in zip(flat[0], where, strict=True)
        ],
    }
    require_same(ours, plain)
    return (
        {name: timed(run, rounds) for name, run in ours.items()},
        {name: timed(run, rounds) for name, run in plain.items()},
    )


def row(held: Voxels, k: int) -> tuple[Array, Array, Array, Array]:
    """Cells `[n, 3]`, places, features and weights of one env's points, for NumPy."""
    there = held.valid[k]
    parts = (held.key, held.place, held.features, held.weight)
    keys, place, features, weight = (np.ascontiguousarray(p[k][there].numpy()) for p in parts)
    cells = np.stack([keys >> 2 * BITS, (keys >> BITS) & (2**BITS - 1), keys & (2**BITS - 1)], 1)
    return cells, place, features, weight


def plain_unproject(depth: Array, pose: Array) -> Array:
    """Points `[H, W, 3]` of a panorama."""
    longitude = ((np.arange(WIDE) + 0.5) / WIDE - 0.5) * 2 * np.pi
    latitude = ((np.arange(HIGH) + 0.5) / HIGH - 0.5) * np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    rays = np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], -1)
    found: Array = depth[..., None] * (rays @ pose[:3, :3].T) + pose[:3, 3]
    return found


def plain_merge(cells: Array, place: Array, features: Array, weight: Array) -> tuple[Array, Array]:
    """Weighted means of what lies in one voxel."""
    _, inverse = np.unique(cells, axis=0, return_inverse=True)
    values = np.concatenate([place, features, np.ones_like(place[:, :1])], axis=1)
    inverse = inverse.reshape(-1)
    total = np.zeros((inverse.max() + 1, values.shape[1]), np.float32)
    np.add.at(total, inverse, values * weight[:, None])
    mean = total / total[:, -1:]
    return mean[:, :3], mean[:, 3:-1]


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
    one, many = ours["merge"](), plain["merge"]()
    for k, (place, features) in enumerate(many):  # type: ignore[arg-type,var-annotated]
        there = one.valid[k]  # type: ignore[attr-defined]
        for mean, other in ((one.place, place), (one.features, features)):  # type: ignore[attr-defined]
            np.testing.assert_allclose(mean[k][there].numpy(), other, atol=1e-4)


if __name__ == "__main__":
    main()
