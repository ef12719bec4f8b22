"""`worldsim train stage=policies`: perception and a ladder of behaviour-cloned policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.config.compose import build
from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.imitation.behaviour_cloning import BehaviourTraining, train_behaviour
from worldsim.imitation.perception import PerceptionTraining, train_perception
from worldsim.imitation.walking import WalkingTraining, train_walking
from worldsim.training.config import RunConfig, StageName
from worldsim.training.run_folder import RunFolder, fingerprint


@dataclass(frozen=True)
class PolicyTraining:
    """Keys of group `policy_training`."""

    perception: PerceptionTraining | None = None
    behaviour: BehaviourTraining | None = None
    walking: WalkingTraining | None = None


def train_policies(
    recordings: CachedDataset,
    config: Mapping[str, Any],
    out: Path,
    run: RunConfig,
    overwrite: bool = False,
) -> bool:
    """Train what `config` describes into `out/perception`, `out/behaviour` and `out/walking`.

    Args:
        recordings: what to learn from; other data is another run.
        config: plain mapping of group `policy_training`: `perception`, `behaviour`, `walking`.
        out: the run's folder.
        run: threads, precision, logging.
        overwrite: train anew what was begun under another config.

    Returns:
        Whether there was anything left to do.

    Raises:
        UsageError: the config is wrong, or the folder belongs to another one.
        DataError: the data holds nothing to learn from.
    """
    training = build(PolicyTraining, config, "policy_training")
    folder, worked = RunFolder(out), False
    learnt: dict[StageName, Callable[[], dict[str, Any]]] = {}
    if (seen := training.perception) is not None:
        learnt["perception"] = lambda: {"error": train_perception(recordings, seen, out, run)}
    if (cloned := training.behaviour) is not None:
        learnt["behaviour"] = lambda: _ladder(train_behaviour(recordings, cloned, out, run))
    if (walked := training.walking) is not None:
        learnt["walking"] = lambda: _ladder(train_walking(recordings, walked, out, run))
    if not learnt:
        raise UsageError(
            "policy_training names nothing to train; expected perception, behaviour or walking"
        )
    for name, train in learnt.items():
        key = fingerprint([config[name], recordings.fingerprint])
        if not folder.is_finished(name, key, overwrite):
            folder.finish(name, key, **train())
            worked = True
    return worked


def _ladder(folders: list[Path]) -> dict[str, Any]:
    return {"ladder": [path.name for path in folders]}
