"""Writes what an importer gives as a LeRobot set: looks at all rows first, then at the frames.

Looking first finds faults before hours of decoding, and measures what the spec needs: limits,
scale and meaning of the actions. Episodes that were written stay written; the same import again
goes on after them.
"""

import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.action_checks import is_faint, reach, swamps
from worldsim.data.action_evidence import ActionEvidence, EntryEvidence, action_evidence
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.importing.formats import IMPORTERS, kind_of
from worldsim.data.importing.request import ImportConfig
from worldsim.data.importing.source import Source, SourceEpisode, SourceRows, SourceWorld
from worldsim.data.importing.survey import Survey, checked_rows
from worldsim.data.importing.thinning import every, thinned, without_idle
from worldsim.data.layout import Progress
from worldsim.data.staging import Staging
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import DataError, DataWarning, DiskFullError, UsageError
from worldsim.spec import ActionSpec, VectorSpec, WorldSpec, discrete_actions


@dataclass(frozen=True, eq=False)
class Import:
    """An import about to be written: what it is made of, and what its rows showed.

    Attributes:
        kind: name of the format.
        world: of the data set to be written.
        evidence: what its actions mean, and why.
        divisor: `[A]` what recorded actions are divided by.
        notes: what was decided, in words.
        rig: calibration of episodes that have none of their own.
    """

    config: ImportConfig
    kind: str
    source: Source
    survey: Survey
    world: WorldSpec
    evidence: ActionEvidence
    divisor: NDArray[np.float64]
    notes: list[str]
    rig: CameraRig | None = None

    def write(self, out: Path, progress: Progress | None = None) -> LeRobotDataset:
        """Write the data set, going on where an interrupted import ended.

        Raises:
            DataError: an episode cannot be read and `faulty` is "stop"; those before it are kept.
            UsageError: something else is at `out`.
        """
        collection = self.config.to_json(self.kind)
        writer = LeRobotWriter(out, self.world, {}, collection, self.config.codec)
        writer.info["evidence"] = self.evidence.lines()
        with closing(writer):
            done, total = _written(writer.staging), len(self.source.episodes)
            for place, episode in enumerate(self.source.episodes):
                if place not in done and place not in self.survey.faults:
                    self._write_episode(writer, place, episode)
                if progress is not None:
                    progress(place + 1, total)
            writer.finalize()
        return LeRobotDataset(out)

    def _write_episode(self, writer: LeRobotWriter, place: int, episode: SourceEpisode) -> None:
        index = len(writer.staging.finished())
        try:
            rows, kept = self._kept(checked_rows(episode, self.source.world), episode.name)
            with writer.staging.begin(index, self.world, self.config.codec) as staged:
                wanted = set(kept.tolist())
                for number, frames in enumerate(episode.frames()):
                    if number in wanted:
                        staged.write(frames)
                staged.finish(self._episode(rows, place))
        except DiskFullError:
            raise
        except (DataError, UsageError) as error:
            if self.config.faulty == "stop":
                raise DataError(
                    f"{error}. {index} episodes are kept; mend it and run the same import again, "
                    "or leave such episodes out with faulty=skip"
                ) from error
            warnings.warn(f"left out: {error}", DataWarning, stacklevel=2)

    def _kept(self, rows: SourceRows, name: str) -> tuple[SourceRows, NDArray[np.intp]]:
        """The rows to be written, and which observations they are."""
        delta = self.config.displacements(self.evidence)
        kept = every(rows, self.config.stride)
        thin = thinned(rows, kept, delta) if len(kept) > 1 else rows
        if self.config.idle is not None and len(kept) > 1:
            spans = self.survey.high - self.survey.low, self.survey.state[1] - self.survey.state[0]
            busy = without_idle(thin, self.config.idle, *spans, delta)
            # Idle steps add nothing, so that limits hold as they were measured.
            none = np.zeros_like(delta)
            thin, kept = (thinned(thin, busy, none) if len(busy) > 1 else thin), kept[busy]
        if len(kept) < 2:
            raise DataError(f"{name}: of {len(rows.agent_pos)} observations {len(kept)} are left")
        return thin, kept

    def _episode(self, rows: SourceRows, place: int) -> Episode:
        """An episode as it is written, without the frames."""
        action = (rows.action / self.divisor).astype(np.float32)
        meta = EpisodeMeta(
            env_id=self.source.world.env_id,
            seed=place,
            policy="unknown",
            success=rows.solved,
            factors=dict(rows.factors),
            rig=rows.rig or self.rig,
        )
        return Episode(
            pixels={},
            agent_pos=rows.agent_pos,
            state=np.zeros((len(rows.agent_pos), 0), np.float32),
            action=action,
            action_achieved=action,
            reward=rows.reward,
            success=rows.success,
            progress=np.zeros(len(rows.agent_pos), np.float32),
            task=rows.task,
            meta=meta,
        )


def _written(staging: Staging) -> set[int]:
    """Places in the source of the episodes that were written; their seeds say so."""
    return {
        int(pq.read_table(staging.path(index) / "meta.parquet")["seed"][0].as_py())
        for index in staging.finished()
    }


def open_import(config: ImportConfig, progress: Progress | None = None) -> Import:
    """Open a source, look at its rows, and find out what its actions mean.

    Args:
        config: what is imported.
        progress: called with (episodes looked at, episodes).

    Raises:
        UsageError: no such source, no format that fits, or something it does not tell is missing.
        DataError: episodes are faulty and `faulty` is "stop", or none is whole.
    """
    if not config.source.exists():
        raise UsageError(f"source is '{config.source}', which does not exist")
    kind = config.kind or kind_of(config.source)
    source = IMPORTERS.get(kind).open(config.source, config.options)
    chosen = [e for place, e in enumerate(source.episodes) if config.episodes.takes(place)]
    source = replace(source, episodes=chosen)
    try:
        survey = Survey.of(source, progress)
        notes = list(_settle(config, source, survey))
        return _decided(config, kind, source, survey, notes)
    except BaseException:
        source.close()
        raise


def _settle(config: ImportConfig, source: Source, survey: Survey) -> Iterator[str]:
    """Refuse faulty episodes, or say which are left out."""
    found = list(survey.faults.values())
    shown = "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
    if not survey.count:
        raise DataError(
            f"{config.source} holds no whole episode: {shown or 'it holds none at all'}"
        )
    if found and config.faulty == "stop":
        raise DataError(
            f"{config.source}: {len(found)} of {len(source.episodes)} episodes are faulty: {shown}"
            ". Mend them, or leave them out with faulty=skip"
        )
    if found:
        yield f"left out, {len(found)} of {len(source.episodes)} episodes: {shown}"


def _decided(
    config: ImportConfig, kind: str, source: Source, survey: Survey, notes: list[str]
) -> Import:
    """Spec, meaning and scale of the actions."""
    world = source.world
    recorded = [(rows.action, rows.agent_pos) for rows in survey.sample]
    if world.discrete and config.mode is not None:
        raise UsageError("meaning.mode is of actions in numbers; those of this source are choices")
    if world.discrete:
        evidence = ActionEvidence(tuple(map(EntryEvidence, world.action)))
        action = discrete_actions(world.action)
        divisor = np.ones(len(world.action))
    else:
        if (survey.low == survey.high).all():
            raise DataError(
                f"{config.source}: no action ever changes ({survey.low.tolist()} throughout); "
                "columns.action=NAME says which entry is the action"
            )
        evidence = action_evidence(recorded, world.action, world.agent_pos)
        divisor = _divisor(survey)
        action = evidence.applied(_measured(world, survey, divisor))
        told: dict[str, Any] = {"mode": config.mode, "frame": config.frame}
        told["commanded"] = config.commanded
        action = replace(action, **{k: v for k, v in told.items() if v is not None})
        notes += evidence.lines()
        if (divisor != 1).any():
            sizes = ", ".join(f"{n} {d:.3g}" for n, d in zip(world.action, divisor, strict=True))
            notes.append(f"actions are no size for a network, and are divided by {sizes}")
    if config.stride > 1 and not world.discrete:  # displacements of so many rows are added up
        times = np.where(config.displacements(evidence), config.stride, 1)
        low, high = (tuple((times * each).tolist()) for each in (action.low, action.high))
        action = replace(action, low=low, high=high)
    spec = WorldSpec(
        fps=world.fps / config.stride,
        cameras=world.cameras,
        action=action,
        agent_pos=VectorSpec(world.agent_pos, ("1",) * len(world.agent_pos)),
        state=VectorSpec((), ()),
    )
    rig = config.calibration()
    return Import(config, kind, source, survey, spec, evidence, divisor, notes, rig)


def _divisor(survey: Survey) -> NDArray[np.float64]:
    """`[A]` what brings actions to [-1, 1]; ones where a network sees them as they are."""
    if not (is_faint(survey.action) or swamps(survey.action)):
        return np.ones(len(survey.low))
    return reach(np.stack([survey.low, survey.high]))


def _measured(world: SourceWorld, survey: Survey, divisor: NDArray[np.float64]) -> ActionSpec:
    """The action as far as rows and divisor say."""
    count = len(world.action)
    return ActionSpec(
        names=world.action,
        low=tuple((survey.low / divisor).tolist()),
        high=tuple((survey.high / divisor).tolist()),
        units=("1",) * count,
        scale=tuple(divisor.tolist()),
        limits="measured",
    )
