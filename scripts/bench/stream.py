"""Frames a second of streams, autoregressive and rolling, at the same ladder and chunk.

Three decoded 64x64 views a frame, one stream and sixteen together; time per stage (denoiser,
decoder, the rest) and calls of the denoiser a chunk stand beside the rates. `--long` also runs one
stream of that many frames and compares the latency of its first and last thousand, and the memory
held.

    python scripts/bench/stream.py [--model shipped/push] [--steps 4] [--chunk 1] [--long 10000]
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from worldsim.config import build, compose_config
from worldsim.diffusion.ladder import sampling_ladder
from worldsim.diffusion.schedule import Schedule, autoregressive, rolling
from worldsim.envs.imagination import SimulatorStarts, Start
from worldsim.envs.imagination.starts import stack_rigs
from worldsim.errors import WorldsimError
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.streaming.stream import Stream

STREAMS = (1, 16)
ENV_ID = "worldsim/TabletopPush-v0"


@dataclass
class Stopwatch:
    """Seconds and calls of a module's forward."""

    seconds: float = 0.0
    calls: int = 0
    _begun: float = field(default=0.0, repr=False)

    def begin(self, *_: object) -> None:
        """Before the forward."""
        self._begun = time.perf_counter()

    def end(self, *_: object) -> None:
        """After it."""
        self.seconds += time.perf_counter() - self._begun
        self.calls += 1


@contextmanager
def watched(module: torch.nn.Module) -> Iterator[Stopwatch]:
    """Time every forward of `module`."""
    watch = Stopwatch()
    hooks = [
        module.register_forward_pre_hook(watch.begin),
        module.register_forward_hook(watch.end),
    ]
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def begin(model: WorldModel, schedule: Schedule, starts: list[Start]) -> Stream:
    """Streams at their first frames, with the schedule's window full of actions."""
    stream = Stream(model, schedule)
    stream.reset(
        np.stack([start.pixels for start in starts]),
        np.stack([start.agent_pos for start in starts]),
        stack_rigs(starts),
        state=np.stack([start.state for start in starts if start.state is not None]),
    )
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
            stream.model.decode(chunk.latents[:, frame])
    stream.push(draw(stream, chunk.latents.shape[1]))
    return int(chunk.latents.shape[1])


def measure(stream: Stream, seconds: float) -> dict[str, float]:
    """Frames a second of all streams together, milliseconds a frame by stage, calls a chunk."""
    for _ in range(6):
        next_frames(stream)
    frames, start = 0, time.perf_counter()
    model = stream.model
    with watched(model.denoiser) as denoiser, watched(model.tokenizer.decoder) as decoder:
        while time.perf_counter() - start < seconds:
            frames += next_frames(stream)
        total = time.perf_counter() - start
    return {
        "frames_per_s": round(frames * stream.num_envs / total, 1),
        "denoiser_ms": round(1000 * denoiser.seconds / frames, 2),
        "decoder_ms": round(1000 * decoder.seconds / frames, 2),
        "rest_ms": round(1000 * (total - denoiser.seconds - decoder.seconds) / frames, 2),
        "calls_per_chunk": round(denoiser.calls * stream.schedule.chunk / frames, 2),
    }


def endurance(stream: Stream, frames: int, part: int = 1000) -> dict[str, float]:
    """Latency of the last `part` frames over that of the first, and the memory that grew."""
    for _ in range(20):
        next_frames(stream)
    spent: list[float] = []
    memory = 0
    while len(spent) < frames:
        start = time.perf_counter()
        next_frames(stream)
        spent.append(time.perf_counter() - start)
        if len(spent) == part:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / memory - 1.0
    return {
        "latency_ratio": round(float(np.median(spent[-part:]) / np.median(spent[:part])), 3),
        "memory_grown": round(grown, 4),
    }


def load(reference: str, env_starts: SimulatorStarts) -> tuple[WorldModel, str]:
    """The named model, or (speed does not depend on weights) a random `tiny`."""
    try:
        return WorldModel.from_pretrained(reference), reference
    except WorldsimError as error:
        print(f"{error}\nusing random weights of configs/model/tiny.yaml")
    config = compose_config("train", ["dataset=none", "out=none", "model=tiny"]).model
    model = WorldModel(build(WorldModelConfig, config), env_starts.spec)
    return model.eval().requires_grad_(False), "random tiny"


def main() -> None:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shipped/push")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each measurement")
    parser.add_argument("--long", type=int, default=0, help="frames of an endurance run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source = SimulatorStarts(ENV_ID)
    model, name = load(options.model, source)
    starts = [source.seeded(seed) for seed in range(max(STREAMS))]
    ladder = tuple(sampling_ladder(options.steps).tolist())
    schedules = {
        "autoregressive": autoregressive(ladder, options.chunk),
        "rolling": rolling(ladder, options.chunk),
    }
    found: dict[str, dict[str, float]] = {}
    for count in STREAMS:
        for kind, schedule in schedules.items():
            stream = begin(model, schedule, starts[:count])
            found[f"{kind}_{count}"] = measure(stream, options.seconds)
            print(f"{kind}, {count} streams: {found[f'{kind}_{count}']}", flush=True)
    line: dict[str, object] = {
        "name": f"streams, {options.steps} steps, chunks of {options.chunk}",
        "value": found[f"autoregressive_{STREAMS[-1]}"]["frames_per_s"],
        "unit": f"frames/s, {STREAMS[-1]} streams together",
        "ratio": round(
            found["rolling_1"]["frames_per_s"] / found["autoregressive_1"]["frames_per_s"], 2
        ),
        "against": "one rolling stream over one autoregressive stream",
        "stages": found,
        "model": name,
        "threads": options.threads,
    }
    if options.long:
        stream = begin(model, schedules["autoregressive"], starts[:1])
        line["endurance"] = endurance(stream, options.long)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
