"""What a person drove, as a film and as an episode of a LeRobot data set."""

from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass
class Tape:
    """Moments of one episode and the actions between them.

    Attributes:
        spec: the world.
        seed: of the start.
        task: instruction text.
        moments: T + 1 of them.
        actions: T of them.
    """

    spec: WorldSpec
    seed: int
    task: str
    moments: list[Moment] = field(default_factory=list)
    actions: list[Float] = field(default_factory=list)

    def record(self) -> RolloutRecord:
        """The film's data: the simulator, where there is one, beside imagination."""
        simulated = [m.simulated for m in self.moments if m.simulated is not None]
        both = len(simulated) == len(self.moments)
        return RolloutRecord(
            cameras=self.spec.camera_names,
            fps=self.spec.fps,
            title=f"played by hand, seed {self.seed}",
            truth=np.stack(simulated) if both else None,
            imagined=np.stack([m.imagined for m in self.moments]),
            actions=np.stack(self.actions).astype(np.float32),
            success_probability=np.array([m.probability for m in self.moments], np.float32),
            progress=np.array([m.progress for m in self.moments], np.float32),
            truth_success=np.array([m.simulated_success for m in self.moments]) if both else None,
        )

    def episode(self) -> Episode:
        """The imagined episode."""
        frames = np.stack([m.imagined for m in self.moments])
        actions = np.stack(self.actions).astype(np.float32)
        success = np.array([m.success for m in self.moments])
        progress = np.array([m.progress for m in self.moments], np.float32)
        reward = np.concatenate([[0.0], np.diff(progress)]).astype(np.float32)
        meta = EpisodeMeta(ENV_ID, self.seed, "human", bool(success.any()), behaviour="play")
        return Episode(
            pixels=split_views(frames, self.spec.camera_names),
            agent_pos=np.stack([m.agent_pos for m in self.moments]).astype(np.float32),
            state=np.stack([m.state for m in self.moments]).astype(np.float32),
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
            UsageError: nothing was driven yet.
        """
        if not self.actions:
            raise UsageError("nothing was recorded: drive first")
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
