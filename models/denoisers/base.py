"""The seam behind which backbones stand, and what every backbone shares.

Legend: B batch, T new frames, V views, c latent channels, h w latent size, R predecessors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from worldsim.config.limits import Count, OneOf
from worldsim.config.values import Checked
from worldsim.diffusion.flow import per_frame, residual_base
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView, reference
from worldsim.models.denoisers.attention import FrameOrder, KeyValueContext
from worldsim.models.denoisers.conditioning import Conditioning, Levels
from worldsim.models.published import PublishedConfig
from worldsim.registry import Registry


@dataclass(frozen=True)
class DenoiserShape:
    """What a backbone must fit: V, c, h, w, A, D and the number of map channels."""

    views: int
    channels: int
    height: int
    width: int
    action_dim: int
    state_dim: int
    map_channels: int


@dataclass(frozen=True)
class DenoiserConfig(Checked):
    """One dial pair for every backbone.

    Attributes:
        name: registered backbone.
        width: channels at latent resolution (stnet, svd) or of a token (dit, wan).
        depth: middle blocks (stnet), transformer blocks (dit, wan) or layers of a level (svd).
        cond_width: E of the condition vector, and of a token that is attended to (svd, wan).
        head_dim: channels of an attention head.
        history: R, how many earlier frames are concatenated by channel.
        jumps: whether it is conditioned on the level that a frame is to be taken to (`plan=ctm`).
        pure_noise: whether it is shown a frame that is noise alone (level 1). The mean of what may
            come does not depend on it, so a network that is not shown it has nothing to leak into
            what stays still; one distilled to few steps needs it (`plan=consistency`, `ctm`).
        render_reference: whether a memory's render stands for the predecessor where it covers.
            False leaves the render to conditioner `memory` alone.
        published: how a network that others published is taken and trained (svd, wan).
    """

    name: Annotated[str, OneOf(lambda: registered_denoisers())] = "stnet"
    width: Count = 64
    depth: Count = 2
    cond_width: Count = 192
    head_dim: Count = 32
    history: Count = 2
    jumps: bool = False
    pure_noise: bool = True
    render_reference: bool = True
    published: PublishedConfig = field(default_factory=PublishedConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.head_dim:
            raise UsageError(f"width {self.width} is no multiple of head_dim {self.head_dim}")


@dataclass(frozen=True)
class ContextShape:
    """What a backbone keeps of a stream.

    Attributes:
        layers: of attention, that have keys and values.
        tokens: of a frame.
        heads: of attention.
        head_dim: their channels.
        history: R, latents of so many frames.
    """

    layers: int
    tokens: int
    heads: int
    head_dim: int
    history: int = 2

    @property
    def reads_frames(self) -> bool:
        """Whether a finished frame is read once more, for its keys and values."""
        return self.layers > 0


class Denoiser(nn.Module):
    """Base of all backbones: predecessor concatenation and the clean-frame residual.

    A backbone implements `residual(inputs, levels, cond, order, context, write)` and
    `context_shape`.

    Attributes:
        predicts_residual: whether its output is added to the reference, see `forward`; False where
            it is the clean frame itself, as of backbones trained elsewhere.
    """

    predicts_residual: bool = True

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.input_channels = (1 + config.history) * shape.channels + shape.map_channels

    def map_weights(self) -> Tensor | None:
        """Weights `[width, M, ...]` of the M map channels, in the layer that takes them, as a view;
        None where there is none. It is `enter`, unless a subclass says otherwise."""
        weight: Tensor | None = getattr(getattr(self, "enter", None), "weight", None)
        if weight is None:
            return None
        each = weight.shape[1] // self.input_channels
        # Patches of a channel stand side by side.
        apart = weight.view(len(weight), -1, each, *weight.shape[2:])
        return apart[:, self.input_channels - self.shape.map_channels :]

    @torch.no_grad()
    def begin_silent(self, maps: Sequence[int]) -> None:
        """Set the weights of some map channels to zero, so that a network begins as one without."""
        weight = self.map_weights()
        if weight is not None and len(maps):
            weight[:, list(maps)] = 0.0

    def take_weights(self) -> None:
        """Become the published network that the config names, if any.

        Raises:
            UsageError: none of this kind is published, nothing is there, or sizes differ.
            DataError: files are missing or do not fit.
        """
        if self.config.published.weights is not None:
            raise UsageError(
                f"denoiser {self.config.name!r} is trained here, and model.denoiser.published."
                f"weights={self.config.published.weights} are of a network that others published; "
                "set it to null or name its denoiser"
            )

    def freeze(self) -> None:
        """Freeze what the config says is not trained; here, nothing."""

    def frame_order(
        self, positions: Tensor, blocks: Sequence[int] | None, context: KeyValueContext | None
    ) -> FrameOrder:
        """How frames are ordered, with the rotary embedding of the backbone's heads."""
        return FrameOrder.of(positions, self.config.head_dim, blocks, context)

    @property
    def context_shape(self) -> ContextShape:
        """Size of what `context` must hold."""
        raise NotImplementedError("a backbone states its context shape")

    def residual(
        self,
        inputs: Tensor,
        levels: Levels,
        cond: Conditioning,
        order: FrameOrder,
        context: KeyValueContext | None,
        write: int,
    ) -> Tensor:
        """`[B, T, V, input_channels, h, w]` to a residual `[B, T, V, c, h, w]`."""
        raise NotImplementedError("a backbone computes the residual")

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        cond: Conditioning,
        positions: Tensor | None = None,
        context: KeyValueContext | None = None,
        write: int = 0,
        blocks: Sequence[int] | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        """Predict clean frames: a residual on the best estimate of them that is there already.

        That estimate is the frame itself or its predecessor, whichever is cleaner, and the render
        of the conditions' memory where that covers; so is the predecessor that the backbone sees.

        Args:
            x: `[B, T, V, c, h, w]` noisy latents, unit variance when clean.
            sigma: `[B, T]` level of each frame.
            cond: conditions of the T frames.
            positions: `[B, T]` frame numbers; only differences matter. Default 0..T-1.
            context: earlier frames; None means that frame 0 has no past.
            write: how many leading frames leave their keys and values in the context.
            blocks: sizes of consecutive groups of the T frames; a frame sees the new frames of its
                own group and of earlier ones. Default: every frame is a group.
            target: `[B, T]` levels that the frames are to be taken to by `step_down`, at most
                their own; default: their own. See `Levels`.

        Returns:
            x0 `[B, T, V, c, h, w]`.
        """
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[0], -1)
        if not self.config.pure_noise:
            x = torch.where(per_frame(sigma) < 1.0, x, 0.0)
        stack, levels = self._with_predecessors(x, sigma, context)
        sigma_previous = levels[-1]
        base, stack = self._with_memory(x, sigma, stack, sigma_previous, cond.memory)
        if not self.config.pure_noise:
            # In noise's place it is shown what it corrects, beside the predecessor as it was.
            x = torch.where(per_frame(sigma) < 1.0, x, base)
        dtype = next(self.parameters()).dtype
        inputs = torch.cat([x, *stack, cond.maps.to(x.dtype)], dim=3).to(dtype)
        order, past = self.frame_order(positions, blocks, context), torch.stack(levels, dim=-1)
        levels_given = Levels(sigma, sigma_previous, sigma if target is None else target, past)
        out = self.residual(inputs, levels_given, cond, order, context, write).to(x.dtype)
        return base + out if self.predicts_residual else out

    def _with_memory(
        self,
        x: Tensor,
        sigma: Tensor,
        stack: list[Tensor],
        sigma_previous: Tensor,
        memory: MemoryView | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """What the residual is added to, and the predecessors; both as far as memory covers."""
        base = residual_base(x, sigma, stack[-1], sigma_previous)
        if memory is None or not self.config.render_reference:
            return base, stack
        render, coverage = memory.render.to(x.dtype), memory.coverage.to(x.dtype)
        # What is remembered is clean: where it covers, it is as good as a clean predecessor.
        seen = residual_base(x, sigma, render, torch.zeros_like(sigma))
        if self.config.pure_noise:
            stack = [*stack[:-1], reference(stack[-1], render, coverage)]
        return reference(base, seen, coverage), stack

    def _with_predecessors(
        self, x: Tensor, sigma: Tensor, context: KeyValueContext | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each frame its R predecessors `[B, T, V, c, h, w]`, oldest first, and levels."""
        frames, history = x.shape[1], self.config.history
        if context is None:
            before = x.new_zeros(x.shape[0], history, *x.shape[2:])
            levels = sigma.new_ones(x.shape[0], history)
        else:
            before, levels = context.predecessors()
        all_frames = torch.cat([before.to(x.dtype), x], dim=1)
        all_levels = torch.cat([levels.to(sigma.dtype), sigma], dim=1)
        slices = [slice(r, r + frames) for r in range(history)]
        return [all_frames[:, s] for s in slices], [all_levels[:, s] for s in slices]


DENOISERS: Registry[Callable[[DenoiserConfig, DenoiserShape], Denoiser]] = Registry("denoiser")


def registered_denoisers() -> Registry[Callable[[DenoiserConfig, DenoiserShape], Denoiser]]:
    """The registry, with every row in it."""
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.models.denoisers.dit
    import worldsim.models.denoisers.stnet
    import worldsim.models.denoisers.svd
    import worldsim.models.denoisers.unet
    import worldsim.models.denoisers.wan  # noqa: F401

    return DENOISERS


def build_denoiser(config: DenoiserConfig, shape: DenoiserShape) -> Denoiser:
    """Build a registered backbone.

    Raises:
        UsageError: the name is not registered.
    """
    return registered_denoisers().get(config.name)(config, shape)


def register_denoiser(name: str) -> Callable[[Any], Any]:
    """Class decorator that files a backbone under `name`."""
    return DENOISERS.register(name)
