"""What a person drove, as a film and as an episode of a LeRobot data set.

Legend: T actions, W worlds (imagination, then the simulator if there is one), V view, H W pixels.
"""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np

from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import UsageError
from worldsim.files import disk_errors
from worldsim.play.session import Float, Pixels, PlayObservation
from worldsim.reporting.film import write_film
from worldsim.rollout.record import RolloutRecord
from worldsim.spec import WorldSpec

ENV_ID = "worldsim/Imagination-v0"

_NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)
_NUMBERING = Lock()
"""One recording is written at a time, so that no two take the same number."""


@dataclass(frozen=True)
class TapeLimits:
    """Where a recording ends by itself.

    Attributes:
        seconds: longest drive that is recorded.
        free_bytes: disk space that is left to others.
    """

    seconds: float = 600.0
    free_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf") or self.free_bytes < 0:
            raise UsageError(
                f"recordings: need seconds > 0 and free_bytes >= 0, got {self.seconds:g} and "
                f"{self.free_bytes}"
            )


class Tape:
    """Observations of one episode and the actions between them; use it in a `with` statement.

    Frames go to a nameless file in the folder of recordings as they come, so that a long drive
    takes no memory and leaves nothing behind.

    Args:
        spec: the world.
        seed: of the start.
        task: instruction text.
        first: the observation that the recording begins with.
        out: folder of recordings.
        delay: steps by which imagined frames follow actions; what is written leaves out what they
            do not reach, and pairs every action with the frames that it leads from and to.
        limits: where it ends.

    Raises:
        UsageError: nothing can be written there.
        DiskFullError: the disk is full.
    """

    def __init__(
        self,
        spec: WorldSpec,
        seed: int,
        task: str,
        first: PlayObservation,
        out: Path,
        delay: int = 0,
        limits: TapeLimits | None = None,
    ) -> None:
        self.spec, self.seed, self.task, self.delay = spec, seed, task, delay
        self._out, self._limits = out, limits or TapeLimits()
        self._shape = first.worlds.shape
        self._rows: list[PlayObservation] = []  # without their frames
        self._actions: list[Float] = []
        try:
            with disk_errors(out):
                out.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=out)
        except OSError as error:
            raise UsageError(f"cannot record into {out}: {error.strerror}") from error
        self._keep(first)

    def __enter__(self) -> "Tape":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def steps(self) -> int:
        """Actions whose frames have been shown."""
        return max(len(self._actions) - self.delay, 0)

    def add(self, action: Float, observation: PlayObservation) -> None:
        """One action and the observation after it.

        Raises:
            DiskFullError: the disk is full; what was added before stands.
        """
        self._keep(observation)
        self._actions.append(action)

    def _keep(self, observation: PlayObservation) -> None:
        with disk_errors(self._out):
            self._file.seek(len(self._rows) * int(np.prod(self._shape)))
            self._file.write(observation.worlds.tobytes())
            self._file.flush()
        self._rows.append(replace(observation, imagined=_NO_FRAMES, simulated=None))

    def why_full(self) -> str | None:
        """Why no more can be added, or None as long as it can."""
        if self.steps >= self._limits.seconds * self.spec.fps:
            return f"a recording takes at most {self._limits.seconds:g} s"
        if shutil.disk_usage(self._out).free < self._limits.free_bytes:
            return f"less than {self._limits.free_bytes / 1e6:.0f} MB of disk are free"
        return None

    def _frames(self) -> Pixels:
        """All frames `[T+1, W, V, H, W, 3]`, on disk."""
        shape = (len(self._actions) + 1, *self._shape)
        return np.memmap(self._file, np.uint8, "r", shape=shape)

    def record(self) -> RolloutRecord:
        """The film's data: the simulator, where there is one, beside imagination."""
        frames, shown = self._frames(), self._rows[self.delay :]
        driven = self._rows[: self.steps + 1]
        both = frames.shape[1] == 2
        return RolloutRecord(
            cameras=self.spec.camera_names,
            fps=self.spec.fps,
            title=f"played by hand, seed {self.seed}",
            truth=frames[: self.steps + 1, 1] if both else None,
            imagined=frames[self.delay :, 0],
            actions=np.stack(self._actions[: self.steps]).astype(np.float32),
            success_probability=np.array([row.probability for row in shown], np.float32),
            progress=np.array([row.progress for row in shown], np.float32),
            truth_success=np.array([row.simulated_success for row in driven]) if both else None,
        )

    def episode(self) -> Episode:
        """The imagined episode."""
        frames, shown = self._frames()[self.delay :, 0], self._rows[self.delay :]
        actions = np.stack(self._actions[: self.steps]).astype(np.float32)
        success = np.array([row.success for row in shown])
        progress = np.array([row.progress for row in shown], np.float32)
        reward = np.concatenate([[0.0], np.diff(progress)]).astype(np.float32)
        meta = EpisodeMeta(ENV_ID, self.seed, "human", bool(success.any()), behaviour="play")
        return Episode(
            # Views into the file: split_views would bring all of them into memory.
            pixels={name: frames[:, view] for view, name in enumerate(self.spec.camera_names)},
            agent_pos=np.stack([row.agent_pos for row in shown]).astype(np.float32),
            state=np.stack([row.state for row in shown]).astype(np.float32),
            action=actions,
            action_achieved=actions,
            reward=reward,
            success=success,
            progress=progress,
            task=self.task,
            meta=meta,
        )

    def write(self) -> tuple[Path, Path]:
        """Write `NNNN.mp4` and the data set `NNNN`, of the next free number.

        Raises:
            UsageError: nothing was driven yet, or nothing of it was shown.
            DiskFullError: the disk is full.
        """
        if not self.steps:
            raise UsageError(
                f"nothing was recorded: drive for more than {self.delay} steps first"
                if self.delay
                else "nothing was recorded: drive first"
            )
        with _NUMBERING, disk_errors(self._out):
            film, data = free_names(self._out)
            write_film(film, self.record())
            spec = self.spec.without_extras()
            writer = LeRobotWriter(data, spec, env_info={"id": ENV_ID, "kwargs": {}})
            writer.add(self.episode())
            return film, writer.finalize()

    def close(self) -> None:
        """Let go of the frames."""
        self._file.close()


def free_names(out: Path) -> tuple[Path, Path]:
    """Film and folder of the first number that neither has."""
    number = 0
    while (out / f"{number:04d}.mp4").exists() or (out / f"{number:04d}").exists():
        number += 1
    return out / f"{number:04d}.mp4", out / f"{number:04d}"
