"""What a collection is, and its episodes recorded by worker processes."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.collection.behaviours import OWN_KINDS, Behaviour, choose, dial_generator
from worldsim.config.limits import Count, Seed, Whole
from worldsim.config.values import Checked
from worldsim.data.staging import Staging
from worldsim.data.video import VideoCodec
from worldsim.errors import DataError, DiskFullError, QualityWarning, UsageError, WorldsimError
from worldsim.hardware import begin_worker_process
from worldsim.own_imports import import_parts, parts_in_use
from worldsim.rollout.dependencies import digest_named
from worldsim.spec import WorldSpec


@dataclass(frozen=True)
class CollectionConfig(Checked):
    """What determines the episodes of a collection.

    Attributes:
        env_id: environment.
        env_kwargs: its constructor's arguments.
        behaviours: the mixture, by name.
        episodes: how many.
        seed: of the whole collection.
        max_steps: most actions of an episode, besides the env's own limit.
        steps_after_success: actions recorded beyond success.
        factors: factors of variation to fix in every episode.
        codec: how videos are encoded.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    behaviours: dict[str, Behaviour]
    episodes: Count
    seed: Seed = 0
    max_steps: Count | None = None
    steps_after_success: Whole = 0
    factors: dict[str, Any] = field(default_factory=dict)
    codec: VideoCodec = field(default_factory=VideoCodec)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.behaviours:
            raise UsageError("a collection needs at least one behaviour")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; `code` is a digest of what policies of one's own are made of."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        named = [each.options for each in self.behaviours.values() if each.policy in OWN_KINDS]
        if code := digest_named(named):
            plain["code"] = sorted(set(code))
        return plain


class Recorder:
    """Records episodes of a collection, one env for all of them."""

    def __init__(self, config: CollectionConfig, root: Path) -> None:
        from worldsim.envs import make

        self.config, self.staging = config, Staging(root)
        self.env = make(config.env_id, **config.env_kwargs)
        unwrapped: Any = self.env.unwrapped
        self.spec: WorldSpec = unwrapped.spec_world

    def record(self, index: int) -> None:
        """Record episode `index` and make it durable.

        Raises:
            WorldsimError: names the episode and its behaviour.
        """
        from worldsim.collection.record import record_episode

        config = self.config
        name = choose(config.behaviours, config.seed, index)
        dials = dial_generator(config.seed, index)
        seeds = np.random.SeedSequence([config.seed, index]).generate_state(2) >> 1
        try:
            policy = config.behaviours[name].build(self.spec, name, dials)
            with self.staging.begin(index, self.spec, config.codec) as staged:
                episode = record_episode(
                    self.env,
                    policy,
                    config.env_id,
                    seed=int(seeds[0]),
                    policy_seed=int(seeds[1]),
                    behaviour=name,
                    options={"factors": config.factors} if config.factors else None,
                    max_steps=config.max_steps,
                    steps_after_success=config.steps_after_success,
                    film=staged.write,
                )
                staged.finish(episode)
        except DiskFullError:
            raise
        except WorldsimError as error:
            kind = UsageError if isinstance(error, UsageError) else DataError
            raise kind(f"episode {index} ({name}): {error}") from error


def record_in_processes(recorder: Recorder, todo: list[int], workers: int) -> Iterator[int]:
    """Record the episodes `todo` in `workers` processes, yielding each when it is durable.

    Raises:
        UsageError: a worker cannot make the env.
        DataError: a policy or env failed, or a worker died.
    """
    from worldsim.envs.registration import registration_of

    context = get_context("spawn")  # GL contexts and threads do not survive a fork
    stop = context.Event()
    config = recorder.config
    registration = registration_of(config.env_id, config.env_kwargs)
    arguments = (config, recorder.staging.root, stop, registration, parts_in_use())
    with _single_threaded():
        pool = ProcessPoolExecutor(min(workers, len(todo)), context, _start_worker, arguments)
        try:
            jobs = [pool.submit(_record_in_worker, index) for index in todo]
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died (killed, or out of memory?); finished episodes are "
                "kept: run the same command again to continue"
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """One thread a worker, software rendering included: processes are what fills the cores."""
    names = ("OMP_NUM_THREADS", "LP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(OMP_NUM_THREADS="1", LP_NUM_THREADS="0")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_WORKER: list[tuple[Recorder | WorldsimError, Any]] = []
"""In a worker process: its recorder, or why it has none, and the event that says stop."""


def _start_worker(
    config: CollectionConfig, root: Path, stop: Any, registration: Any, own_parts: Sequence[str]
) -> None:
    begin_worker_process()  # on Ctrl-C the parent stops it when this episode is finished
    warnings.simplefilter("ignore", QualityWarning)  # the parent has said it of its own env
    _WORKER.append((_recorder(config, root, registration, own_parts), stop))


def _recorder(
    config: CollectionConfig, root: Path, registration: Any, own_parts: Sequence[str]
) -> Recorder | WorldsimError:
    """A worker's recorder. What is raised before its first job would only be seen as its death."""
    from worldsim.envs.registration import adopt

    try:
        import_parts(own_parts)
        adopt(registration)
        return Recorder(config, root)
    except Exception as error:  # whatever somebody else's env raises
        name = "" if isinstance(error, WorldsimError) else f"{type(error).__name__}: "
        return UsageError(
            f"a worker process cannot make the env {config.env_id!r}, which the main process could "
            f"make: {name}{error}. Workers import modules anew: register the env there, with a "
            "class of an importable module, or record in the main process with workers=0"
        )


def _record_in_worker(index: int) -> int:
    recorder, stop = _WORKER[0]
    if isinstance(recorder, WorldsimError):
        raise recorder
    if not stop.is_set():
        recorder.record(index)
    return index
