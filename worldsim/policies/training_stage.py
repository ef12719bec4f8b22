"""`worldsim train stage=policies`: perception and a ladder of behaviour-cloned policies."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from worldsim.config import build
from worldsim.errors import unknown_name
from worldsim.policies.behaviour_training import BehaviourTraining, train_behaviour
from worldsim.policies.perception_training import PerceptionTraining, train_perception
from worldsim.policies.recordings import Recordings
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.layout import RunFolder, fingerprint

T = TypeVar("T")


def policy_training(cls: type[T], node: Mapping[str, Any], where: str) -> T:
    """Build `PerceptionTraining` or `BehaviourTraining` from one flat node of a config.

    Args:
        cls: which of them.
        node: keys of `FitConfig` and of `cls`, side by side.
        where: the node's name, for messages.

    Raises:
        UsageError: a key is unknown or a value does not fit.
    """
    fit_keys = {field.name for field in fields(FitConfig)}
    own_keys = {field.name for field in fields(cls)} - {"fit"}  # type: ignore[arg-type]
    for key in node:
        if key not in fit_keys | own_keys:
            raise unknown_name(f"key in {where}", str(key), fit_keys | own_keys)
    fit = build(FitConfig, {k: v for k, v in node.items() if k in fit_keys}, where)
    own = {k: v for k, v in node.items() if k in own_keys}
    return build(cls, {**own, "fit": fit}, where)


def train_policies(
    recordings: Recordings,
    fingerprint_of_data: str,
    config: Mapping[str, Any],
    out: Path,
    run: RunConfig,
    overwrite: bool = False,
) -> bool:
    """Train what `config` describes into `out/perception` and `out/behaviour`.

    Args:
        recordings: a `CachedDataset`.
        fingerprint_of_data: its fingerprint; other data is another run.
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
    perception = policy_training(
        PerceptionTraining, config["perception"], "policy_training.perception"
    )
    behaviour = policy_training(BehaviourTraining, config["behaviour"], "policy_training.behaviour")
    folder, worked = RunFolder(out), False
    key = fingerprint([config["perception"], fingerprint_of_data])
    if not folder.is_finished("perception", key, overwrite):
        error = train_perception(recordings, perception, out, run)
        folder.finish("perception", key, error=error)
        worked = True
    key = fingerprint([config["behaviour"], fingerprint_of_data])
    if not folder.is_finished("behaviour", key, overwrite):
        ladder = train_behaviour(recordings, behaviour, out, run)
        folder.finish("behaviour", key, ladder=[path.name for path in ladder])
        worked = True
    return worked
