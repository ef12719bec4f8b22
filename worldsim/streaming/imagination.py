"""Roll a world model forward, one action at a time, for a batch of independent envs.

A `step` first moves the body (hand and, where the model tracks it, scene) by the model's dynamics,
then imagines how that looks. It costs `sampling_steps` calls of the denoiser: the first call also
commits the previous frame's keys and values, as the leading frame of a two-frame forward.

Legend: N envs, V views, H W pixels, c latent channels, h w latent size, A action, P proprioception,
S state, D body.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.flow import as_history, step_down
from worldsim.diffusion.ladder import sampling_ladder
from worldsim.errors import UsageError
from worldsim.models.conditioning import Conditioning
from worldsim.models.world_model import WorldModel
from worldsim.streaming.context import new_context
from worldsim.streaming.noise import env_noise
from worldsim.streaming.precision import Precision, for_inference
from worldsim.streaming.streams import Streams, replace_rows, take_rows


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
        self.model = for_inference(model, precision)
        self.spec = model.spec
        self.ladder = sampling_ladder(sampling_steps)
        self.sampling_steps = sampling_steps
        self._streams: Streams | None = None

    @property
    def num_envs(self) -> int:
        """N."""
        return len(self._running.keys)

    @property
    def _running(self) -> Streams:
        if self._streams is None:
            raise UsageError("imagination was stepped before reset; call reset(...) first")
        return self._streams

    @torch.inference_mode()
    def reset(
        self,
        pixels: np.ndarray | Tensor,
        agent_pos: np.ndarray | Tensor,
        rig: Mapping[str, np.ndarray | Tensor] | None = None,
        env_ids: Sequence[int] | None = None,
        seed: int = 0,
        rows: Sequence[int] | None = None,
        state: np.ndarray | Tensor | None = None,
    ) -> ImaginedFrame:
        """Start streams from given first frames.

        Args:
            pixels: uint8 `[N, V, H, W, 3]`.
            agent_pos: `[N, P]`.
            rig: `intrinsics [N,V,3,3]`, `extrinsics [N,V,4,4]`, `mounted [N,V]`; None if unknown.
            env_ids: names of the streams for their noise; default 0..N-1.
            seed: noise seed.
            rows: restart only these rows of the running batch (N = len(rows)), leave the others.
            state: `[N, S]` of the first frames, NaN where unknown; what is unknown is read off the
                frames, to about a centimetre.

        Raises:
            UsageError: shapes do not fit the model's spec.
        """
        fresh = self._start(pixels, agent_pos, rig, env_ids, seed, state)
        if rows is None:
            self._streams = fresh
        else:
            self._streams = replace_rows(self._running, fresh, list(rows))
        return self._frame()

    def _start(
        self,
        pixels: np.ndarray | Tensor,
        agent_pos: np.ndarray | Tensor,
        rig: Mapping[str, np.ndarray | Tensor] | None,
        env_ids: Sequence[int] | None,
        seed: int,
        state: np.ndarray | Tensor | None,
    ) -> Streams:
        frames, hand = self._check_start(pixels, agent_pos)
        count = len(frames)
        ids = list(range(count)) if env_ids is None else [int(i) for i in env_ids]
        batch = {"agent_pos": hand[:, None]}
        batch |= {name: torch.as_tensor(value) for name, value in (rig or {}).items()}
        calibration = self.model.rig(batch)
        view_mask = torch.ones(count, 1, self.model.views)
        latents = self.model.encode(frames)
        scene = self._known_state(latents, view_mask, state)
        body = self.model.dynamics.join(hand, scene)
        none = torch.zeros(count, 1, self.spec.action.dim)
        first = body[:, None]
        cond = self.model.condition_frames(
            none, torch.zeros(count, 1), first, first, view_mask, calibration
        )
        return Streams(
            context=new_context(
                count,
                self.model.denoiser.context_shape,
                (self.model.views, *self.model.latent_shape),
                sink=self.model.config.sink,
                recent=self.model.config.recent,
                dtype=next(self.model.denoiser.parameters()).dtype,
            ),
            pending=latents[:, None],
            pending_cond=cond,
            body=body,
            body_before=body,
            rig=calibration,
            view_mask=view_mask,
            keys=[(seed, i) for i in ids],
            steps=np.zeros(count, dtype=np.int64),
        )

    def _check_start(
        self, pixels: np.ndarray | Tensor, agent_pos: np.ndarray | Tensor
    ) -> tuple[Tensor, Tensor]:
        frames = torch.as_tensor(pixels)
        camera = self.spec.cameras[0]
        expected = (self.model.views, camera.height, camera.width, 3)
        if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
            raise UsageError(
                f"first frames have shape {tuple(frames.shape)}, expected [N, "
                f"{', '.join(map(str, expected))}] for cameras {self.spec.camera_names}"
            )
        hand = torch.as_tensor(agent_pos, dtype=torch.float32)
        wanted = (len(frames), self.spec.agent_pos.dim)
        if tuple(hand.shape) != wanted:
            raise UsageError(
                f"agent_pos has shape {tuple(hand.shape)}, expected [{wanted[0]}, {wanted[1]}]"
            )
        return frames, hand

    def _known_state(
        self, latents: Tensor, view_mask: Tensor, state: np.ndarray | Tensor | None
    ) -> Tensor:
        """`[N, S]`: the given entries, the others as read off the frames."""
        shape = (len(latents), self.spec.state.dim)
        given = torch.full(shape, torch.nan) if state is None else torch.as_tensor(state).float()
        if tuple(given.shape) != shape:
            raise UsageError(
                f"state has shape {tuple(given.shape)}, expected {list(shape)} "
                f"({', '.join(self.spec.state.names)})"
            )
        if not given.isnan().any():
            return given
        read = self.model.read_state(latents[:, None], view_mask).state[:, 0]
        return torch.where(given.isnan(), read, given)

    @torch.inference_mode()
    def step(self, actions: np.ndarray | Tensor) -> ImaginedFrame:
        """Advance every env by one frame.

        Args:
            actions: `[N, A]`, normalised as the spec says; clipped to its limits.

        Raises:
            UsageError: wrong shape, or NaN.
        """
        streams = self._running
        checked = self.spec.action.check(np.asarray(actions), "imagination")
        if checked.shape != (self.num_envs, self.spec.action.dim):
            raise UsageError(
                f"actions have shape {checked.shape}, expected "
                f"[{self.num_envs}, {self.spec.action.dim}]"
            )
        action, told = torch.from_numpy(checked), torch.ones(self.num_envs)
        body = self.model.dynamics(streams.body_before, streams.body, action, told)
        cond = self.model.condition_frames(
            action[:, None],
            told[:, None],
            streams.body[:, None],
            body[:, None],
            streams.view_mask,
            streams.rig,
        )
        streams.steps += 1
        latents = self._sample(streams, cond)
        streams.pending, streams.pending_cond = latents, cond
        streams.body_before, streams.body = streams.body, body
        return self._frame()

    def _sample(self, streams: Streams, cond: Conditioning) -> Tensor:
        """Denoise one new frame `[N, 1, V, c, h, w]`, committing the pending one on the way."""
        keys = [(*key, int(step)) for key, step in zip(streams.keys, streams.steps, strict=True)]
        x = env_noise(keys, streams.pending.shape[1:])
        level = self.model.config.history_sigma
        history = as_history(streams.pending, level)
        old = torch.full((len(keys), 1), level)
        x0 = x
        for index in range(self.sampling_steps):
            sigma = self.ladder[index].expand(len(keys), 1)
            if index == 0:
                x0 = self._first_pass(streams, history, old, x, sigma, cond)
            else:
                position = streams.context.count[:, None]
                x0 = self.model.denoiser(x, sigma, cond, position, streams.context)
            x = step_down(x, x0, sigma, self.ladder[index + 1].expand_as(sigma))
        return x0

    def _first_pass(
        self,
        streams: Streams,
        history: Tensor,
        old: Tensor,
        x: Tensor,
        sigma: Tensor,
        cond: Conditioning,
    ) -> Tensor:
        context = streams.context
        positions = context.count[:, None] + torch.arange(2)
        both: Tensor = self.model.denoiser(
            torch.cat([history, x], dim=1),
            torch.cat([old, sigma], dim=1),
            streams.pending_cond.then(cond),
            positions,
            context,
            write=1,
        )
        context.commit(history, old)
        return both[:, 1:]

    def _frame(self) -> ImaginedFrame:
        running = self._running
        latents = running.pending[:, 0]
        agent_pos, state = self.model.dynamics.parts(running.body)
        if state.shape[-1] < self.spec.state.dim:
            state = self.model.read_state(latents[:, None], running.view_mask).state[:, 0]
        return ImaginedFrame(latents, agent_pos, state)

    @torch.inference_mode()
    def pixels(self) -> np.ndarray:
        """The newest frames, uint8 `[N, V, H, W, 3]`."""
        return np.asarray(self.model.decode(self._running.pending[:, 0]).numpy())

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order; the others cost nothing from now on."""
        self._streams = take_rows(self._running, list(rows))

    def fork(self) -> "Imagination":
        """An independent continuation that shares the weights."""
        twin = copy.copy(self)
        twin._streams = take_rows(self._running, list(range(self.num_envs)))
        return twin
