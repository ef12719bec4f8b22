"""The simulator a data set was recorded in, put back to the starts of its episodes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from worldsim.data.cache import CachedDataset
from worldsim.data.layout import read_info, recorded_in
from worldsim.errors import DataError


@contextmanager
def recorded_env(cache: CachedDataset, **changes: Any) -> Iterator[Any]:
    """The env that the data set names, without wrappers; closes it.

    Args:
        cache: the data set.
        changes: of the env's recorded keyword arguments.

    Raises:
        DataError: the data set names no env.
    """
    from worldsim.envs import make

    info = recorded_in(read_info(cache.root))
    if not info.get("id"):
        raise DataError(f"{cache.root} does not say which environment it was recorded in")
    env = make(str(info["id"]), **{**dict(info.get("kwargs") or {}), **changes})
    try:
        yield env.unwrapped
    finally:
        env.close()


def begin_again(env: Any, cache: CachedDataset, episode: int) -> None:
    """Put the env to the stored start of an episode; where none is stored, its seed is replayed.

    Raises:
        DataError: the data set has neither state nor seed of it.
    """
    meta = cache.metas[episode]
    if not meta.initial_state:
        if meta.seed is None:
            raise DataError(f"{cache.root}: episode {episode} has no stored initial state")
        env.reset(seed=meta.seed, options={"factors": meta.factors} if meta.factors else None)
        return
    physics = np.asarray(meta.initial_state, np.float64)
    state = {"physics": physics, "factors": meta.factors}
    env.reset(seed=meta.seed, options={"initial_state": state})
