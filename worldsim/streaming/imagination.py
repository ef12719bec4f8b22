"""Imagination as envs need it: one action in, one frame out, for a batch of independent envs.

It is a `Stream` of single frames under the autoregressive schedule: `sampling_steps` calls of the
denoiser a frame, of which the first also commits the previous frame.

Legend: N envs, V views, H W pixels, c latent channels, h w latent size, A action, P proprioception,
S state.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.ladder import sampling_ladder
from worldsim.diffusion.schedule import autoregressive
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.streaming.precision import Precision
from worldsim.streaming.start import Array
from worldsim.streaming.stream import Stream


@dataclass(frozen=True, eq=False)
class ImaginedFrame:
    """The newest frame of every env.

    Attributes:
        latents: `[N, V, c, h, w]`.
        agent_pos: `[N, P]` where the dynamics put the hand, physical units.
        state: `[N, S]` where they put the scene; as read off the frame if it is not tracked.
    """

    latents: Tensor
    agent_pos: Tensor
    state: Tensor


class Imagination:
    """A batch of imagined rollouts of one world model.

    Args:
        model: the world model; it is copied, never changed.
        sampling_steps: denoising steps a frame, 1 to 8 being useful.
        precision: of denoiser and tokenizer; "auto" takes bfloat16 where it is fast.

    Raises:
        UsageError: sampling_steps below 1.
    """

    def __init__(
        self, model: WorldModel, sampling_steps: int = 2, precision: Precision = "auto"
    ) -> None:
        ladder = tuple(sampling_ladder(sampling_steps).tolist())
        self.stream = Stream(model, autoregressive(ladder), precision=precision)
        self.model, self.spec = self.stream.model, model.spec
        self.sampling_steps = sampling_steps

    @property
    def num_envs(self) -> int:
        """N."""
        return self.stream.num_envs

    def reset(
        self,
        pixels: Array,
        agent_pos: Array,
        rig: Mapping[str, Array] | None = None,
        env_ids: Sequence[int] | None = None,
        seed: int = 0,
        rows: Sequence[int] | None = None,
        state: Array | None = None,
    ) -> ImaginedFrame:
        """Start rollouts from given first frames; arguments as `Stream.reset`.

        Raises:
            UsageError: shapes do not fit the model's spec.
        """
        self.stream.reset(pixels, agent_pos, rig, env_ids, seed, rows, state)
        return self._newest()

    def step(self, actions: Array) -> ImaginedFrame:
        """Advance every env by one frame.

        Args:
            actions: `[N, A]`, normalised as the spec says; clipped to its limits.

        Raises:
            UsageError: wrong shape, or NaN.
        """
        array = np.asarray(actions)
        if array.shape != (self.num_envs, self.spec.action.dim):
            raise UsageError(
                f"actions have shape {array.shape}, expected "
                f"[{self.num_envs}, {self.spec.action.dim}]"
            )
        self.stream.push(array[:, None])
        (chunk,) = self.stream.drain()
        return ImaginedFrame(chunk.latents[:, 0], chunk.agent_pos[:, 0], chunk.state[:, 0])

    @torch.inference_mode()
    def _newest(self) -> ImaginedFrame:
        stream = self.stream
        agent_pos, state = self.model.dynamics.parts(stream.body)
        if state.shape[-1] < self.spec.state.dim:
            state = self.model.read_state(stream.newest[:, None], stream.view_mask).state[:, 0]
        return ImaginedFrame(stream.newest, agent_pos, state)

    def pixels(self) -> np.ndarray:
        """The newest frames, uint8 `[N, V, H, W, 3]`."""
        return self.stream.pixels()

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; the others cost nothing from now on."""
        self.stream.select(rows)

    def fork(self) -> Self:
        """An independent continuation that shares the weights."""
        twin = copy.copy(self)
        twin.stream = self.stream.fork()
        return twin
