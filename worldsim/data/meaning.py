"""The world of a data set that others recorded, and what its actions mean, and why.

Legend: N rows, T actions between T+1 observations, A action, P proprioception.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.action_evidence import ActionEvidence, action_evidence
from worldsim.data.channels import ACTION, STATE
from worldsim.data.columns import RowFiles
from worldsim.data.features import derive_spec
from worldsim.data.records import DatasetIndex
from worldsim.spec import WorldSpec

LOOKED_AT = 60
"""Episodes that are looked at for what actions mean."""

Vectors = tuple[NDArray[Any], NDArray[Any]]
"""`[T, A]` actions and `[T+1, P]` proprioception of an episode."""


def recorded_vectors(index: DatasetIndex, files: RowFiles) -> list[Vectors]:
    """Actions and proprioception of the first episodes; those that hold NaN are left out."""
    names = [name for name in (ACTION, STATE) if name in index.info["features"]]
    found = []
    for action, *states in files.vectors(names, LOOKED_AT):
        state = states[0] if states else np.zeros((len(action), 0))
        if len(action) > 1 and np.isfinite(action).all() and np.isfinite(state).all():
            found.append((action[:-1], state))
    return found


def described(index: DatasetIndex, files: RowFiles, root: Path) -> tuple[WorldSpec, ActionEvidence]:
    """The world that features and rows show, and the evidence of its action.

    Raises:
        DataError: no colour camera, no action, or rows that cannot be read.
    """
    known = ACTION in index.info["features"]
    low, high = files.extremes(ACTION) if known else ([], [])
    spec = derive_spec(index.info, index.cameras, low, high, root)
    recorded = recorded_vectors(index, files)
    evidence = action_evidence(recorded, spec.action.names, spec.agent_pos.names)
    return spec, evidence
