"""Frames of the filmed rollouts on disk, and which of them are worth showing.

A film of one world is a `RolloutRecord` of that world alone; `joined_record` puts both side by
side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from worldsim.rollout.episodes import RolloutBatch, World
from worldsim.rollout.record import RolloutRecord
from worldsim.rollout.results import safe_name
from worldsim.spec import WorldSpec

Kind = Literal["success", "failure", "disagreement"]


class Shown(NamedTuple):
    """A rollout chosen to be shown."""

    kind: Kind
    policy: str
    start: int


def film_path(out: Path, policy: str, start: int, world: World) -> Path:
    """Where the frames of one rollout lie."""
    return out / "films" / safe_name(policy) / f"{start:04d}.{world}.npz"


def save_films(out: Path, batch: RolloutBatch, spec: WorldSpec) -> None:
    """Write every film of `batch`."""
    truth = batch.world == "simulator"
    for start, pixels in batch.films.items():
        trajectory = batch.trajectories[batch.start_ids.index(start)]
        RolloutRecord(
            cameras=spec.camera_names,
            fps=spec.fps,
            title=f"{batch.policy}, start {start}",
            truth=pixels if truth else None,
            imagined=None if truth else pixels,
            actions=trajectory.action if trajectory.steps else None,
            success_probability=trajectory.probability,
            progress=trajectory.progress,
            truth_success=trajectory.success if truth else None,
        ).save(film_path(out, batch.policy, start, batch.world))


def joined_record(out: Path, policy: str, start: int) -> RolloutRecord:
    """The rollout in both worlds, side by side; overlays are those of imagination.

    Raises:
        DataError: a film is missing or broken.
    """
    truth = RolloutRecord.load(film_path(out, policy, start, "simulator"))
    return truth.beside(RolloutRecord.load(film_path(out, policy, start, "imagination")))


def choose_films(
    reference: Sequence[RolloutBatch],
    imagined: Sequence[RolloutBatch],
    filmed: Sequence[int],
    each: int,
) -> list[Shown]:
    """Successes, failures and disagreements, `each` of them, from as many policies as possible.

    Args:
        reference: simulator results by policy.
        imagined: imagination results of the same policies.
        filmed: starts that were filmed.
        each: how many of a kind.
    """
    found: dict[Kind, list[Shown]] = {"disagreement": [], "success": [], "failure": []}
    # Start by start, so that the first ones of a kind come from different policies.
    for start in filmed:
        for truth, dream in zip(reference, imagined, strict=True):
            if truth.errors[start] or dream.errors[start]:
                continue
            won, seen = bool(truth.success[start]), bool(dream.success[start])
            kind: Kind = "disagreement" if won != seen else "success" if won else "failure"
            found[kind].append(Shown(kind, truth.policy, start))
    return [shown for kind in found.values() for shown in _spread(kind, each)]


def _spread(candidates: list[Shown], count: int) -> list[Shown]:
    """Candidates of new policies first."""
    seen: set[str] = set()
    fresh: list[Shown] = []
    repeated: list[Shown] = []
    for shown in candidates:
        (repeated if shown.policy in seen else fresh).append(shown)
        seen.add(shown.policy)
    return (fresh + repeated)[:count]
