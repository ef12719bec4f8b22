"""What a person drove, as a film and as an episode of a LeRobot data set."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from worldsim.conventions import split_views
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import UsageError
from worldsim.evaluation.record import RolloutRecord
from worldsim.play.session import Float, Moment
from worldsim.reporting.film import write_film
from worldsim.specs import WorldSpec

ENV_ID = "worldsim/Imagination-v0"

_NUMBERING = Lock()
"""One recording is written at a time, so that no two take the same number."""


@dataclass
class Tape:
    """Moments of one episode and the actions between them.

    Attributes:
        spec: the world.
        seed: of the start.
        task: instruction text.
        moments: T + 1 of them.
        actions: T of them.
        delay: steps by which imagined frames follow actions; what is written leaves out what they
            do not reach, and pairs every action with the frames that it leads from and to.
    """

    spec: WorldSpec
    seed: int
    task: str
    moments: list[Moment] = field(default_factory=list)
    actions: list[Float] = field(default_factory=list)
    delay: int = 0

    @property
    def steps(self) -> int:
        """Actions whose frames have been shown."""
        return max(len(self.actions) - self.delay, 0)

    def record(self) -> RolloutRecord:
        """The film's data: the simulator, where there is one, beside imagination."""
        shown, driven = self.moments[self.delay :], self.moments[: self.steps + 1]
        simulated = [m.simulated for m in driven if m.simulated is not None]
        both = len(simulated) == len(driven)
        return RolloutRecord(
            cameras=self.spec.camera_names,
            fps=self.spec.fps,
            title=f"played by hand, seed {self.seed}",
            truth=np.stack(simulated) if both else None,
            imagined=np.stack([m.imagined for m in shown]),
            actions=np.stack(self.actions[: self.steps]).astype(np.float32),
            success_probability=np.array([m.probability for m in shown], np.float32),
            progress=np.array([m.progress for m in shown], np.float32),
            truth_success=np.array([m.simulated_success for m in driven]) if both else None,
        )

    def episode(self) -> Episode:
        """The imagined episode."""
        shown = self.moments[self.delay :]
        frames = np.stack([m.imagined for m in shown])
        actions = np.stack(self.actions[: self.steps]).astype(np.float32)
        success = np.array([m.success for m in shown])
        progress = np.array([m.progress for m in shown], np.float32)
        reward = np.concatenate([[0.0], np.diff(progress)]).astype(np.float32)
        meta = EpisodeMeta(ENV_ID, self.seed, "human", bool(success.any()), behaviour="play")
        return Episode(
            pixels=split_views(frames, self.spec.camera_names),
            agent_pos=np.stack([m.agent_pos for m in shown]).astype(np.float32),
            state=np.stack([m.state for m in shown]).astype(np.float32),
            action=actions,
            action_achieved=actions,
            reward=reward,
            success=success,
            progress=progress,
            task=self.task,
            meta=meta,
        )

    def write(self, out: Path) -> tuple[Path, Path]:
        """Write `out/NNNN.mp4` and the data set `out/NNNN`, of the next free number.

        Raises:
            UsageError: nothing was driven yet, or nothing of it was shown.
        """
        if not self.steps:
            raise UsageError(
                f"nothing was recorded: drive for more than {self.delay} steps first"
                if self.delay
                else "nothing was recorded: drive first"
            )
        with _NUMBERING:
            film, data = free_names(out)
            write_film(film, self.record())
            writer = LeRobotWriter(data, self.spec, env_info={"id": ENV_ID, "kwargs": {}})
            writer.add(self.episode())
            return film, writer.finalize()


def free_names(out: Path) -> tuple[Path, Path]:
    """Film and folder of the first number that neither has."""
    number = 0
    while (out / f"{number:04d}.mp4").exists() or (out / f"{number:04d}").exists():
        number += 1
    return out / f"{number:04d}.mp4", out / f"{number:04d}"
