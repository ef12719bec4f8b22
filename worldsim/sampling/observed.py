"""Frames that a stream is shown in its middle: `observe` as a robot that looks up, `amend` as a
game that corrects what was imagined.

What is seen takes the place of what a pass would have finished. It leads the next frame, the
context commits it, and the memory takes it in. An amended frame has been taken in as it was.

Legend: N envs, V views, H W pixels, A action, D world state, c h w latent.
"""

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.flow import as_history
from worldsim.errors import UsageError
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.rows import put_rows, take_rows
from worldsim.sampling.chunk_sampler import ChunkSampler, SamplerState
from worldsim.sampling.stream import Stream
from worldsim.sampling.stream_rows import Array, next_conditions, take_finished


@torch.inference_mode()
def observe(
    stream: Stream,
    actions: Array,
    pixels: Array,
    world_states: Array | None = None,
    depth: Array | None = None,
) -> None:
    """One action for every env, and the frame that it truly led to.

    Args:
        stream: it goes on from that frame.
        actions: `[N, A]`, as `Stream.act` takes them.
        pixels: uint8 `[N, V, H, W, 3]`.
        world_states: `[N, D]`, see `Stream.push`.
        depth: `[N, V, H, W]` metres; shown only to a memory that reads the simulator's.

    Raises:
        UsageError: shapes do not fit, frames are under way, or chunks are longer than one frame.
    """
    if stream.schedule.chunk != 1 or stream.waiting.any():
        raise UsageError(
            "a frame can be observed between single frames that are finished; take a schedule of "
            "chunk=1, and drain() first"
        )
    running, model = stream._running, stream.model
    frames = torch.as_tensor(pixels, device=model.device)
    camera = stream.spec.cameras[0]
    expected = (stream.num_envs, model.views, camera.height, camera.width, 3)
    if tuple(frames.shape) != expected:
        raise UsageError(
            f"observed frames have shape {list(frames.shape)}, expected {list(expected)}"
        )
    states = None if world_states is None else np.asarray(world_states)[:, None]
    stream.push(np.asarray(actions)[:, None], world_states=states)
    cond = next_conditions(model, running).frames(0, 1)
    state = running.pushed.current
    latents = model.encode(frames, state) * running.view_mask[:, 0, :, None, None, None]
    _commit(stream._sampler, running.sampling, latents[:, None], cond)
    told = None if depth is None else torch.as_tensor(depth, device=model.device)
    told = model.turned_depth(told, state)
    told = None if told is None else told[:, None]
    take_finished(model, running, latents[:, None], np.ones(len(latents), np.int64), told)
    stream._cond = None


@torch.inference_mode()
def amend(stream: Stream, pixels: Array) -> None:
    """Have the newest frames, already finished, be others: those that follow are led by these.

    Args:
        stream: with nothing under way; its context has not taken the newest frames in yet.
        pixels: uint8 `[N, V, H, W, 3]`.

    Raises:
        UsageError: the shape does not fit, or actions wait for their frames.
    """
    running, model = stream._running, stream.model
    if stream.waiting.any():
        raise UsageError("actions wait for their frames; drain() before frames are amended")
    frames, newest = torch.as_tensor(pixels, device=model.device), running.sampling.recent
    camera = stream.spec.cameras[0]
    expected = (stream.num_envs, model.views, camera.height, camera.width, 3)
    if tuple(frames.shape) != expected:
        raise UsageError(
            f"amended frames have shape {list(frames.shape)}, expected {list(expected)}"
        )
    state = running.shown.current
    latents = model.encode(frames, state) * running.view_mask[:, 0, :, None, None, None]
    running.sampling.recent = torch.cat([newest[:, :-1], latents[:, None].to(newest)], dim=1)


def _commit(
    sampler: ChunkSampler, state: SamplerState, latents: Tensor, cond: Conditioning
) -> None:
    """Put frames `[N, 1, V, c, h, w]` where a pass would have left them, `state` in place."""
    state.restart(np.ones(state.count, dtype=bool))
    for uncommitted in np.unique(state.uncommitted):
        rows = np.flatnonzero(state.uncommitted == uncommitted).tolist()
        whole = len(rows) == state.count
        part = state if whole else take_rows(state, rows)
        seen, told = latents[rows], cond if whole else take_rows(cond, rows)
        level = seen.new_full(seen.shape[:2], sampler.history_sigma)
        # The denoiser reads what was finished before, as in any pass; its estimate is not needed.
        sampler._estimate(part, as_history(seen, sampler.history_sigma), level, level, told)
        sampler._finish(part, seen, told)
        part.begun[:] = part.done
        if not whole:
            put_rows(state, rows, part)
