"""Frames of recorded episodes as a world model shows them, with the labels of the truth.

Either only encoded and decoded, the best that imagination can look, or imagined again: on the
model's own frames, but with hand and scene where the recording has them, so that its labels hold.
Where the model carries no scene, they hold for the few steps that it takes to go astray.

Legend: N rows or streams, V view, H, W pixels, E episodes, P proprioception, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worldsim.models.world_model import WorldModel

Rows = NDArray[np.int64]


class LabelledFrames(Protocol):
    """The arrays of a `CachedDataset` that judging reads; see docs/architecture.md."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """`[N, V, H, W, 3]`."""
        ...

    @property
    def state(self) -> NDArray[np.float32]:
        """`[N, S]`."""
        ...

    @property
    def success(self) -> NDArray[np.bool_]:
        """`[N]`."""
        ...

    @property
    def progress(self) -> NDArray[np.float32]:
        """`[N]` in [0, 1]."""
        ...

    @property
    def episode_start(self) -> NDArray[np.int64]:
        """`[E + 1]`."""
        ...


@runtime_checkable
class RecordedFrames(Protocol):
    """The further arrays of a `CachedDataset` that imagining its episodes again needs."""

    @property
    def agent_pos(self) -> NDArray[np.float32]:
        """`[N, P]`."""
        ...

    @property
    def action(self) -> NDArray[np.float32]:
        """`[N, A]`; row t leads from observation t to t + 1."""
        ...

    @property
    def rigs(self) -> Any:
        """`intrinsics [E,V,3,3]`, `extrinsics [E,V,4,4]`, `mounted [E,V]`, `known [E,V]`."""
        ...


@dataclass(frozen=True, eq=False)
class FrameBank:
    """Altered versions of some rows of a cache.

    Attributes:
        rows: `[N]` rows of the cache, whose labels the frames keep.
        pixels: uint8 `[N, V, H, W, 3]`.
    """

    rows: Rows
    pixels: NDArray[np.uint8]


def reconstruct(
    model: "WorldModel", data: LabelledFrames, rows: Rows, batch_size: int = 64
) -> FrameBank:
    """Frames encoded and decoded by the model's tokenizer: the best that imagination can look."""
    rows = np.sort(rows)
    parts: list[NDArray[np.uint8]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            pixels = torch.from_numpy(np.asarray(data.pixels[rows[start : start + batch_size]]))
            decoded = model.decode(model.encode(pixels[:, None]))
            parts.append(decoded[:, 0].cpu().numpy())
    return FrameBank(rows, np.concatenate(parts))


def imagine_again(
    model: "WorldModel",
    data: LabelledFrames,
    recorded: RecordedFrames,
    rows: Rows,
    steps: int,
    batch_size: int = 64,
) -> FrameBank:
    """Frames imagined from `steps` observations before each of `rows`, along the recording.

    Every frame on the way is kept too. Rows of episodes that are too short are left out.

    Args:
        model: the world model.
        data: frames and where episodes begin.
        recorded: actions, proprioception and calibration of the same rows.
        rows: rows of `data` to arrive at.
        steps: how far to imagine, at least 1.
        batch_size: streams side by side.
    """
    bounds = np.asarray(data.episode_start)
    episodes = np.searchsorted(bounds, rows, side="right") - 1
    long_enough = bounds[episodes + 1] - bounds[episodes] > steps
    rows, episodes = rows[long_enough], episodes[long_enough]
    if not len(rows):
        return FrameBank(rows, np.asarray(data.pixels[:0]))
    begin = np.maximum(rows - steps, bounds[episodes])
    parts = [
        _imagine(model, data, recorded, begin[part], episodes[part], steps)
        for part in (slice(i, i + batch_size) for i in range(0, len(rows), batch_size))
    ]
    return join_banks(parts)


def _imagine(
    model: "WorldModel",
    data: LabelledFrames,
    recorded: RecordedFrames,
    begin: Rows,
    episodes: Rows,
    steps: int,
) -> FrameBank:
    from worldsim.streaming.sampler import Sampler

    stream = Sampler().stream(model)
    rig = None
    if np.asarray(recorded.rigs.known)[episodes].all():
        names = ("intrinsics", "extrinsics", "mounted")
        rig = {name: np.asarray(getattr(recorded.rigs, name))[episodes] for name in names}
    stream.reset(
        np.asarray(data.pixels[begin]),
        np.asarray(recorded.agent_pos[begin]),
        rig,
        begin.tolist(),
        state=np.asarray(data.state[begin]),
    )
    frames = []
    for step in range(steps):
        hand, scene = (
            torch.from_numpy(np.asarray(part[begin + step + 1], np.float32))
            for part in (recorded.agent_pos, data.state)
        )
        body = model.dynamics.join(hand, scene).numpy()
        stream.act(np.asarray(recorded.action[begin + step]), body)
        frames.append(stream.pixels())
    rows = np.concatenate([begin + step + 1 for step in range(steps)])
    return FrameBank(rows, np.concatenate(frames))


def join_banks(banks: Sequence[FrameBank]) -> FrameBank:
    """All frames of the given banks, of which there is at least one."""
    return FrameBank(
        np.concatenate([bank.rows for bank in banks]),
        np.concatenate([bank.pixels for bank in banks]),
    )
