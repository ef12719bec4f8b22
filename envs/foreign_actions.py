"""Actions of other people's envs as one vector: boxes, choices, switches, and what nests them.

A choice that is an env's whole action stays one. Every other action becomes a box `[A]`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.spec import ActionFrame, ActionMode, ActionSpec, discrete_actions

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class ActionRequest(Checked):
    """What a user knows of an action, and its space does not tell.

    Attributes:
        mode: "absolute" moves the first entries of proprioception to a place, which is then
            measured from the middle of the action's range.
        frame: in which they are expressed.
        names: one a dimension; absolute actions are named after proprioception by themselves.
        units: one a dimension, such as "m".
    """

    mode: ActionMode = "unknown"
    frame: ActionFrame = "unknown"
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class ActionCodec:
    """What an action means, and what the source is given for it.

    Attributes:
        spec: of the vector `[A]`.
        decode: from a checked vector `[A]` to an element of the source's action space.
        origin: `[A]` of an absolute action, where the source puts what `spec` calls 0.
    """

    spec: ActionSpec
    decode: Callable[[Vector], Any]
    origin: Vector | None = None

    def centred(self, agent_pos: Vector) -> Vector:
        """Proprioception `[P]` whose first entries are measured as an absolute action is."""
        if self.origin is None:
            return agent_pos
        size = len(self.origin)
        return np.concatenate([agent_pos[:size] - self.origin, agent_pos[size:]])


@dataclass(frozen=True)
class _Leaf:
    """A part of an action: its names, what half its range is, and what its vector becomes."""

    names: tuple[str, ...]
    decode: Callable[[Vector], Any]
    half: tuple[float, ...]


def make_codec(
    space: spaces.Space[Any], request: ActionRequest, measured: Sequence[str] = ()
) -> ActionCodec:
    """The codec of an action space.

    Args:
        space: of the source. `MultiBinary` is on where an entry is positive. Of a choice inside a
            larger action the greatest of its entries wins.
        request: what else is known.
        measured: names of proprioception, by which absolute actions are named.

    Raises:
        UsageError: a part has no bounds or is of an unknown kind, or the request does not fit.
    """
    if isinstance(space, spaces.Discrete):
        names = request.names or tuple(f"choice_{i}" for i in range(int(space.n)))
        _require_length(names, int(space.n), "names")
        first = int(space.start)
        return ActionCodec(discrete_actions(names), lambda vector: first + int(vector.argmax()))
    leaf, absolute = _read(space, "action"), request.mode == "absolute"
    size = len(leaf.names)
    names = request.names or (tuple(measured[:size]) if absolute else leaf.names)
    units = request.units or ("1",) * size
    _require_length(names, size, "names")
    _require_length(units, size, "units")
    limits = (-1.0,) * size, (1.0,) * size
    spec = ActionSpec(names, *limits, units, leaf.half, request.mode, request.frame)
    origin = None
    if absolute:
        box = _bounded(space, "absolute action")
        origin = np.ravel((box.low.astype(np.float64) + box.high) / 2).astype(np.float32)
    return ActionCodec(spec, leaf.decode, origin)


def _require_length(given: Sequence[str], size: int, what: str) -> None:
    if len(given) != size or len(set(given)) != size and what == "names":
        raise UsageError(
            f"env.action.{what} is {list(given)}; expected {size}, one for each dimension of the "
            "env's action, and names that differ"
        )


def _read(space: spaces.Space[Any], name: str) -> _Leaf:
    """A space, with the spaces inside it."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _nested(space, name)
    if isinstance(space, spaces.MultiBinary):
        shape = space.shape
        names = _numbered(name, prod(shape))
        return _Leaf(names, lambda v: (v > 0).astype(np.int8).reshape(shape), (1.0,) * len(names))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return _choices(space, name)
    box = _bounded(space, name)
    low, high = (np.ravel(side).astype(np.float64) for side in (box.low, box.high))
    # In single precision, as sources take it.
    middle, half = ((low + high) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)
    return _Leaf(
        _numbered(name, len(low)),
        lambda vector: _shaped(middle + half * vector, box),
        tuple(map(float, (high - low) / 2)),
    )


def _choices(space: spaces.Discrete | spaces.MultiDiscrete, name: str) -> _Leaf:
    """Choices inside a larger action: an entry for each, of which the greatest wins."""
    several = isinstance(space, spaces.MultiDiscrete)
    sizes: Any = space.nvec if isinstance(space, spaces.MultiDiscrete) else space.n
    counts = [int(n) for n in np.ravel(sizes)]
    firsts = np.ravel(space.start)
    ends = np.cumsum(counts)[:-1]

    def decode(vector: Vector) -> Any:
        chosen = [int(np.argmax(part)) for part in np.split(vector, ends)]
        found = (np.asarray(chosen) + firsts).astype(np.int64)
        return found.reshape(space.shape) if several else int(found[0])

    stems = [f"{name}_{i}" for i in range(len(counts))] if several else [name]
    names = tuple(f"{stem}_{i}" for stem, n in zip(stems, counts, strict=True) for i in range(n))
    return _Leaf(names, decode, (1.0,) * len(names))


def _nested(space: "spaces.Dict | spaces.Tuple[Any]", name: str) -> _Leaf:
    """The parts one after the other, in the space's order."""
    named = isinstance(space, spaces.Dict)
    parts = dict(_parts(space))
    stem = "" if named else f"{name}_"
    leaves = {key: _read(part, f"{stem}{key}") for key, part in parts.items()}
    ends = np.cumsum([len(leaf.names) for leaf in leaves.values()])[:-1]

    def decode(vector: Vector) -> Any:
        pieces = zip(leaves.items(), np.split(vector, ends), strict=True)
        decoded = {key: leaf.decode(piece) for (key, leaf), piece in pieces}
        return decoded if named else tuple(decoded.values())

    names = tuple(n for leaf in leaves.values() for n in leaf.names)
    if len(set(names)) < len(names):  # two dicts inside may use one key
        names = _numbered(name, len(names))
    return _Leaf(names, decode, tuple(h for leaf in leaves.values() for h in leaf.half))


def _parts(space: "spaces.Dict | spaces.Tuple[Any]") -> Iterator[tuple[Any, spaces.Space[Any]]]:
    inner = space.spaces
    yield from inner.items() if isinstance(inner, dict) else enumerate(inner)


def _bounded(space: spaces.Space[Any], name: str) -> spaces.Box:
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        raise UsageError(
            f"the env's {name} is {space}; expected a bounded Box, Discrete, MultiDiscrete, "
            "MultiBinary, or a Dict or Tuple of these; an action without bounds needs a wrapper "
            "that bounds it, such as gymnasium.wrappers.RescaleAction"
        )
    return space


def _shaped(vector: NDArray[Any], box: spaces.Box) -> NDArray[Any]:
    """An element of a box; whole numbers are rounded to."""
    values = np.rint(vector) if box.dtype.kind in "iu" else vector
    return values.reshape(box.shape).astype(box.dtype)


def _numbered(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}_{i}" for i in range(count))


def renamed(codec: ActionCodec, **changes: Any) -> ActionCodec:
    """The same vector with another meaning: fields of its spec that a robot's model tells."""
    return replace(codec, spec=replace(codec.spec, **changes))
