"""Recorded episodes imagined again: the model's own frames under the recorded actions.

With agent and objects as recorded, what is recorded of a row, its frame and labels, holds for the
imagined one, however far one imagines. Where a model carries no objects, it holds for the few steps
that it takes to go astray.

Legend: N rows of a data set, n streams, E episodes, V view, H, W pixels, P proprioception, S state,
A action.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.channels import extra_channels
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import WorldSpec

Rows = NDArray[np.int64]
Actions = NDArray[np.float32]


def recorded_rig(rigs: Any, episodes: Rows) -> dict[str, NDArray[Any]]:
    """Calibration of some episodes as `Stream.reset` takes it; intrinsics of what is unknown are 0.

    Args:
        rigs: `RigArrays` of a data set.
        episodes: `[n]` their numbers.
    """
    names = ("intrinsics", "extrinsics", "mounted")
    rig = {name: np.asarray(getattr(rigs, name))[episodes] for name in names}
    known = np.asarray(rigs.known)[episodes]
    return rig | {"intrinsics": rig["intrinsics"] * known[..., None, None]}


def recorded_extras(
    recorded: CachedDataset, rows: Rows, spec: WorldSpec
) -> dict[str, NDArray[Any]]:
    """Optional channels of `rows` `[n]` as `Stream.reset` takes them, where `spec` records them."""
    there, here = extra_channels(recorded.spec), extra_channels(spec)
    alike = (name for name in recorded.extras if there[name] == here.get(name))
    return {name: np.asarray(recorded.extras[name][rows]) for name in alike}


def replay_recorded(
    model: WorldModel,
    recorded: CachedDataset,
    begin: Rows,
    steps: int | Rows,
    guided: bool = True,
    before: Callable[[Stream, Actions], None] = lambda stream, actions: None,
) -> Iterator[tuple[Rows, Stream]]:
    """Imagine `steps` observations from each of the rows `begin` on, along the recording.

    Beyond the end of an episode its last action is repeated.

    Args:
        model: the world model.
        recorded: the data set.
        begin: `[n]` rows, none of them the last of its episode.
        steps: how far, `[n]` or the same for all. Streams that are through drop out.
        guided: whether agent and objects go as recorded, or as the model's dynamics have it.
        before: is shown the streams and their actions `[n, A]` before every step.

    Yields:
        The rows `[n]` that the streams have reached, and the streams; the same object every time.
    """
    bounds = np.asarray(recorded.episode_start)
    episodes = np.searchsorted(bounds, begin, side="right") - 1
    last, lengths = bounds[episodes + 1] - 1, np.broadcast_to(steps, begin.shape)
    stream = Stream.of(model, Sampler.default(model))
    stream.reset(
        np.asarray(recorded.pixels[begin]),
        np.asarray(recorded.agent_pos[begin]),
        recorded_rig(recorded.rigs, episodes),
        begin.tolist(),
        state=np.asarray(recorded.state[begin]),
        views=recorded.views_seen[episodes],
        extras=recorded_extras(recorded, begin, model.spec),
    )
    for step in range(int(lengths.max(initial=0))):
        if (over := lengths == step).any():
            stream.select(np.flatnonzero(~over).tolist())
            begin, last, lengths = begin[~over], last[~over], lengths[~over]
        from_row, to_row = np.minimum(begin + step, last - 1), np.minimum(begin + step + 1, last)
        states = _recorded_states(model, recorded, to_row) if guided else None
        actions = np.asarray(recorded.action[from_row], np.float32)
        before(stream, actions)
        stream.act(actions, states)
        yield to_row, stream


def _recorded_states(model: WorldModel, recorded: CachedDataset, rows: Rows) -> NDArray[Any]:
    """What the model carries as numbers, `[n, D]`, as it was recorded."""
    agent, objects = (
        torch.from_numpy(np.asarray(part[rows], np.float32))
        for part in (recorded.agent_pos, recorded.state)
    )
    return np.asarray(model.dynamics.join(agent, objects).numpy())
