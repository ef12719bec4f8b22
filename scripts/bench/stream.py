"""Frames a second of streams, autoregressive and rolling, at the same ladder and chunk.

Decoded frames of all views, one stream and several together; time per stage (denoiser, decoder, the
rest), calls of the denoiser a chunk, and the share of the machine's matrix-product rate stand
beside the rates. `--long` also runs one stream of that many frames and compares the latency of its
first and last thousand, and the memory held. Needs no simulator; the speed does not depend on what
the frames show.

    python scripts/bench/stream.py [--model shipped/push] [--steps 4] [--chunk 1] [--long 10000]
    python scripts/bench/stream.py --model base --image 256 256 --device cuda
    python scripts/bench/stream.py --model wan_1_3b --image 480 832 --views 1 --chunk 3 \\
        --device cuda --acceleration cuda_graphs

A name of `configs/model` stands for random weights of that size.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from worldsim.config.compose import build, compose_config
from worldsim.config.groups import group_options
from worldsim.diffusion.flow import sampling_sigmas
from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.hardware import inference_device
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Acceleration
from worldsim.sampling.stream import Stream

SHIPPED = "shipped/push"


def wait(device: torch.device) -> None:
    """Until what was launched is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass
class Stopwatch:
    """Seconds and calls of a module's forward."""

    device: torch.device
    seconds: float = 0.0
    calls: int = 0
    _begun: float = field(default=0.0, repr=False)

    def begin(self, *_: object) -> None:
        """Before the forward."""
        wait(self.device)
        self._begun = time.perf_counter()

    def end(self, *_: object) -> None:
        """After it."""
        wait(self.device)
        self.seconds += time.perf_counter() - self._begun
        self.calls += 1


@contextmanager
def watched(module: torch.nn.Module, device: torch.device) -> Iterator[Stopwatch]:
    """Time every forward of `module`."""
    watch = Stopwatch(device)
    hooks = [
        module.register_forward_pre_hook(watch.begin),
        module.register_forward_hook(watch.end),
    ]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a square matrix product, the fastest of some."""
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    times = []
    for _ in range(6):
        wait(device)
        start = time.perf_counter()
        matrix @ matrix
        wait(device)
        times.append(time.perf_counter() - start)
    return 2.0 * side**3 / min(times)


def begin(model: WorldModel, schedule: Schedule, count: int, acceleration: Acceleration) -> Stream:
    """Streams at random first frames, with the schedule's window full of actions."""
    stream = Stream(model, schedule, acceleration=acceleration)
    rng, spec = np.random.default_rng(0), model.spec
    camera = spec.cameras[0]
    shape = (count, model.views, camera.height, camera.width, 3)
    hand = np.zeros((count, spec.agent_pos.dim), np.float32)
    hand[:, 3], hand[:, 7] = 1.0, 1.0  # upright, where a rotation stands there
    lens = np.array([[camera.width, 0, camera.width / 2], [0, camera.width, camera.height / 2]])
    above = np.diag([1.0, -1.0, -1.0, 1.0])
    above[2, 3] = 0.6
    eye = np.vstack([lens, [0, 0, 1]]).astype(np.float32)
    rig = {
        "intrinsics": np.tile(eye, (count, model.views, 1, 1)),
        "extrinsics": np.tile(above.astype(np.float32), (count, model.views, 1, 1)),
        "mounted": np.zeros((count, model.views), bool),
    }
    state = np.zeros((count, spec.state.dim), np.float32)
    stream.reset(rng.integers(0, 256, shape, dtype=np.uint8), hand, rig, state=state)
    stream.push(draw(stream, schedule.most_in_flight * schedule.chunk))
    return stream


def draw(stream: Stream, frames: int) -> np.ndarray:
    """Random actions `[N, frames, A]`."""
    shape = (stream.num_envs, frames, stream.spec.action.dim)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def next_frames(stream: Stream) -> int:
    """Run passes until a chunk is finished, decode it, and push as many actions; its frames."""
    while (chunk := stream.step()) is None:
        pass
    for frame in range(chunk.latents.shape[1]):
        with torch.inference_mode():
            stream.model.decode(chunk.latents[:, frame]).cpu()
    stream.push(draw(stream, chunk.latents.shape[1]))
    return int(chunk.latents.shape[1])


def repeat(work: Callable[[], int], seconds: float) -> tuple[int, float]:
    """What `work` adds up to in so many seconds, and how long it really took."""
    frames, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or not frames:
        frames += work()
    return frames, time.perf_counter() - start


def measure(stream: Stream, seconds: float, flops: int, peak: float) -> dict[str, float]:
    """Frames a second of all streams together, milliseconds a frame by stage, calls a chunk, share
    of the `peak` rate that `flops` a frame of all streams come to."""
    device = stream.model.device
    for _ in range(6):
        next_frames(stream)
    frames, total = repeat(lambda: next_frames(stream), seconds)
    rate = frames / total
    denoiser, decoder = stream.model.denoiser, stream.model.tokenizer.decoder
    with watched(denoiser, device) as passes, watched(decoder, device) as decoding:
        frames, total = repeat(lambda: next_frames(stream), seconds / 2)
    return {
        "frames_per_s": round(rate * stream.num_envs, 1),
        "share_of_products": round(flops * rate / peak, 3),
        "denoiser_ms": round(1000 * passes.seconds / frames, 2),
        "decoder_ms": round(1000 * decoding.seconds / frames, 2),
        "rest_ms": round(1000 * (total - passes.seconds - decoding.seconds) / frames, 2),
        "calls_per_chunk": round(passes.calls * stream.schedule.chunk / frames, 2),
    }


def work_of(model: WorldModel, schedule: Schedule, count: int) -> int:
    """Floating-point operations of a frame of `count` streams in steady state, decoded."""
    stream = begin(model, schedule, count, "none")
    for _ in range(4):
        next_frames(stream)
    with FlopCounterMode(display=False) as counter:
        frames = next_frames(stream)
    return int(counter.get_total_flops()) // frames


def most_memory(device: torch.device) -> int:
    """The most memory held so far: the GPU's, or else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def endurance(stream: Stream, frames: int, part: int = 1000) -> dict[str, float]:
    """Latency of the last `part` frames over that of the first, and the memory that grew."""
    for _ in range(20):
        next_frames(stream)
    part = min(part, frames // 2)
    device, memory = stream.model.device, 0
    spent: list[float] = []
    while len(spent) < frames:
        start = time.perf_counter()
        next_frames(stream)
        spent.append(time.perf_counter() - start)
        if len(spent) == part:
            memory = most_memory(device)
    grown = most_memory(device) / memory - 1.0
    return {
        "latency_ratio": round(float(np.median(spent[-part:]) / np.median(spent[:part])), 3),
        "memory_grown": round(grown, 4),
    }


def load(reference: str, image: list[int] | None, views: int | None) -> WorldModel:
    """The named model, or random weights of that option of `configs/model`."""
    if reference not in group_options("model"):
        if image or views:
            sys.exit("--image and --views are of random weights; a saved model has its own")
        return WorldModel.from_pretrained(reference)
    config = compose_config("train", ["dataset=none", "out=none", f"model={reference}"]).model
    spec = WorldModel.from_pretrained(SHIPPED).spec
    height, width = image or (64, 64)
    cameras = spec.cameras[:views] if views else spec.cameras
    spec = replace(
        spec, cameras=tuple(replace(each, height=height, width=width) for each in cameras)
    )
    torch.manual_seed(0)
    model = WorldModel(build(WorldModelConfig, config), spec)
    return model.eval().requires_grad_(False)


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=SHIPPED, help="a model, or a name of configs/model")
    parser.add_argument("--image", type=int, nargs=2, help="height and width of random weights")
    parser.add_argument("--views", type=int, help="cameras of random weights")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--acceleration", default="none")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each measurement")
    parser.add_argument("--long", type=int, default=0, help="frames of an endurance run")
    return parser.parse_args()


def main() -> None:
    """Measure and print; the last line is JSON."""
    asked = options()
    torch.set_num_threads(asked.threads)
    device = inference_device(asked.device)
    model = load(asked.model, asked.image, asked.views).to(device)
    dtype = next(Stream(model, autoregressive((1.0, 0.0))).model.denoiser.parameters()).dtype
    peak = matrix_rate(device, dtype)
    ladder = tuple(sampling_sigmas(asked.steps).tolist())
    schedules = {
        "autoregressive": autoregressive(ladder, asked.chunk),
        "rolling": rolling(ladder, asked.chunk),
    }
    found: dict[str, dict[str, float]] = {}
    for count in asked.streams:
        for kind, schedule in schedules.items():
            flops = work_of(model, schedule, count)
            stream = begin(model, schedule, count, asked.acceleration)
            found[f"{kind}_{count}"] = measure(stream, asked.seconds, flops, peak)
            print(f"{kind}, {count} streams: {found[f'{kind}_{count}']}", flush=True)
    first, last = asked.streams[0], asked.streams[-1]
    rates = {name: row["frames_per_s"] for name, row in found.items()}
    line: dict[str, Any] = {
        "name": f"streams, {asked.steps} steps, chunks of {asked.chunk}",
        "value": rates[f"autoregressive_{last}"],
        "unit": f"frames/s, {last} streams together",
        "ratio": round(rates[f"rolling_{first}"] / rates[f"autoregressive_{first}"], 2),
        "against": f"{first} rolling stream(s) over {first} autoregressive",
        "stages": found,
        "model": asked.model,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "acceleration": asked.acceleration,
        "products_gflops": round(peak / 1e9),
        "threads": asked.threads,
    }
    if asked.long:
        stream = begin(model, schedules["autoregressive"], 1, asked.acceleration)
        line["endurance"] = endurance(stream, asked.long)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
