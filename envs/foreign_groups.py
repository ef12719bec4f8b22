"""Which geom groups of a model are drawn: what is seen, not what collides."""

import warnings
from collections.abc import Sequence
from typing import Annotated

import mujoco
import numpy as np

from worldsim.config.limits import Limit, between
from worldsim.errors import QualityWarning, UsageError

DEFAULT = (0, 1, 2)
"""What MuJoCo draws by itself; models in the style of the menagerie collide in group 3."""


GeomGroups = Annotated[
    Sequence[Annotated[int, between(0, mujoco.mjNGROUP - 1)]],
    Limit(f"numbers of 0 to {mujoco.mjNGROUP - 1}, as in [1, 2]", lambda groups: len(groups) > 0),
]
"""Geom groups to draw."""


def choose_groups(model: mujoco.MjModel, requested: Sequence[int] | None) -> tuple[int, ...]:
    """The requested groups; else MuJoCo's, without group 0 where it holds collision shapes.

    Raises:
        UsageError: the request is no list of group numbers.
    """
    last = mujoco.mjNGROUP - 1
    if requested is not None:
        groups = tuple(requested) if not isinstance(requested, str) else ()
        known = all(type(group) is int and 0 <= group <= last for group in groups)
        if not groups or not known:
            raise UsageError(
                f"geom_groups is {requested!r}; expected numbers of 0 to {last}, as in [1, 2]; "
                f"null takes {list(DEFAULT)}"
            )
        return tuple(sorted(set(groups)))
    return DEFAULT[1:] if collides_in_group_0(model) else DEFAULT


def collides_in_group_0(model: mujoco.MjModel) -> bool:
    """Whether group 0 holds collision shapes that stand in front of visual ones, as robosuite's do.

    So it is if every shape of group 0 collides, and most bodies that have one also have a shape
    in group 1 or 2 that is only seen.
    """
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    drawn = model.geom_rgba[:, 3] > 0
    first = (model.geom_group == 0) & drawn
    only_seen = np.isin(model.geom_group, DEFAULT[1:]) & ~collides & drawn
    bodies = set(model.geom_bodyid[first].tolist())
    dressed = bodies & set(model.geom_bodyid[only_seen].tolist())
    return bool(collides[first].all()) and 2 * len(dressed) > len(bodies)


def warn_of_groups(groups: Sequence[int], requested: Sequence[int] | None, source: str) -> None:
    """Say so where shapes are left out that MuJoCo itself would draw."""
    if requested is None and tuple(groups) != DEFAULT:
        warnings.warn(
            f"{source}: geom group 0 holds collision shapes in front of visual ones and is not "
            f"drawn; env.geom_groups={list(DEFAULT)} draws it",
            QualityWarning,
            stacklevel=2,
        )
