"""Where a scripted policy takes the scene's state from."""

from collections.abc import Callable

import numpy as np

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import FloatArray
from worldsim.specs import WorldSpec

Estimator = Callable[[Observation], FloatArray]
"""From a batched observation to the state `[N, S]`."""


def state_source(
    spec: WorldSpec, name: str, estimator: Estimator | None, perception: str
) -> Estimator:
    """Choose between an estimator, a perception checkpoint and the simulator's own state.

    Args:
        spec: world it is used in.
        name: of the policy, for messages.
        estimator: used if given.
        perception: checkpoint of a `StateEstimator`, used if named.

    Raises:
        UsageError: both are given, or the checkpoint cannot be used; on a call without either,
            the observation lacks `state`.
    """
    if estimator is not None and perception:
        raise UsageError(f"policy {name!r}: give either `estimator` or `perception`, not both")
    if estimator is not None:
        return estimator
    if perception:
        from worldsim.policies.perception import StateEstimator

        return StateEstimator(spec, perception).estimate

    def simulator_state(observation: Observation) -> FloatArray:
        if observation.get("state") is None:
            raise UsageError(
                f"policy {name!r}: scripted policies need privileged state or a state estimator; "
                "put the simulator's info['state'] into observation['state'], or give the policy "
                "`perception=CHECKPOINT`"
            )
        return np.asarray(observation["state"], np.float32)

    return simulator_state
