"""Dynamics stage: fit a model's dynamics to recorded states by rolling them out along these.

A one-step fit walks away over an episode; here the network runs on its own output over ever more
steps during training, with gradients through all of them. Single steps come first: those of a
window are one call of the network, which so sees many more contacts in the time of a rollout.

Legend: B windows, H steps of a window, K steps of a rollout, R rollouts, N rows, D state,
A action, M modes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from worldsim.config.limits import Count, Share, Weight, at_least, below
from worldsim.config.values import Checked
from worldsim.data.cache import CachedDataset
from worldsim.models.dynamics.base import Dynamics
from worldsim.models.recall import frame_cameras
from worldsim.models.world_model import WorldModel
from worldsim.sampling.walls import walk
from worldsim.training.batches import Batch, Loss
from worldsim.training.losses.clip import Clip

GROWN = 0.9
"""Share of training after which rollouts have their full length."""
SHARPNESS = 0.1
"""Weight of the absolute error, which keeps small errors small, beside the rounded one."""

SOFTNESS = 0.02
"""By how much one mode of a step must be nearer than another to be e times as likely its cause."""

SMALL = 0.05
"""Typical steps below which a distance counts by its square, so that its gradient is smooth."""
BLUR = 0.1
"""Noise on recorded latents for the stride head, since a model's own frames are not as clean."""


@dataclass(frozen=True)
class DynamicsPlan(Checked):
    """Attributes:
    horizon: H, steps of a window and of the longest rollouts.
    single: share of training on single steps; from then on rollouts grow by equal factors.
    start_noise: greatest disturbance of a start, in typical steps of each entry.
    forget: chance that a window does not know the step before its first.
    mirror: axes ("x", "y") of the world that may be turned over; every window is, by chance.
    keep: whether a model that is trained further keeps its dynamics as they are.
    """

    horizon: Count = 10
    single: Annotated[float, at_least(0), below(GROWN)] = 0.6
    start_noise: Weight = 0.05
    forget: Share = 0.1
    mirror: tuple[Literal["x", "y"], ...] = ()
    keep: bool = False

    def rollout_steps(self, fraction: float) -> int:
        """K at a fraction of training."""
        grown = (fraction - self.single) / (GROWN - self.single)
        return int(0.5 + self.horizon ** min(max(grown, 0.0), 1.0))


class StateTable:
    """Recorded states and actions of some episodes, row by row.

    Args:
        dynamics: says which entries make a state.
        cache: the data.
        episodes: which of its episodes.
    """

    def __init__(self, dynamics: Dynamics, cache: CachedDataset, episodes: Sequence[int]) -> None:
        spans = [cache.rows(episode) for episode in episodes]
        rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        lengths = torch.tensor([span.stop - span.start for span in spans])
        state = torch.from_numpy(cache.state[rows]).float()
        self.states = dynamics.join(torch.from_numpy(cache.agent_pos[rows]).float(), state)
        self.action = torch.from_numpy(cache.action[rows]).float()
        known = torch.from_numpy(np.asarray(cache.action_mask[rows])).bool()
        stops = lengths.cumsum(0)
        self.first = torch.repeat_interleave(stops - lengths, lengths)
        self.last = torch.repeat_interleave(stops, lengths) - 1
        self.starts = torch.nonzero(known & (torch.arange(len(rows)) < self.last))[:, 0]

    def window(self, starts: Tensor, steps: int) -> Batch:
        """`state [B, K + 2, D]` from one row before each start on, `action [B, K, A]`, and `inside
        [B, K]`, which is 0 past the end of an episode."""
        wanted = starts[:, None] + torch.arange(-1, steps + 1)
        first, last = self.first[starts][:, None], self.last[starts][:, None]
        rows = torch.minimum(torch.maximum(wanted, first), last)
        return {
            "state": self.states[rows],
            "action": self.action[rows[:, 1:-1]],
            "inside": (wanted[:, 2:] <= last).float(),
        }

    def fit_scales(self, dynamics: Dynamics) -> None:
        """Normalisation and box of `dynamics`, and what it knows in closed form of actions."""
        before, after = self.states[self.starts], self.states[self.starts + 1]
        dynamics.fit_scales(self.states, before, after)
        dynamics.fit_actions(before, self.action[self.starts], after)

    def widen_box(self, dynamics: Dynamics) -> None:
        """Let the box of `dynamics`, fitted to other rows, hold these too."""
        dynamics.widen_box(self.states)


class DynamicsLoss:
    """`StageLoss` of the dynamics stage: error of rollouts in typical steps of each entry.

    Args:
        dynamics: the network in training.
        plan: see there.
    """

    def __init__(self, dynamics: Dynamics, plan: DynamicsPlan) -> None:
        self.dynamics, self.plan = dynamics, plan
        signs = [dynamics.mirror_signs(axis) for axis in plan.mirror]
        self._signs = [(torch.tensor(state), torch.tensor(action)) for state, action in signs]

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Loss of one batch of windows."""
        state, action = self._mirrored(batch["state"], batch["action"], generator)
        steps = self.plan.rollout_steps(fraction)
        state, action = _tiles(state, steps + 2, steps), _tiles(action, steps, steps)
        inside = _tiles(batch["inside"][..., None], steps, steps)[..., 0]
        previous, now = self._start(state, generator)
        errors = []
        for k in range(steps):
            known = torch.ones_like(inside[:, k])
            modes, log_probs = self.dynamics.modes(previous, now, action[:, k], known)
            gap = (modes - state[:, k + 2, None]) / self.dynamics.step_size
            each = step_error(gap).mean(dim=-1)
            errors.append((mixture_error(each, log_probs) * inside[:, k]).mean())
            nearest = each.argmin(dim=-1)[:, None, None].expand(-1, 1, modes.shape[-1])
            previous, now = now, modes.gather(1, nearest)[:, 0]
        steps_errors = torch.stack(errors)
        ends = {"first": steps_errors[0].detach(), "last": steps_errors[-1].detach()}
        return Loss(steps_errors.mean(), ends)

    def _mirrored(
        self, state: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Each window turned over, or not, along each axis of the plan."""
        for state_signs, action_signs in self._signs:
            turned = (torch.rand(len(state), 1, 1, generator=generator) < 0.5).to(state.device)
            state = torch.where(turned, state * state_signs.to(state), state)
            action = torch.where(turned, action * action_signs.to(action), action)
        return state, action

    def _start(self, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Disturbed states before and at the start, `[B, D]` each."""
        size = torch.rand(len(state), 1, generator=generator).square()
        noise = self.plan.start_noise * size * torch.randn(state[:, 1].shape, generator=generator)
        now = state[:, 1] + noise.to(state.device) * self.dynamics.step_size
        forgotten = torch.rand(len(state), 1, generator=generator) < self.plan.forget
        return torch.where(forgotten.to(state.device), now, state[:, 0]), now


def _tiles(window: Tensor, length: int, stride: int) -> Tensor:
    """Windows `[B, H, C]` cut into pieces `[R, length, C]` whose firsts lie `stride` apart."""
    return rearrange(window.unfold(1, length, stride), "b n c k -> (b n) k c")


def step_error(gap: Tensor) -> Tensor:
    """Error of entries that are off by `gap` typical steps: squared below one, linear above.

    The median of what an agent near a thing does to it is nothing, and absolute errors alone settle
    there: contact is never learnt. Squared errors alone let one collision outweigh everything.
    """
    return (1.0 + gap.square()).sqrt() - 1.0 + SHARPNESS * gap.abs()


def mixture_error(errors: Tensor, log_probs: Tensor) -> Tensor:
    """Error `[...]` of a step that has several modes.

    The negative logarithm of a mixture's density whose parts fall with their error, in units of
    `SOFTNESS`: each mode is fitted to the steps that it fits best, and its probability to
    their share. With one mode it is its error.

    Args:
        errors: `[..., M]` of the modes.
        log_probs: `[..., M]` of the modes.
    """
    return -SOFTNESS * torch.logsumexp(log_probs - errors / SOFTNESS, dim=-1)


@torch.no_grad()
def open_loop_gaps(
    dynamics: Dynamics, cache: CachedDataset, episodes: Sequence[int], horizons: Sequence[int]
) -> dict[str, dict[int, float]]:
    """Median distance in metres from recorded places after some steps from the first frame.

    Args:
        dynamics: the fitted network.
        cache: the data.
        episodes: held out ones.
        horizons: numbers of steps.

    Returns:
        For each of `Dynamics.places`, the median over the episodes that last so long.
    """
    if not episodes:
        return {}
    table = StateTable(dynamics, cache, episodes)
    starts = torch.unique(table.first)
    window = table.window(starts, max(horizons))
    previous = now = window["state"][:, 1]
    found: dict[str, dict[int, float]] = {}
    for k in range(max(horizons)):
        known = torch.ones(len(starts))
        previous, now = now, dynamics.step(previous, now, window["action"][:, k], known)
        alive = window["inside"][:, k].bool()
        if k + 1 not in horizons or not alive.any():
            continue
        imagined, recorded = map(dynamics.places, (now, window["state"][:, k + 2]))
        for name, place in imagined.items():
            gap = (place - recorded[name]).norm(dim=-1)[alive]
            found.setdefault(name, {})[k + 1] = round(float(gap.median()), 6)
    return found


def blunt_distance(gap: Tensor) -> Tensor:
    """Lengths `[N]` of gaps `[N, D]` in typical steps, of which small ones count by their square.

    A wall stops a step or does not, and where frames do not show which, a mean would slow every
    step. The length, unsquared, has the likelier of both as its least.
    """
    return (gap.square().sum(-1) + SMALL**2).sqrt() - SMALL


def stride_loss(
    model: WorldModel,
    clip: Clip,
    generator: torch.Generator,
    own: Tensor | None = None,
    first: int = 0,
) -> Tensor:
    """Mean distance, in typical steps, of where the agent came to from where the head says.

    Args:
        model: with a stride head.
        clip: what was recorded.
        generator: of the noise.
        own: `[B, K, V, c, h, w]` the model's own frames, off which it reads instead: walls look
            otherwise there, and a stream has no others.
        first: number in the clip of the first of them.
    """
    assert model.facing is not None
    plane = list(model.facing.frame.plane)
    shown = clip.x0[:, :-1] if own is None else own[:, : clip.shape[1] - 1 - first].detach()
    if not shown.shape[1]:
        return clip.x0.new_zeros(())
    stop = first + shown.shape[1]
    frames, later = slice(first, stop), clip.steps.frames(first + 1, stop + 1)
    with torch.no_grad(), torch.autocast(clip.x0.device.type, enabled=False):
        cameras = frame_cameras(model, clip.steps).pose[:, frames]
    grain = torch.randn(shown.shape, generator=generator).to(clip.x0)
    latents = shown + BLUR * grain
    parts = (latents, cameras, later.before, later.action, later.mask)
    told = walk(model, *(part.flatten(0, 1) for part in parts))
    gap = told[:, plane] - later.after.flatten(0, 1)[:, plane]
    scale = model.dynamics.step_size[plane].mean()
    known = (later.mask * clip.frame_mask[:, first + 1 : stop + 1]).flatten()
    each = blunt_distance(gap / scale)
    return (each * known).sum() / known.sum().clamp_min(1e-6)
