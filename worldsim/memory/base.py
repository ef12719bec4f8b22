"""`Memory`: what a batch of streams has seen, kept beyond the context, for each row apart.

A stream writes every frame that it has shown, and reads one `MemoryView` for the frames to come.
Training does the same along recorded clips and the model's own rollouts. A memory is a holder of
rows (`worldsim.rows`), so it is reset, branched and selected with its stream.

Legend: N rows, K frames, T frames to come, V views, c latent channels, h w latent size, H W pixels,
R retrieved frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import torch
from torch import Tensor

from worldsim.config.limits import OneOf, Whole
from worldsim.config.values import Checked
from worldsim.memory.view import MemoryView
from worldsim.registry import Registry
from worldsim.rows import join_parts, put_rows, take_parts
from worldsim.spec import WorldSpec

LatentShape = tuple[int, int, int, int]
"""(V, c, h, w)."""


@dataclass(frozen=True)
class MemoryConfig(Checked):
    """Attributes:
    name: registered memory; `none` keeps nothing.
    retrieved: R, most past frames that it gives for each frame to come.
    """

    name: Annotated[str, OneOf(lambda: MEMORIES)] = "none"
    retrieved: Whole = 4


@dataclass(frozen=True)
class MemorySize:
    """What memories are made for.

    Attributes:
        spec: of the world.
        latent: (V, c, h, w).
        rows: N, streams that have a memory each.
        device: of their tensors.
    """

    spec: WorldSpec
    latent: LatentShape
    rows: int
    device: torch.device

    def zeros(self) -> Tensor:
        """`[N]` whole numbers, 0."""
        return torch.zeros(self.rows, dtype=torch.long, device=self.device)


@dataclass(frozen=True, eq=False)
class FrameCameras:
    """Where the cameras of T frames stand.

    Attributes:
        pose: `[N, T, V, 4, 4]` camera to world, metres.
        intrinsics: `[N, V, 3, 3]` in cells of the latents.
        known: `[N]` 0 where the calibration is unknown; poses and intrinsics mean nothing there.
    """

    pose: Tensor
    intrinsics: Tensor
    known: Tensor


@dataclass(frozen=True, eq=False)
class ShownFrames:
    """Frames that a memory is to take in, oldest first.

    Attributes:
        latents: `[N, K, V, c, h, w]`, clean, unit variance; zero for views that are missing.
        cameras: of these frames.
        view_mask: `[N, K, V]` 1 where the view exists.
        count: `[N]` how many of K are real; the others are padding at the end.
        number: `[N, K]` of each in its stream or episode; rising, with gaps where some were left
            out.
        depth: `[N, K, V, H, W]` metres, of the kind that the spec says, NaN where unknown; None
            where it is unknown throughout, as in imagined frames.
    """

    latents: Tensor
    cameras: FrameCameras
    view_mask: Tensor
    count: Tensor
    number: Tensor
    depth: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """`[N, K]` bool, which frames are no padding."""
        return torch.arange(self.latents.shape[1], device=self.count.device) < self.count[:, None]


@dataclass(eq=False)
class Memory:
    """Base of all memories: a dataclass whose tensors have one row for each stream.

    A subclass is registered (`register_memory`), adds its own row tensors as fields, and extends
    `new`, `update`, and `render` or `retrieve`. Rows that hold different amounts need tensors of
    one size with a mask, or their own `joined`.

    Attributes:
        latent: (V, c, h, w).
        seen: `[N]` frames taken in since the row began.
        now: `[N]` number of the next frame to come.
        tells: whether it ever tells anything; where not, nobody asks.
    """

    tells: ClassVar[bool] = True

    latent: LatentShape
    seen: Tensor
    now: Tensor

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        """Empty memories of a world's streams."""
        return cls(size.latent, size.zeros(), size.zeros())

    def update(self, shown: ShownFrames) -> None:
        """Take frames in, in place; a subclass calls this when it is done with them."""
        self.seen = self.seen + shown.count
        after = torch.where(shown.real, shown.number + 1, 0)
        self.now = torch.cat([self.now[:, None], after], dim=1).amax(1)

    def coming(self, frames: int) -> Tensor:
        """Numbers `[N, frames]` of the frames to come, from which ages are counted."""
        return self.now[:, None] + torch.arange(frames, device=self.now.device)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        """What the cameras are expected to see, and how much of it is known; see `MemoryView`.

        Returns:
            Latents `[N, T, V, c, h, w]` and coverage `[N, T, V, 1, h, w]`; by default nothing.
        """
        null = self._null(cameras)
        return null.render, null.coverage

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Past frames that tell most about those to come: `retrieved`, `poses`, `mask` and `age`
        as in `MemoryView`; by default none."""
        null = self._null(cameras)
        return null.retrieved, null.poses, null.mask, null.age

    def view(self, cameras: FrameCameras) -> MemoryView:
        """What it tells about the frames that these cameras will see, independent of it."""
        return MemoryView(*self.render(cameras), *self.retrieve(cameras))

    def stats(self) -> Mapping[str, float]:
        """Figures about the whole batch for logs."""
        return {"frames_seen": float(self.seen.float().mean()) if len(self.seen) else 0.0}

    def _null(self, cameras: FrameCameras) -> MemoryView:
        frames = cameras.pose.shape[:2]
        return MemoryView.null(cameras.pose.new_zeros(*frames, *self.latent))

    def select(self, rows: Sequence[int] | Tensor) -> Self:
        """See `HasRows`."""
        taken: Self = take_parts(self, list(map(int, rows)))
        return taken

    def joined(self, other: Self) -> Self:
        """See `HasRows`."""
        both: Self = join_parts(self, other)
        return both

    def put(self, rows: Sequence[int] | Tensor, other: Self) -> None:
        """See `HasRows`."""
        put_rows(self, list(map(int, rows)), other)

    def fork(self) -> Self:
        """An independent copy."""
        return self.select(range(len(self.seen)))


MEMORIES: Registry[type[Memory]] = Registry("memory")


def register_memory(name: str) -> Callable[[Any], Any]:
    """Class decorator that files a memory under `name`."""
    return MEMORIES.register(name)


@register_memory("none")
class NoMemory(Memory):
    """Keeps nothing: streams have their context alone."""

    tells = False
