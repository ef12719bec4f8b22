"""`oracle`: renders the truth that its caller gives; the upper bound of an experiment, no more.

A model with it says `depth_assisted`, whatever else it was given. Without a truth it tells nothing.

Legend: N rows, T frames to come, V views, c h w latent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from worldsim.errors import UsageError
from worldsim.memory.base import FrameCameras, Memory, register_memory

Truth = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Poses `[T, V, 4, 4]` and intrinsics `[V, 3, 3]`, in cells, of the cameras of one stream to
latents `[T, V, c, h, w]` and coverage `[T, V, 1, h, w]`; an env's renderer and `model.encode`."""


@register_memory("oracle")
@dataclass(eq=False)
class OracleMemory(Memory):
    """Attributes:
    truth: of each of the N rows; None where none was given.
    """

    told_truth = True

    truth: list[Truth | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.truth:
            self.truth = [None] * len(self.seen)

    def tell(self, truth: Sequence[Truth | None]) -> None:
        """Give the truth of each row, such as through `Stream.memory` after its reset.

        Raises:
            UsageError: there is not one for each row.
        """
        if len(truth) != len(self.seen):
            raise UsageError(
                f"an oracle memory of {len(self.seen)} streams was told {len(truth)} truths; "
                "expected one for each stream, or None"
            )
        self.truth = list(truth)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        """See `Memory.render`.

        Raises:
            UsageError: a truth does not have the shape of latents.
        """
        null = self._null(cameras)
        render, coverage = null.render, null.coverage
        for row, truth in enumerate(self.truth):
            if truth is None or not bool(cameras.known[row] > 0):
                continue
            latents, covered = truth(cameras.pose[row], cameras.intrinsics[row])
            for found, place in ((latents, render[row]), (covered, coverage[row])):
                if found.shape != place.shape:
                    raise UsageError(
                        f"the truth of stream {row} has shape {list(found.shape)}, expected "
                        f"{list(place.shape)}: frames, views, channels, and cells of the latents"
                    )
                place.copy_(found)
        return render, coverage
