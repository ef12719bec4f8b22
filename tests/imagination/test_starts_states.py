"""States of starts as the model wants them: given, read by a judge, or unknown."""

from dataclasses import replace

import numpy as np
from worldsim_testing import nano_spec, nano_start

from worldsim.envs.imagination.start import Start, stack_states
from worldsim.spec import VectorSpec


def test_states_are_given_or_read_or_unknown() -> None:
    pixels, agent = (nano_start(1)[name][0] for name in ("pixels", "agent_pos"))
    given = Start(pixels, agent, "", state=np.ones(2, np.float32))
    bare, spec = Start(pixels, agent, ""), nano_spec()
    read = np.full((2, 2), 5.0, np.float32)
    np.testing.assert_array_equal(stack_states([given, bare], read, spec), [[1, 1], [5, 5]])
    # A judge that was never told the state reads none.
    none = np.zeros((2, 0), np.float32)
    stacked = stack_states([given, bare], none, spec)
    np.testing.assert_array_equal(stacked, [[1, 1], [np.nan, np.nan]])
    # A model without it is told none.
    stateless = replace(spec, state=VectorSpec((), ()))
    assert stack_states([given, bare], read, stateless).shape == (2, 0)
