"""How a model is sampled, as a config says it: schedule, solver, precision, acceleration.

A compiled pass is a pure function of tensors: the context goes in as its keys, values and counts,
and what the pass would write comes out and is written afterwards, so that neither compiler nor
graph has to know of a ring that changes in place.

Legend: L attention layers, B rows, W slots, T frames, N tokens, H heads, D head channels.
"""

import copy
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from worldsim.config.limits import Count, Positive, Steps
from worldsim.config.values import Checked
from worldsim.diffusion.flow import sampling_sigmas
from worldsim.diffusion.schedule import Schedule
from worldsim.errors import UsageError
from worldsim.hardware import has_fast_bf16
from worldsim.models.blocks import channels_last
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.context import Context

Kind = Literal["autoregressive", "rolling", "full_sequence"]
Solver = Literal["ode", "renoise"]
"""How a chunk goes down a level: by an Euler step of the probability flow, or by its clean estimate
under fresh noise (the sampler of consistency models and of Rolling Forcing)."""
Precision = Literal["auto", "float32", "bfloat16"]
Acceleration = Literal["none", "compile", "cuda_graphs"]
"""`compile` fuses what lies between products (torch.compile; minutes at first, for every shape);
`cuda_graphs` also replays a pass as one launch, on a GPU."""
MODES: dict[str, dict[str, Any]] = {
    "compile": {"dynamic": False, "fullgraph": True},
    "cuda_graphs": {"dynamic": False, "fullgraph": True, "mode": "reduce-overhead"},
}
"""Whole passes or an error: a pass that quietly runs as written would be measured as compiled."""
MOST_SHAPES = 64
"""Shapes of passes, of all streams of a process, that are compiled; torch's own limit is less than
one rolling schedule has while it ramps up."""


@dataclass(frozen=True)
class Sampler(Checked):
    """Attributes:
    kind: autoregressive, rolling or full_sequence; see `worldsim.diffusion.schedule`.
    steps: denoising steps of a chunk.
    chunk: frames that are denoised together.
    shift: moves the noise levels toward noise; 1 leaves them even.
    window: chunks of a full sequence.
    solver: ode, or renoise; see `Solver`.
    bidirectional: whether frames in flight also see the later ones among them.
    acceleration: none, compile or cuda_graphs; see `worldsim.sampling.sampler`.
    """

    kind: Kind = "autoregressive"
    steps: Steps = 2
    chunk: Count = 1
    shift: Positive = 1.0
    window: Count = 4
    solver: Solver = "ode"
    bidirectional: bool = False
    acceleration: Acceleration = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule()

    def schedule(self) -> Schedule:
        """The staircase of this sampler.

        Raises:
            UsageError: it is impossible.
        """
        sigmas = tuple(sampling_sigmas(self.steps, self.shift).tolist())
        slope, window = {
            "autoregressive": (self.steps, 1),
            "rolling": (1, self.steps),
            "full_sequence": (0, self.window),
        }[self.kind]
        return Schedule(sigmas, self.chunk, slope, window, self.bidirectional)

    @staticmethod
    def of(model: WorldModel, steps: int, acceleration: Acceleration = "none") -> "Sampler":
        """Frame by frame, by the noise levels and the solver that `model` was trained for."""
        ladder = model.config.ladder
        return Sampler(
            steps=steps,
            shift=ladder.shift if ladder.rungs else 1.0,
            solver="renoise" if ladder.jumps_to_end else "ode",
            acceleration=acceleration,
        )

    @staticmethod
    def default(model: WorldModel) -> "Sampler":
        """`Sampler.of` with the model's own number of steps, see `default_steps`."""
        return Sampler.of(model, default_steps(model.config))


def default_steps(config: WorldModelConfig) -> int:
    """Denoising steps a frame where nobody asks for another number: two, or fewer of its ladder.

    One for a denoiser that is not shown pure noise: its first estimate is the mean already.
    """
    return config.ladder.nearest(2 if config.denoiser.pure_noise else 1)


def check_schedule(model: WorldModel, schedule: Schedule, solver: Solver) -> None:
    """Refuse schedules that a model cannot run; warn of steps that it was not made for.

    Raises:
        UsageError: its context cannot take in what a pass finishes, or it was distilled to other
            levels.
    """
    written = schedule.most_emitted * schedule.chunk
    if written > model.config.recent:
        raise UsageError(
            f"a pass finishes {written} frames and the model's context holds "
            f"{model.config.recent} recent ones; use smaller chunks or windows"
        )
    model.config.ladder.check(schedule, solver)
    if model.quality is not None:
        model.quality.warn_if_short(schedule.steps)


def for_inference(
    model: WorldModel, precision: Precision, acceleration: Acceleration = "none"
) -> WorldModel:
    """A frozen copy with denoiser and tokenizer in the asked precision; heads stay float32.

    Its convolutions keep their weights channels-last, as images come: a CPU would reorder them at
    every call, which takes longer than the product where images are few.
    """
    fast = precision == "bfloat16" or (
        precision == "auto" and has_fast_bf16(next(model.parameters()).device)
    )
    model = copy.deepcopy(model).eval().requires_grad_(False)
    if fast:
        model.denoiser.to(torch.bfloat16)
        model.tokenizer.to(torch.bfloat16)
    for part in (model.denoiser, model.tokenizer):
        channels_last(part)
    accelerate(model, acceleration)
    return model


def check_acceleration(name: str, device: torch.device) -> None:
    """Refuse a switch that does not exist or does not fit the device.

    Raises:
        UsageError: see above.
    """
    if name not in get_args(Acceleration):
        raise UsageError(f"acceleration is {name!r}; expected one of {get_args(Acceleration)}")
    compiler = os.environ.get("CXX", "g++")
    if name != "none" and shutil.which(compiler) is None:
        raise UsageError(
            f"acceleration={name} needs a C++ compiler and there is no {compiler}; install g++, "
            "or take none"
        )
    if name == "cuda_graphs" and device.type != "cuda":
        raise UsageError(
            f"acceleration=cuda_graphs needs a GPU and the model is on {device}; take compile"
        )


@dataclass(eq=False)
class _Deferred(Context):
    """A context whose writes are put by instead of made."""

    def __post_init__(self) -> None:
        self.written: dict[int, tuple[Tensor, Tensor]] = {}

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put by what `layer` would store, `[B, n, N, H, D]`."""
        self.written[layer] = keys, values


Pure = Callable[..., tuple[Tensor, list[Tensor], list[Tensor]]]


def _pure(eager: Callable[..., Tensor]) -> Pure:
    """A denoiser's forward as a function of tensors: estimate, new keys and new values by layer."""

    def run(
        tensors: dict[str, Tensor],
        cond: dict[str, Any],
        memory: dict[str, Tensor],
        sink: int,
        least: int,
        **fixed: Any,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        context = _Deferred(**memory, sink=sink, least=least)
        out = eager(cond=Conditioning(**cond), context=context, **fixed, **tensors)
        layers = sorted(context.written)
        keys = [context.written[layer][0] for layer in layers]
        return out, keys, [context.written[layer][1] for layer in layers]

    return run


def accelerate(model: WorldModel, name: Acceleration) -> None:
    """Make denoiser and decoder of `model`, in place, run by `name`.

    Raises:
        UsageError: see `check_acceleration`.
    """
    check_acceleration(name, model.device)
    if name == "none":
        return
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_SHAPES)
    decoder = model.tokenizer.decoder
    decoder.forward = torch.compile(decoder.forward, **MODES[name])
    denoiser = model.denoiser
    eager = denoiser.forward
    compiled = torch.compile(_pure(eager), **MODES[name])

    def forward(
        x: Tensor,
        sigma: Tensor,
        cond: Conditioning,
        positions: Tensor | None = None,
        context: Context | None = None,
        write: int = 0,
        blocks: Sequence[int] | None = None,
        **others: Tensor | None,
    ) -> Tensor:
        if context is None:
            return eager(x, sigma, cond, positions, context, write, blocks, **others)
        tensors = {"x": x, "sigma": sigma, "positions": positions, **others}
        if name == "cuda_graphs":
            # Else every replay would copy the whole ring to where it was when captured.
            for ring in (context.keys, context.values):
                torch._dynamo.mark_static_address(ring)
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        out, keys, values = compiled(
            {key: value for key, value in tensors.items() if value is not None},
            dict(vars(cond)),
            context.tensors(),
            # Every value of these is compiled apart, so nothing that goes on counting.
            sink=context.sink,
            least=context.slots if context.full else 0,
            write=write,
            blocks=blocks,
        )
        for layer, (new_keys, new_values) in enumerate(zip(keys, values, strict=True)):
            context.write(layer, new_keys, new_values)
        return out

    denoiser.forward = forward  # type: ignore[method-assign,assignment]
