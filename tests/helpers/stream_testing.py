"""Streams of the nano model, and a second way to compute them: everything kept, nothing cached."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from worldsim_testing import nano_model, nano_start

from worldsim.diffusion.flow import add_noise, as_history, env_noise, step_down
from worldsim.diffusion.schedule import Schedule, autoregressive, full_sequence, rolling
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.sampling.stream import Stream
from worldsim.sampling.stream_rows import Chunk

RIG = ("intrinsics", "extrinsics", "mounted")


TWO, FOUR = (1.0, 0.5, 0.0), (1.0, 0.8, 0.5, 0.2, 0.0)
SCHEDULES = {
    "autoregressive": autoregressive(TWO),
    "rolling": rolling(FOUR),
    "rolling_chunks": rolling(TWO, chunk=2, bidirectional=True),
    "full_sequence": full_sequence(TWO, 1, window=2),
}


def make_stream(schedule: Schedule) -> Stream:
    return Stream(nano_model(), schedule, precision="float32")


def steps(stream: Stream, count: int) -> list[Chunk]:
    return [chunk for chunk in (stream.step() for _ in range(count)) if chunk is not None]


def begin(stream: Stream, ids: list[int], seed: int = 0, rows: list[int] | None = None) -> None:
    start = nano_start(max(ids) + 1)
    stream.reset(
        start["pixels"][ids],
        start["agent_pos"][ids],
        {name: start[name][ids] for name in RIG},
        env_ids=ids,
        seed=seed,
        rows=rows,
        state=np.zeros((len(ids), stream.spec.state.dim), np.float32),
    )


def random_actions(count: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, frames, 5)).astype(np.float32)


def frames_of(chunks: list[Chunk]) -> Tensor:
    """`[N, K, V, c, h, w]` of chunks in which all rows finished equally many frames."""
    for chunk in chunks:
        assert (chunk.frames == chunk.latents.shape[1]).all()
    return torch.cat([chunk.latents for chunk in chunks], dim=1)


def run(stream: Stream, actions: np.ndarray, ids: list[int] | None = None, seed: int = 0) -> Tensor:
    begin(stream, list(range(len(actions))) if ids is None else ids, seed)
    stream.push(actions)
    return frames_of(stream.drain())


PREDECESSORS = nano_model().config.denoiser.history


@dataclass(eq=False)
class KeptContext:
    """`KeyValueContext` that keeps every frame for ever and picks what a ring would hold."""

    model: WorldModel
    keys: dict[int, list[Tensor]] = field(default_factory=dict)
    values: dict[int, list[Tensor]] = field(default_factory=dict)
    latents: list[Tensor] = field(default_factory=list)

    def _held(self) -> list[int]:
        sink, recent, count = self.model.config.sink, self.model.config.recent, len(self.latents)
        return [i for i in range(count) if i < sink or i >= count - recent]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        shape, held = self.model.denoiser.context_shape, self._held()
        if not held:
            none = torch.zeros(1, 0, shape.tokens, shape.heads, shape.head_dim)
            return none, none
        keys, values = self.keys[layer], self.values[layer]
        return torch.stack([keys[i] for i in held], 1), torch.stack([values[i] for i in held], 1)

    def ages(self) -> Tensor:
        # Successive, whatever was forgotten between sink and recent frames.
        return torch.arange(len(self._held()), 0, -1)[None]

    def valid(self) -> Tensor:
        return torch.ones(1, len(self._held()), dtype=torch.bool)

    @property
    def full(self) -> bool:
        return True

    def predecessors(self) -> tuple[Tensor, Tensor]:
        mark = self.model.config.history_sigma
        shape = (1, self.model.views, *self.model.latent_shape)
        lacking = max(PREDECESSORS - len(self.latents), 0)
        frames = [torch.zeros(shape)] * lacking + self.latents[-PREDECESSORS:]
        levels = torch.full((1, PREDECESSORS), mark)
        levels[:, :lacking] = 1.0
        return torch.stack(frames[-PREDECESSORS:], 1), levels

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self.keys.setdefault(layer, []).extend(keys.unbind(1))
        self.values.setdefault(layer, []).extend(values.unbind(1))


@dataclass(eq=False)
class Oracle:
    """One stream of one env, computed from the schedule's own rows.

    Without `kept`, every pass is one forward over all frames so far; with it, a pass reads what
    earlier ones left there.
    """

    model: WorldModel
    schedule: Schedule
    actions: np.ndarray
    env: int = 0
    solver: str = "ode"
    kept: KeptContext | None = None

    @torch.inference_mode()
    def frames(self) -> Tensor:
        """`[K, V, c, h, w]`."""
        schedule, repeat = self.schedule, self.schedule.chunk
        first, cond = self._conditions()
        done: list[Tensor] = [first]
        flying: dict[int, Tensor] = {}
        for row in schedule.rows(len(self.actions) // repeat):
            numbers = [c * repeat + k + 1 for c in row.chunks for k in range(repeat)]
            sigma = torch.tensor(row.sigma).repeat_interleave(repeat)[None]
            below = torch.tensor(row.sigma_next).repeat_interleave(repeat)[None]
            for number in numbers:
                if number not in flying:
                    flying[number] = env_noise([(0, self.env, number)], first.shape)[0]
            x = torch.stack([flying[number] for number in numbers])[None]
            x0 = self._estimate(x, sigma, cond, done)
            if self.solver == "ode":
                lower = step_down(x, x0, sigma, below)
            else:
                rungs = [schedule.sigmas.index(s) for s in row.sigma for _ in range(repeat)]
                keys = [(0, self.env, n, r + 1) for n, r in zip(numbers, rungs, strict=True)]
                lower = add_noise(x0, env_noise(keys, first.shape)[None], below)
            flying |= {number: lower[0, place] for place, number in enumerate(numbers)}
            done += list(x0[0, : len(row.emit) * repeat])
        return torch.stack(done[1:])

    def _conditions(self) -> tuple[Tensor, Conditioning]:
        model, frames = self.model, len(self.actions)
        start = {n: torch.as_tensor(v)[self.env :] for n, v in nano_start(self.env + 1).items()}
        rig = model.rig({**start, "agent_pos": start["agent_pos"][:, None]})
        body = model.dynamics.join(start["agent_pos"], torch.zeros(1, model.spec.state.dim))
        states, action = [body, body], torch.from_numpy(self.actions)
        for step in action:
            states.append(model.dynamics.step(states[-2], states[-1], step[None], torch.ones(1)))
        told = torch.ones(1, frames + 1)
        told[:, 0] = 0.0
        steps = FrameSteps(
            torch.cat([torch.zeros(1, 5), action])[None],
            told,
            torch.cat([body, *states[1:-1]])[None],
            torch.cat([body, *states[2:]])[None],
            torch.ones(1, frames + 1, model.views),
            rig,
        )
        return model.encode(start["pixels"])[0], model.condition_frames(steps)

    def _estimate(self, x: Tensor, sigma: Tensor, cond: Conditioning, done: list[Tensor]) -> Tensor:
        mark, past = self.model.config.history_sigma, len(done)
        known = 0 if self.kept is None else len(self.kept.latents)
        new = past - known
        order = torch.arange(new + x.shape[1])[None]
        shown = [as_history(frame, mark)[None] for frame in done[known:]]
        history = torch.stack(shown, 1) if shown else x[:, :0]
        out: Tensor = self.model.denoiser(
            torch.cat([history, x], 1),
            torch.cat([torch.full((1, new), mark), sigma], 1),
            cond.frames(known, past + x.shape[1]),
            order,
            self.kept,
            write=0 if self.kept is None else new,
            blocks=(*(1,) * new, x.shape[1]) if self.schedule.bidirectional else None,
        )
        if self.kept is not None:
            self.kept.latents += shown
        return out[:, new:]
