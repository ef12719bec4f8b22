"""An expert that ships with an env: a controller from the simulator's state to an action.

Meta-World's fifty are such. Recorded, it reads the simulator's own state. Ranked, where there is
none, it reads an estimate off the pixels, as the scripted experts do.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.config.limits import Text
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EnvMemory, FloatArray
from worldsim.policies.checkpoints import CheckpointOrNone
from worldsim.policies.python_policy import find_target
from worldsim.policies.scripted.privileged import Estimator, state_source
from worldsim.spec import WorldSpec


@POLICIES.register("expert")
class ExpertPolicy:
    """Somebody's controller, made anew for every episode.

    Only the user's command or pool names it: no data set, checkpoint or model does.

    Args:
        spec: world it acts in; its whole state is what the controller is given.
        name: shown in rankings.
        target: `package.module:Name` or `file.py:Name` of a class or function that makes it.
        method: of the controller, from state float64 `[S]` to an action `[A]` as `spec` has it;
            what is beyond the limits is clipped.
        arguments: keyword arguments of the target.
        perception: checkpoint of a state estimator of the same env; without one `act` reads
            `observation["state"]`.
    """

    def __init__(
        self,
        spec: WorldSpec,
        name: str,
        target: Text,
        method: Text = "get_action",
        arguments: Mapping[str, Any] | None = None,
        perception: CheckpointOrNone = "",
    ) -> None:
        self.name, self.n_action_steps = name, 1
        self._make, self._method = find_target(name, target), method
        self._arguments, self._action = dict(arguments or {}), spec.action
        if not perception and not spec.state.dim:
            raise UsageError(
                f"policy {name!r}: an expert acts on the simulator's state, and this world has "
                "none; give it `perception=CHECKPOINT`, or name its entries with env.state"
            )
        self._state: Estimator
        if perception:
            from worldsim.policies.perception import Perception

            self._state = Perception(spec, perception).estimate
        else:
            self._state = state_source(spec, name, spec.state.names, None, "")
        self._controllers: EnvMemory[Callable[[Any], Any]] = EnvMemory()
        self._begin(0)
        self.forget([0])

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """A fresh controller for each of `env_ids`."""
        for env_id in map(int, env_ids):
            self._begin(env_id)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the controllers of `env_ids`."""
        self._controllers.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`.

        Raises:
            UsageError: there is neither a simulator's state nor an estimate of it.
        """
        states = np.asarray(self._state(observation), np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of actions that are clipped below
            actions = [
                np.asarray(self._controllers[int(i)](state), np.float32)
                for i, state in zip(env_ids, states, strict=True)
            ]
        return self._action.check(np.stack(actions), self.name)[:, None]

    def _begin(self, env_id: int) -> None:
        """Make a controller.

        Raises:
            UsageError: it has no such method.
        """
        controller = self._make(**self._arguments)
        act = getattr(controller, self._method, None)
        if not callable(act):
            raise UsageError(
                f"policy {self.name!r}: {type(controller).__name__} has no method {self._method!r}"
            )
        self._controllers[env_id] = act
