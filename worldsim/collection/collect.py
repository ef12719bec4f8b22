"""Parallel, resumable collection of a data set.

Episode i is a function of (collection settings, i) only. Finished episodes are on disk at once,
so neither Ctrl-C nor a kill loses any, and the same call continues; the final files do not depend
on interruptions or on the number of workers.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.collection.recorder import CollectionConfig, Recorder, record_in_processes
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.layout import INFO, Progress, own_entry, read_info
from worldsim.data.staging import Staging, changed_settings
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import UsageError


class Collection:
    """A collection under way at `root`; a context manager that holds the folder's lock.

    Args:
        config: what to collect.
        root: data set folder.

    Raises:
        UsageError: `root` holds something else, another process collects there, or the settings
            are wrong.
        WorldsimError: the env does not move, or its episodes cannot be repeated.
    """

    def __init__(self, config: CollectionConfig, root: Path) -> None:
        from worldsim.envs import make
        from worldsim.envs.simulator_check import check_simulator

        self.config, self.root = config, root
        self._recorder = Recorder(config, root)
        check_simulator(partial(make, config.env_id, **config.env_kwargs), config.env_id)
        for name, behaviour in config.behaviours.items():  # told before a folder is made
            behaviour.build(self._recorder.spec, name, np.random.default_rng(0))
        settings = config.to_json()
        env_info = {"id": config.env_id, "kwargs": settings["env_kwargs"]}
        self._writer = LeRobotWriter(root, self._recorder.spec, env_info, settings, config.codec)
        finished = set(self._writer.staging.finished())
        self.todo = [index for index in range(config.episodes) if index not in finished]

    def record(self, workers: int = 2) -> Iterator[int]:
        """Record what is missing, yielding the index of each episode once it is durable.

        Args:
            workers: processes; 0 records in this one.

        Raises:
            DataError: a policy or the env failed; finished episodes are kept.
        """
        if workers < 0:
            raise UsageError(f"workers must not be negative, got {workers}")
        if workers == 0 or len(self.todo) <= 1:
            for index in self.todo:
                self._recorder.record(index)
                yield index
        else:
            yield from record_in_processes(self._recorder, self.todo, workers)

    def finalize(self, progress: Progress | None = None) -> LeRobotDataset:
        """Write the final files.

        Args:
            progress: called with (episodes done, episodes).
        """
        self._writer.finalize(progress)
        return LeRobotDataset(self.root)

    def __enter__(self) -> "Collection":
        return self

    def __exit__(self, *error: object) -> None:
        self._recorder.env.close()
        self._writer.close()


def collect(config: CollectionConfig, root: Path, workers: int = 2) -> LeRobotDataset:
    """Collect, or go on collecting, a data set at `root`; returns it opened.

    Raises:
        UsageError: see `Collection`.
        DataError: see `Collection.record`.
    """
    if (finished := finished_dataset(config, root)) is not None:
        return finished
    with Collection(config, root) as collection:
        for _ in collection.record(workers):
            pass
        return collection.finalize()


def finished_dataset(config: CollectionConfig, root: Path) -> LeRobotDataset | None:
    """The data set at `root` if it is just what `config` asks for; None if there is none.

    Raises:
        UsageError: another data set is there.
    """
    if not (root / INFO).exists():
        return None
    recorded = own_entry(read_info(root)).get("collection") or {}
    if changes := changed_settings(recorded, config.to_json()):
        raise UsageError(
            f"{root} already holds a data set collected with another {'; '.join(changes)}; "
            "choose another folder (`worldsim data merge` joins data sets)"
        )
    Staging(root).clear()  # in case the earlier run was killed right before it did
    return LeRobotDataset(root)


def usual_mixture(env_id: str, env_kwargs: dict[str, Any]) -> str:
    """The mixture for an environment: of its scripted expert, else of what it takes."""
    from worldsim.envs import make
    from worldsim.policies.navigation import walks
    from worldsim.policies.scripted.tasks import controller_for

    env = make(env_id, **env_kwargs)
    unwrapped: Any = env.unwrapped
    try:
        if walks(unwrapped.spec_world.action, unwrapped.spec_world.state):
            return "navigation"
        controller_for(unwrapped.spec_world)
        return "scripted"
    except UsageError:
        return "choices" if unwrapped.spec_world.action.kind == "discrete" else "unscripted"
    finally:
        env.close()
