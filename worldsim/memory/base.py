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

from worldsim.cameras.alignment import require_rotations
from worldsim.config.limits import Count, OneOf, Positive, Text, Weight, Whole, between
from worldsim.config.values import Checked
from worldsim.memory.view import MemoryView
from worldsim.registry import Registry
from worldsim.rows import join_parts, put_rows, take_parts
from worldsim.spec import DepthKind, WorldSpec

LatentShape = tuple[int, int, int, int]
"""(V, c, h, w)."""


def registered_memories() -> "Registry[type[Memory]]":
    """The registry, with every row in it."""
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.memory.frames
    import worldsim.memory.frames_points
    import worldsim.memory.ground
    import worldsim.memory.oracle
    import worldsim.memory.points
    import worldsim.memory.recurrent  # noqa: F401

    return MEMORIES


def registered_depths() -> Registry[Any]:
    """Where memories have depth from, every row in it."""
    from worldsim.memory.depth import DEPTHS

    return DEPTHS


@dataclass(frozen=True)
class MemoryConfig(Checked):
    """Attributes:
    name: registered memory; `none` keeps nothing.
    retrieved: R, most past frames that it gives for each frame to come.
    skipped: newest frames that are not retrieved, since the context holds them anyway.
    frames: most frames that `frames` keeps of a stream.
    reach: metres within which two cameras see the same.
    age_penalty: overlap that the oldest frame must have more than a new one to be retrieved.
    points: most points that a map keeps of a stream.
    colours: whether points carry the colours of pixels, rather than the latents of cells. A map
        then is as fine as pictures are; its render is encoded as a picture is.
    voxel: metres within which points are one.
    detail: points along each side of a latent's cell.
    order: coefficients of each latent's history in `recurrent`.
    depth: registered source of depth for maps.
    reconstructor: registered reconstructor of `depth=reconstructor`.
    ground: metres, height of the plane that `ground` takes what moving cameras see to lie on.
    """

    name: Annotated[str, OneOf(registered_memories)] = "none"
    retrieved: Whole = 4
    skipped: Whole = 0
    frames: Count = 256
    reach: Positive = 4.0
    age_penalty: Weight = 0.2
    points: Count = 4096
    voxel: Positive = 0.15
    detail: Annotated[int, between(1, 64)] = 2
    order: Annotated[int, between(1, 64)] = 16
    colours: bool = False
    depth: Annotated[str, OneOf(registered_depths)] = "head"
    reconstructor: Text | None = None
    ground: Annotated[float, between(-1e6, 1e6)] = 0.0


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

    def require(self, real: Tensor) -> None:
        """Refuse frames whose cameras should stand somewhere, and do not.

        Args:
            real: `[N, T]` bool, which frames are no padding.

        Raises:
            UsageError: a pose is missing, or no rotation.
        """
        told = real & (self.known > 0)[:, None]
        require_rotations(self.pose[told], "the pose of a calibrated camera")


@dataclass(frozen=True)
class FrameReader:
    """What a world model makes of latents for its memory.

    Attributes:
        pixels: latents `[..., V, c, h, w]` to uint8 `[..., V, H, W, 3]`.
        depth: latents to metres `[..., V, H, W]`; None if the model tells no depth.
        kind: of that depth.
        latents: the reverse of `pixels`, of floats in [-1, 1] `[..., V, 3, H, W]`; None if the
            model does not tell.
    """

    pixels: Callable[[Tensor], Tensor]
    depth: Callable[[Tensor], Tensor] | None = None
    kind: DepthKind = "radial"
    latents: Callable[[Tensor], Tensor] | None = None


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
        depth: `[N, K, V, H, W]` metres from the simulator, of the kind that the spec says, NaN
            where unknown; None where it is unknown throughout, as in imagined frames.
        reader: what else the model tells of latents; None where there is no model.
    """

    latents: Tensor
    cameras: FrameCameras
    view_mask: Tensor
    count: Tensor
    number: Tensor
    depth: Tensor | None = None
    reader: FrameReader | None = None

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
        reads_depth: whether it is shown the depth of `ShownFrames`; a model with such a memory is
            `depth_assisted` unless `MemoryConfig.depth` names another source.
        told_truth: whether it is told the truth itself, as no memory of a robot's is.
    """

    tells: ClassVar[bool] = True
    reads_depth: ClassVar[bool] = False
    told_truth: ClassVar[bool] = False

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
        render, coverage = self.render(cameras)
        none = torch.zeros_like(coverage)
        return MemoryView(render, coverage, *self.retrieve(cameras), none, none)

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
