"""Training speed: latent tokens per second and the share of this processor's matrix-product rate.

    python scripts/bench/train.py                      # model=tiny, all cores
    python scripts/bench/train.py model=tiny_dit trainer.threads=2 trainer.batch_size=16

Takes the overrides of `worldsim train`, on random clips in the tabletop's shapes. Prints the
operators that take most time, the share reached inside a transformer block alone (of `model`, if
that is a DiT, else of tiny_dit), and one JSON line at the end.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # read when torch is first imported

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from worldsim.config.compose import compose_config
from worldsim.models.denoisers.attention import FrameOrder
from worldsim.models.denoisers.dit import DiT
from worldsim.models.world_model import WorldModel
from worldsim.spec import (
    EE_POSITION,
    EE_ROTATION_6D,
    ActionSpec,
    CameraSpec,
    VectorSpec,
    WorldSpec,
)
from worldsim.training.batches import Batch, stream
from worldsim.training.config import choose_precision
from worldsim.training.loss import WorldModelLoss
from worldsim.training.train_config import TrainConfig, train_config

REPEATS = 5
MATRIX = 2048
SIZE = 64


@dataclass(frozen=True)
class Speed:
    """Seconds of the fastest of some repeats, and what was computed in them."""

    seconds: float
    flops: int

    @property
    def rate(self) -> float:
        """Floating-point operations a second."""
        return self.flops / self.seconds


def main() -> None:
    """Measure and print."""
    composed = compose_config("train", ["dataset=none", "out=none", *sys.argv[1:]])
    config = train_config(composed)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    bf16 = choose_precision(config.run.precision) == "bf16-mixed"
    peak = measure(lambda: multiply(bf16)).rate
    model = WorldModel(config.model, bench_spec())
    model.tokenizer.requires_grad_(False)
    batch = random_batch(config, model)
    step = training_step(config, model, batch, bf16)
    whole = measure(step)
    tokens = batch["latents"].shape[0] * config.plan.length * model.views * 64
    profile(step)
    block = measure(block_step(composed, config, bf16))
    print(f"matrix products: {peak / 1e9:.0f} GFLOP/s in {'bf16' if bf16 else 'fp32'}")
    print(f"training step: {whole.seconds * 1e3:.0f} ms, {whole.rate / 1e9:.0f} GFLOP/s")
    print(f"transformer block: {block.rate / 1e9:.0f} GFLOP/s, {block.rate / peak:.0%} of products")
    row = {
        "name": "train",
        "value": round(tokens / whole.seconds),
        "unit": "latent tokens/s",
        "ratio": round(whole.rate / peak, 3),
        "against": "matrix-product rate of this processor in the same run",
        "block_ratio": round(block.rate / peak, 3),
        "step_ms": round(whole.seconds * 1e3, 1),
        "matmul_gflops": round(peak / 1e9),
        "threads": torch.get_num_threads(),
        "backbone": config.model.denoiser.name,
    }
    print(json.dumps(row))


def measure(work: Callable[[], object]) -> Speed:
    """The fastest of some calls, after one that counts its operations and warms up."""
    with FlopCounterMode(display=False) as counter:
        work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return Speed(min(times), counter.get_total_flops())


def multiply(bf16: bool) -> Tensor:
    """One square matrix product."""
    matrix = torch.ones(MATRIX, MATRIX, dtype=torch.bfloat16 if bf16 else torch.float32)
    return matrix @ matrix


def bench_spec() -> WorldSpec:
    """Three views of 64 pixels, the tabletop's actions and vectors."""
    return WorldSpec(
        fps=10,
        cameras=tuple(CameraSpec(n, SIZE, SIZE) for n in ("exterior_1", "exterior_2", "wrist")),
        action=ActionSpec(
            names=("dx", "dy", "dz", "dyaw", "grip"),
            low=(-1.0,) * 5,
            high=(1.0,) * 5,
            units=("m", "m", "m", "rad", "1"),
            scale=(0.05, 0.05, 0.05, 0.2, 1.0),
            mode="delta",
            frame="world",
        ),
        agent_pos=VectorSpec(
            EE_POSITION + EE_ROTATION_6D + ("gripper_width",), ("m",) * 3 + ("1",) * 6 + ("m",)
        ),
        state=VectorSpec(("object_x", "object_y", "object_z"), ("m",) * 3),
    )


def random_batch(config: TrainConfig, model: WorldModel) -> Batch:
    """Clips of random latents, actions and hands in front of fixed cameras."""
    rows, frames, views = config.world_fit.batch_size, config.plan.length, model.views
    generator = stream(0, "bench")

    def noise(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator)

    hand = 0.1 * noise(frames, 10)
    hand[..., 3:9] = torch.tensor([1.0, 0, 0, 0, 1, 0])
    camera = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    camera[2, 3] = 0.6
    intrinsics = torch.tensor([[64.0, 0, 32], [0, 64, 32], [0, 0, 1]])
    return {
        "latents": noise(frames, views, *model.latent_shape),
        "view_mask": torch.ones(rows, frames, views),
        "frame_mask": torch.ones(rows, frames),
        "action": noise(frames, 5).clamp(-1, 1),
        "action_mask": torch.ones(rows, frames),
        "agent_pos": hand,
        "state": noise(frames, 3),
        "success": torch.zeros(rows, frames),
        "progress": torch.zeros(rows, frames),
        "intrinsics": intrinsics.expand(rows, views, 3, 3),
        "extrinsics": camera.expand(rows, views, 4, 4),
        "mounted": torch.zeros(rows, views, dtype=torch.bool),
        "micro_step": 0,
    }


def training_step(
    config: TrainConfig, model: WorldModel, batch: Batch, bf16: bool
) -> Callable[[], None]:
    """One step of diffusion forcing: conditions, loss, gradients, clipping, AdamW."""
    plan = WorldModelLoss(model, config.plan, 1.0)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.world_fit.lr, foreach=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = plan(batch, 0.0, stream(0, "step")).total
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, config.world_fit.clip)
        optimizer.step()

    return step


def block_step(composed: DictConfig, config: TrainConfig, bf16: bool) -> Callable[[], None]:
    """Forward and backward of the transformer blocks of a DiT alone."""
    if config.model.denoiser.name != "dit":
        composed = compose_config("train", ["dataset=none", "out=none", "model=tiny_dit"])
        config = train_config(composed)
    denoiser = WorldModel(config.model, bench_spec()).denoiser
    assert isinstance(denoiser, DiT)
    rows, frames, views = config.world_fit.batch_size, config.plan.length, denoiser.shape.views
    tokens = denoiser.context_shape.tokens
    generator = stream(0, "block")
    size = (rows, frames, views, tokens // views, config.model.denoiser.width)
    x = torch.randn(size, generator=generator)
    cond = torch.randn(rows, frames, views, config.model.denoiser.cond_width, generator=generator)
    places = torch.arange(frames).expand(rows, -1)
    order = FrameOrder.of(places, config.model.denoiser.head_dim)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = x.requires_grad_(True)
            for block in denoiser.blocks:
                out = block(out, cond, order, None, 0)
        out.float().square().mean().backward()  # type: ignore[no-untyped-call]

    return step


def profile(step: Callable[[], None]) -> None:
    """Print the five operators that take most time by themselves."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        step()
    rows = sorted(recorded.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    for row in rows[:5]:
        print(f"{row.self_cpu_time_total / total:6.1%}  {row.count:6d} calls  {row.key}")


if __name__ == "__main__":
    main()
