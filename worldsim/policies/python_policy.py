"""A policy of the user's own Python code, named in a pool by file and name.

Only the user's command or pool names it: no data set, checkpoint or model does.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from inspect import signature
from typing import Any

from worldsim.errors import UsageError
from worldsim.own_imports import own_module
from worldsim.policies.base import POLICIES, Policy
from worldsim.spec import WorldSpec


def own_policy(
    spec: WorldSpec, name: str, target: str, arguments: Mapping[str, Any] | None = None
) -> Policy:
    """Build the policy that `target` makes.

    Args:
        spec: world it acts in; passed on if the target has a parameter of that name.
        name: shown in rankings.
        target: `path/to/file.py:Name` or `package.module:Name`, where Name is a class or function
            that returns a `worldsim.policies.base.Policy`. A file may import modules beside it.
        arguments: keyword arguments for it.

    Raises:
        UsageError: there is no such file, module or name, or what it makes is no policy.
    """
    make = find_target(name, target)
    given = dict(arguments or {})
    if "spec" in signature(make).parameters:
        given["spec"] = spec
    policy = make(**given)
    with suppress(AttributeError):
        policy.name = name
    if not isinstance(policy, Policy):
        raise UsageError(
            f"policy {name!r}: {target} makes {type(policy).__name__}, no policy; it needs "
            "n_action_steps, reset(env_ids, seed) and act(observation, env_ids)"
        )
    return policy


def find_target(name: str, target: str) -> Callable[..., Any]:
    """The class or function that a pool names.

    Args:
        name: of the policy, for messages.
        target: see `own_policy`.

    Raises:
        UsageError: there is no such file, module or name.
    """
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise UsageError(
            f"policy {name!r}: target is {target!r}, expected file.py:Name or package.module:Name"
        )
    module = own_module(place, "policy")
    make: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(make):
        raise UsageError(f"policy {name!r}: {place} has no class or function {attribute!r}")
    return make


POLICIES.register("python")(own_policy)  # type: ignore[arg-type]
