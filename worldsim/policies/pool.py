"""Policies built by name from configs, one or a whole pool."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from worldsim.config.limits import OneOf
from worldsim.config.values import check_arguments
from worldsim.errors import UsageError, unknown_name
from worldsim.models.weights import read_config
from worldsim.policies.base import POLICIES, Policy, require_action_kind
from worldsim.policies.checkpoints import find_checkpoint, matching_checkpoints
from worldsim.policies.dials import Dials, dialled, split_dials
from worldsim.spec import WorldSpec


def register_policies() -> None:
    """Import every module that registers a policy; they come without their heavy packages."""
    import worldsim.policies.behaviour_cloning
    import worldsim.policies.expert
    import worldsim.policies.frontier
    import worldsim.policies.instructed
    import worldsim.policies.navigation
    import worldsim.policies.planning.planner
    import worldsim.policies.python_policy
    import worldsim.policies.remote_client
    import worldsim.policies.sb3
    import worldsim.policies.scripted.play
    import worldsim.policies.scripted.policy
    import worldsim.policies.simple
    import worldsim.policies.to_and_fro
    import worldsim.policies.wandering  # noqa: F401


def pool_entries(pool: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: entry} of a pool: its `policies`, after what its `checkpoints` stand for.

    Args:
        pool: plain values; `checkpoints` is a pattern, as `matching_checkpoints` takes it, or None.

    Raises:
        UsageError: the pattern finds no checkpoint.
    """
    register_policies()
    pattern = pool.get("checkpoints")
    found = {} if pattern is None else matching_checkpoints(str(pattern))
    entries: dict[str, dict[str, Any]] = {
        name: {"kind": _kind_of(checkpoint), "checkpoint": checkpoint}
        for name, checkpoint in found.items()
    }
    return entries | {
        str(name): dict(entry) for name, entry in (pool.get("policies") or {}).items()
    }


def _kind_of(checkpoint: str) -> str:
    """The policy that reads a checkpoint."""
    kind = str(read_config(find_checkpoint(checkpoint)).get("kind"))
    return kind if kind in POLICIES else "behaviour_cloning"


def check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Hold an entry of a pool to what its kind takes, without building the policy.

    Args:
        entry: `kind`, and options of that policy.
        where: key of the entry in the config.

    Raises:
        UsageError: there is no such kind or option, or a value does not fit.
    """
    register_policies()
    OneOf(lambda: POLICIES).check(entry.get("kind"), f"{where}.kind")
    check_options(entry["kind"], {k: v for k, v in entry.items() if k != "kind"}, where)


def check_options(kind: str, options: Mapping[str, Any], where: str) -> None:
    """Hold options of a registered policy to what it takes, and dials to what they may be.

    Raises:
        UsageError: there is no such option, or a value does not fit.
    """
    make: Callable[..., Any] = POLICIES.get(kind)
    own, dials = split_dials(make, options)
    check_arguments(make, own, where, reserved=("spec", "name"))
    check_arguments(Dials, dials, where)


def build_policy(spec: WorldSpec, name: str, kind: str, /, **options: Any) -> Policy:
    """Build one policy.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        kind: name in the registry `POLICIES`.
        options: arguments of that policy, and any `Dials`.

    Raises:
        UsageError: the kind or an option is unknown, or the policy refuses its arguments.
        SpecMismatchError: it does not speak the world's kind of action.
    """
    check_entry({"kind": kind, **options}, f"policy {name!r}")
    make = cast(Callable[..., Policy], POLICIES.get(kind))
    own, dials = split_dials(make, options)
    what = f"policy {name!r} (kind {kind!r})"
    if isinstance(make, type):  # a class says it before it fails over something that follows
        require_action_kind(make, spec.action, what)
    try:
        policy = make(spec, name=name, **own)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} with {options}: {error}") from error
    require_action_kind(policy, spec.action, what)
    return dialled(policy, spec, dials)


def load_pool(
    config: DictConfig | Mapping[str, Any], spec: WorldSpec, only: Sequence[str] = ()
) -> list[Policy]:
    """Build the policies of a config of group `policy`.

    Args:
        config: `policies`: {name: {"kind": ..., options...}}, in the order of the ranking.
        spec: world they act in.
        only: names to build, in this order; all when empty.

    Raises:
        UsageError: no policies, an unknown name, kind or option.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    entries = plain.get("policies") if isinstance(plain, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        raise UsageError(
            "a policy config needs `policies: {name: {kind: ..., ...}}` with at least one entry"
        )
    for name in only:
        if name not in entries:
            raise unknown_name("policy of this pool", name, map(str, entries))
    return [_build_entry(spec, str(name), entries[name]) for name in (only or entries)]


def _build_entry(spec: WorldSpec, name: str, entry: Any) -> Policy:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kind"), str):
        raise UsageError(f"policy {name!r} of the pool needs a `kind`, got {entry!r}")
    options = {str(key): value for key, value in entry.items() if key != "kind"}
    return build_policy(spec, name, entry["kind"], **options)
