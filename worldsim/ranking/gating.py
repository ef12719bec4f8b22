"""Rates without the imagined rollouts that cannot be relied on, beside those of all of them.

A rollout that passes its gate's limit (`worldsim.judge.gate`) before its verdict ends as unknown.
The reference keeps all starts: what is to be told is how policies do from all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.judge.gate import GateLimit
from worldsim.judge.gates import GATES
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.correlation import Coefficients
from worldsim.rollout.episodes import RolloutBatch

Float = NDArray[np.float64]


@dataclass(frozen=True)
class GatedRanking:
    """The ranking by rollouts that the gate lets pass.

    Attributes:
        limit: of the gate.
        coverage: {policy: share of its rollouts with a known end}.
        imagined: {policy: rate over those}.
        coefficients: agreement of these rates with the reference; None where the gate rejects
            every rollout.
    """

    limit: GateLimit
    coverage: dict[str, float]
    imagined: dict[str, Estimate]
    coefficients: Coefficients | None

    @property
    def covered(self) -> float:
        """Mean coverage of the policies."""
        return float(np.mean(list(self.coverage.values()))) if self.coverage else 0.0

    def to_json(self) -> dict[str, Any]:
        """For `ranking.json`."""
        return {
            "kind": self.limit.kind,
            "limit": self.limit.limit,
            "window": self.limit.window,
            "quantile": self.limit.quantile,
            "coverage": self.covered,
            "policies": {
                name: {"coverage": self.coverage[name], **rate.to_json()}
                for name, rate in self.imagined.items()
            },
            "coefficients": self.coefficients.to_json() if self.coefficients else None,
        }

    def notes(self) -> list[str]:
        """Coverage, and how the agreement changes, in words."""
        if self.coefficients is None:
            return [
                "The gate rejects every imagined rollout: none "
                f"{GATES.get(self.limit.kind).passes} as well as {self.limit.quantile:.0%} of "
                "held-out replays do. All other figures are of all rollouts."
            ]
        least = min(self.coverage, key=lambda name: self.coverage[name])
        found = self.coefficients
        return [
            f"The gate ({self.limit.kind}) lets {self.covered:.0%} of imagined rollouts pass "
            f"(least of {least}: {self.coverage[least]:.0%}). By these, Pearson is "
            f"{found.pearson.text(3)}, MMRV {found.mmrv.text(3)}; all other figures are of all "
            "rollouts."
        ]


def unknown(batch: RolloutBatch, limit: GateLimit) -> NDArray[np.bool_] | None:
    """Which rollouts `[N]` passed the limit before their verdict; None where nobody looked.

    What broke off through its policy has failed, whatever was imagined.
    """
    found = []
    for trajectory, error in zip(batch.trajectories, batch.errors, strict=True):
        if error is not None:
            found.append(False)
        elif trajectory.gate_error is None:
            return None
        else:
            passed = limit.crossing(trajectory.gate_error)
            first = int(np.argmax(trajectory.success)) if trajectory.success.any() else None
            found.append(passed is not None and (first is None or passed <= first))
    return np.array(found, bool)


def gated_table(
    table: Float, batches: Sequence[RolloutBatch], limit: GateLimit
) -> tuple[Float, list[float]] | None:
    """A metric `[P, N]` with NaN where a rollout ends as unknown, and the coverage of each policy.

    None where some rollouts were not looked at.
    """
    masks = [unknown(batch, limit) for batch in batches]
    known = [mask for mask in masks if mask is not None]
    if len(known) < len(masks) or not masks:
        return None
    return np.where(np.stack(known), np.nan, table), [float(1 - mask.mean()) for mask in known]
