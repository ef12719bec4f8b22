"""Node `env` of several commands: an environment's id and its constructor's arguments."""

from collections.abc import Mapping
from typing import Any

from worldsim.cli.settings.shared import Imports
from worldsim.config.limits import Text
from worldsim.config.values import read_value
from worldsim.envs import ENTRY_POINTS, check_env
from worldsim.envs.tabletop.variation import TABLETOP_FACTORS
from worldsim.errors import UsageError

EnvNode = Mapping[str, Any]
"""`id`, the constructor's arguments, more of these in `kwargs`, and what to `import` first."""
_NO_ARGUMENTS = ("id", "kwargs", "import")


def split_env_node(node: EnvNode) -> tuple[str | None, dict[str, Any]]:
    """The id of a node, and all arguments of the env's constructor.

    What is imported is no argument: it belongs to this command, and is not written into data.
    """
    own = {str(key): value for key, value in node.items() if key not in _NO_ARGUMENTS}
    return node.get("id"), {**(node.get("kwargs") or {}), **own}


def check_env_node(node: EnvNode, factors: Mapping[str, Any], factors_key: str) -> None:
    """Hold a node to what the env's constructor takes, and factors to those that it has.

    Args:
        node: as in the config; without an id there is no env and nothing to check.
        factors: factors of variation that are fixed in every episode.
        factors_key: where they stand in the config.

    Raises:
        UsageError: the env or an argument is unknown, or a value does not fit; names it.
    """
    env_id = read_value(Text | None, node.get("id"), "env.id")
    if env_id is None:
        return
    wanted = node.get("import")
    modules = [] if wanted is None else [wanted] if isinstance(wanted, str) else wanted
    read_value(Imports, modules, "env.import")
    more = read_value(Mapping[str, Any] | None, node.get("kwargs"), "env.kwargs") or {}
    own = {key: value for key, value in node.items() if key not in _NO_ARGUMENTS}
    check_env(env_id, more, "env.kwargs")
    check_env(env_id, own, "env")
    given = {**more, **own}
    try:
        if env_id in ENTRY_POINTS and isinstance(given.get("factors"), str | list):
            TABLETOP_FACTORS.parse(given["factors"])
    except UsageError as error:
        raise UsageError(f"env.factors: {error}") from error
    try:
        if env_id in ENTRY_POINTS:
            TABLETOP_FACTORS.check(factors)
        elif factors:
            raise UsageError(f"{env_id} has no factors of variation; leave them out")
    except UsageError as error:
        raise UsageError(f"{factors_key}: {error}") from error
