"""Mixtures of behaviour: who acts in which episode, and with which dials.

A world model that saw experts only imagines success whatever is done, so collections mix experts
with noisy, failing and aimless behaviour.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worldsim.config.limits import OneOf, Positive
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, Policy
from worldsim.policies.pool import build_policy, check_options, register_policies
from worldsim.spec import WorldSpec

BLOCK = 20
"""Episodes after which the shares of a mixture are met as nearly as whole numbers allow."""

OWN_KINDS = ("python", "expert")
"""Policies whose options name code of the user's own."""

_ORDER, _DIALS = 1, 2


@dataclass(frozen=True)
class Behaviour(Checked):
    """One part of a mixture.

    Attributes:
        weight: share of the episodes, relative to the other weights.
        policy: registered policy name; `python` and `expert` bring one's own.
        options: arguments of the policy, and dials of any policy.
        dials: the same, drawn anew for each episode, uniformly between two bounds.
    """

    weight: Positive
    policy: str
    options: dict[str, Any] = field(default_factory=dict)
    dials: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, bounds in self.dials.items():
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise UsageError(f"dials.{name} is {list(bounds)}; expected bounds [low, high]")

    def check_policy(self, where: str) -> None:
        """Refuse options and dials that the policy will not take in some episode.

        Args:
            where: key of this behaviour in the config.

        Raises:
            UsageError: the policy is unknown, or does not take an argument or its value.
        """
        register_policies()
        OneOf(lambda: POLICIES).check(self.policy, f"{where}.policy")
        check_options(self.policy, self.options, f"{where}.options")
        for place in (0.0, 0.37, 1.0):  # of a draw; what lies between may be no whole number
            drawn = {name: low + place * (high - low) for name, (low, high) in self.dials.items()}
            check_options(self.policy, drawn, f"{where}.dials")

    def build(self, spec: WorldSpec, name: str, rng: np.random.Generator) -> Policy:
        """The policy of one episode.

        Raises:
            UsageError: unknown policy, or options that it does not take.
        """
        drawn = {dial: float(rng.uniform(*bounds)) for dial, bounds in self.dials.items()}
        return build_policy(spec, name, self.policy, **{**self.options, **drawn})


def choose(behaviours: Mapping[str, Behaviour], seed: int, index: int) -> str:
    """Name of the behaviour of episode `index`; depends on the arguments only.

    Shares are met in every block of episodes and shuffled inside it, so that no fixed stride
    through a collection (a validation split, say) sees a part of the mixture only.
    """
    names = sorted(behaviours)
    weights = np.array([behaviours[name].weight for name in names])
    shares = np.cumsum(weights / weights.sum())
    block, place = divmod(index, BLOCK)
    order = np.random.default_rng([seed, block, _ORDER]).permutation(BLOCK)
    # Quantiles of the mixture, shifted from block to block so that rare parts come up in turn.
    offset = np.random.default_rng([seed, _ORDER]).random() + block * 0.6180339887498949
    quantile = (order[place] + offset % 1.0) / BLOCK
    return names[min(int(np.searchsorted(shares, quantile, "right")), len(names) - 1)]


def dial_generator(seed: int, index: int) -> np.random.Generator:
    """Randomness of an episode's dials."""
    return np.random.default_rng([seed, index, _DIALS])
