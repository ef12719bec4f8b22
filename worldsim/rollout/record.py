"""One rollout on disk: frames of truth and imagination with what the judge said, as .npz.

Arrays and unicode strings only, so that a file from elsewhere can be read without unpickling.
"""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import plain_rate, same_rate
from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path

Pixels = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RolloutRecord:
    """Frames of one episode in one world or in both, from the same start under the same policy.

    Truth and imagination may end at different steps. Row t of the optional arrays belongs to
    frame t of imagination (of truth, where there is no imagination); rows may be missing at the
    end, as the last observation has no action.

    Attributes:
        cameras: names of the V views, in view order.
        fps: control rate in Hz.
        title: what it shows, such as "expert, start 12".
        truth: uint8 `[T, V, H, W, 3]`, or None.
        imagined: uint8 `[T', V, H, W, 3]`, or None; at least one of the two is there.
        actions: `[<=T', A]` normalised actions.
        success_probability: `[<=T']` judge's probability of success.
        progress: `[<=T']` progress in [0, 1].
        truth_success: `[<=T]` bool, the simulator's own success.
        panel: uint8 `[T, h, w, 3]` that films show below, such as a map; it is not saved.
    """

    cameras: tuple[str, ...]
    fps: float
    title: str = ""
    truth: Pixels | None = None
    imagined: Pixels | None = None
    actions: Float | None = None
    success_probability: Float | None = None
    progress: Float | None = None
    truth_success: NDArray[np.bool_] | None = None
    panel: Pixels | None = None

    def __post_init__(self) -> None:
        if self.truth is None and self.imagined is None:
            raise UsageError(f"rollout {self.title!r} has neither truth nor imagined frames")
        if not self.fps > 0:
            raise UsageError(f"rollout {self.title!r}: fps must be positive, got {self.fps}")
        for name in ("truth", "imagined"):
            self._check_frames(name, getattr(self, name))
        for name, rank in (
            ("actions", 2),
            ("success_probability", 1),
            ("progress", 1),
            ("truth_success", 1),
        ):
            array = getattr(self, name)
            if array is not None and (array.ndim != rank or len(array) > self.length):
                raise UsageError(
                    f"rollout {self.title!r}: {name} has shape {array.shape}; expected {rank} "
                    f"axes and at most {self.length} rows"
                )

    def _check_frames(self, name: str, frames: Pixels | None) -> None:
        if frames is None:
            return
        fits = frames.ndim == 5 and frames.shape[1] == len(self.cameras) and frames.shape[-1] == 3
        if frames.dtype != np.uint8 or not fits or 0 in frames.shape:
            raise UsageError(
                f"rollout {self.title!r}: {name} is {frames.dtype} {frames.shape}; expected uint8 "
                f"[T, {len(self.cameras)} cameras, H, W, 3] with T, H, W > 0"
            )

    @property
    def length(self) -> int:
        """Frames of the longer world."""
        return max(len(frames) for frames in (self.truth, self.imagined) if frames is not None)

    def beside(self, imagination: "RolloutRecord") -> "RolloutRecord":
        """This record's truth beside another's imagination, with the overlays of the latter.

        Raises:
            UsageError: a world is missing, or cameras or rates differ.
        """
        if self.truth is None or imagination.imagined is None:
            raise UsageError(f"rollout {self.title!r}: truth or imagination is missing")
        if self.cameras != imagination.cameras or not same_rate(self.fps, imagination.fps):
            raise UsageError(
                f"rollout {self.title!r}: truth has cameras {self.cameras} at {self.fps} Hz, "
                f"imagination {imagination.cameras} at {imagination.fps} Hz"
            )
        return replace(imagination, truth=self.truth, truth_success=self.truth_success)

    def save(self, path: Path) -> None:
        """Write a compressed .npz, whole or not at all."""
        arrays: dict[str, Any] = {
            "cameras": np.array(self.cameras, dtype=np.str_),
            "fps": np.array(self.fps),
            "title": np.array(self.title, dtype=np.str_),
        }
        for name in OPTIONAL:
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if path.suffix != ".npz":
            raise UsageError(f"a rollout is saved as .npz, not {path.name!r}")
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, **arrays)

    @staticmethod
    def load(path: Path) -> "RolloutRecord":
        """Read a file of `save`; nothing is unpickled.

        Raises:
            DataError: the file is missing, truncated, or not a rollout.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                data = {name: file[name] for name in file.files}
            return RolloutRecord(
                cameras=tuple(str(name) for name in data["cameras"]),
                fps=plain_rate(float(data["fps"])),
                title=str(data.get("title", "")),
                **{name: data[name] for name in OPTIONAL if name in data},
            )
        except FileNotFoundError as error:
            raise DataError(f"no such file: {path}") from error
        except KeyError as error:
            raise DataError(f"{path} is not a rollout: it lacks {error}") from error
        except UsageError as error:
            raise DataError(f"{path}: {error}") from error
        except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} cannot be read as a rollout ({error}); is it truncated?"
            ) from error


OPTIONAL = ("truth", "imagined", "actions", "success_probability", "progress", "truth_success")
