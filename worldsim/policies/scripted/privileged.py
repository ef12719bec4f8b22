"""Where a scripted policy takes the scene's state from."""

from collections.abc import Callable, Sequence

import numpy as np

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import FloatArray
from worldsim.spec import VectorSpec, WorldSpec

Estimator = Callable[[Observation], FloatArray]
"""From a batched observation to the state `[N, S]`."""


def state_source(
    spec: WorldSpec,
    name: str,
    entries: Sequence[str],
    estimator: Estimator | None,
    perception: str,
) -> Estimator:
    """Choose between an estimator, a perception checkpoint and the simulator's own state.

    Args:
        spec: world it is used in.
        name: of the policy, for messages.
        entries: names of what is returned, in order, out of the source's state.
        estimator: used if given; returns the state of `spec`.
        perception: checkpoint of a `Perception`, used if named.

    Raises:
        UsageError: both are given, or the checkpoint cannot be used or lacks an entry; on a call
            without either, the observation lacks `state`.
    """
    if estimator is not None and perception:
        raise UsageError(f"policy {name!r}: give either `estimator` or `perception`, not both")
    if estimator is not None:
        return _entries(estimator, spec.state, entries, name)
    if perception:
        from worldsim.policies.perception import Perception

        reader = Perception(spec, perception)
        return _entries(reader.estimate, reader.state, entries, name)

    def simulator_state(observation: Observation) -> FloatArray:
        if observation.get("state") is None:
            raise UsageError(
                f"policy {name!r}: scripted policies need privileged state or a state estimator; "
                "put the simulator's info['state'] into observation['state'], or give the policy "
                "`perception=CHECKPOINT`"
            )
        return np.asarray(observation["state"], np.float32)

    return _entries(simulator_state, spec.state, entries, name)


def _entries(source: Estimator, given: VectorSpec, wanted: Sequence[str], name: str) -> Estimator:
    """`source`, of which only the entries `wanted` are returned."""
    columns = given.indices(*wanted)
    if columns is None:
        raise UsageError(f"policy {name!r} needs the state {tuple(wanted)}, given {given.names}")

    def chosen(observation: Observation) -> FloatArray:
        return source(observation)[:, list(columns)]

    return chosen
