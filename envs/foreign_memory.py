"""What an episode of somebody else's env depends on beside MuJoCo's state: saved and restored.

A seed alone fixes the start only if nothing of earlier episodes is left. So before a seeded reset
everything goes back to how a fresh env had it: physics, numbers of the model, Python attributes;
and every random generator is seeded.
"""

import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.foreign_attributes import Attributes, Path, equal
from worldsim.envs.global_draws import GlobalDraws
from worldsim.envs.physics import (
    get_numbers,
    get_physics,
    set_numbers,
    set_physics,
)

Scene = dict[str, Any]
"""What differs from a fresh env: `numbers` of the model, Python `attributes`, and the states of
all `generators`, the global `draws` among them."""


class PythonMemory:
    """Attributes and random generators of an env; made after its first reset, which is its origin.

    Args:
        env: the env with its gymnasium wrappers.
        draws: the env's own state of the global generators.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], draws: GlobalDraws) -> None:
        self._attributes, self._draws = Attributes(env), draws
        self._values = self._attributes.read()
        self._seed(None)

    def begin_again(self, seed: int) -> None:
        """Attributes as at the origin, and every generator seeded anew."""
        self._attributes.write(self._values)
        self._seed(seed)

    def _seed(self, seed: int | None) -> None:
        """Seed all generators; None: from the operating system."""
        generators = self._attributes.generators()
        sequences = np.random.SeedSequence(seed).spawn(len(generators))
        for path, sequence in zip(sorted(generators, key=str), sequences, strict=True):
            _seed_one(generators[path], sequence)
        self._draws.seed(seed)


class SourceMemory(PythonMemory):
    """Saves and restores a MuJoCo env; see `PythonMemory`.

    Args:
        env: the env with its gymnasium wrappers.
        model: compiled at its first reset.
        data: its data.
        draws: the env's own state of the global generators.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        model: mujoco.MjModel,
        data: mujoco.MjData,
        draws: GlobalDraws,
    ) -> None:
        self._numbers = get_numbers(model)
        self._physics: NDArray[np.float64] = get_physics(model, data)
        super().__init__(env, draws)

    def rewind(self, model: mujoco.MjModel, data: mujoco.MjData, seed: int) -> None:
        """Go back to the origin, with every generator seeded anew.

        A model of other sizes than the origin's is left alone: its env compiles one at a reset.
        """
        now = get_numbers(model)
        if all(now[name].shape == value.shape for name, value in self._numbers.items()):
            set_numbers(model, self._numbers)
            set_physics(model, data, self._physics)
        self.begin_again(seed)

    def scene(self, model: mujoco.MjModel) -> Scene:
        """What differs from the origin now."""
        return {
            "numbers": _changed(get_numbers(model), self._numbers),
            "attributes": _changed(self._attributes.read(), self._values),
            "generators": {
                path: _state_access(one)[0]() for path, one in self._attributes.generators().items()
            },
            "draws": self._draws.get_state(),
        }

    def restore(self, model: mujoco.MjModel, scene: Scene) -> None:
        """Restore `scene` output.

        Raises:
            UsageError: it is of a model of other sizes.
        """
        set_numbers(model, {**self._numbers, **scene["numbers"]})
        self._attributes.write({**self._values, **scene["attributes"]})
        generators = self._attributes.generators()
        states: dict[Path, Any] = scene["generators"]
        for path in sorted(generators.keys() & states.keys(), key=str):
            _state_access(generators[path])[1](states[path])
        self._draws.set_state(scene["draws"])


def _seed_one(generator: Any, sequence: np.random.SeedSequence) -> None:
    if isinstance(generator, np.random.Generator):
        bits: Any = generator.bit_generator
        bits.state = type(bits)(sequence).state
    elif isinstance(generator, random.Random):
        generator.seed(int(sequence.generate_state(1, np.uint64)[0]))
    else:
        fresh = np.random.RandomState(np.random.MT19937(sequence))
        generator.set_state(fresh.get_state(legacy=False))


def _state_access(generator: Any) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """What reads the state of a random generator, and what writes it."""
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate
    return partial(generator.get_state, legacy=False), generator.set_state


def _changed(now: Mapping[Any, Any], before: Mapping[Any, Any]) -> dict[Any, Any]:
    """Entries that were not there before, or otherwise."""
    return {
        name: value
        for name, value in now.items()
        if name not in before or not equal(value, before[name])
    }
