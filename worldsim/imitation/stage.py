"""`worldsim train stage=policies`: perception and a ladder of behaviour-cloned policies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.config.compose import build
from worldsim.data.cache import CachedDataset
from worldsim.imitation.behaviour_cloning import BehaviourTraining, train_behaviour
from worldsim.imitation.perception import PerceptionTraining, train_perception
from worldsim.training.config import RunConfig
from worldsim.training.run_folder import RunFolder, fingerprint


@dataclass(frozen=True)
class PolicyTraining:
    """Keys of group `policy_training`."""

    perception: PerceptionTraining
    behaviour: BehaviourTraining


def train_policies(
    recordings: CachedDataset,
    config: Mapping[str, Any],
    out: Path,
    run: RunConfig,
    overwrite: bool = False,
) -> bool:
    """Train what `config` describes into `out/perception` and `out/behaviour`.

    Args:
        recordings: what to learn from; other data is another run.
        config: plain mapping of group `policy_training`: `perception` and `behaviour`.
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
    key = fingerprint([config["perception"], recordings.fingerprint])
    if not folder.is_finished("perception", key, overwrite):
        error = train_perception(recordings, training.perception, out, run)
        folder.finish("perception", key, error=error)
        worked = True
    key = fingerprint([config["behaviour"], recordings.fingerprint])
    if not folder.is_finished("behaviour", key, overwrite):
        ladder = train_behaviour(recordings, training.behaviour, out, run)
        folder.finish("behaviour", key, ladder=[path.name for path in ladder])
        worked = True
    return worked
