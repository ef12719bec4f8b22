"""Whether a policy made for one world can act in another."""

from worldsim.errors import SpecMismatchError
from worldsim.spec import ActionSpec, WorldSpec


def require_same_interface(policy: WorldSpec, env: WorldSpec, what: str) -> None:
    """Compare what a policy reads and writes; the privileged state is none of its business.

    The environment may have more cameras than the policy looks at.

    Args:
        policy: the world the policy was made for.
        env: the world it is to act in.
        what: the policy, for the message ("checkpoint runs/a").

    Raises:
        SpecMismatchError: names every difference, with both values.
    """
    differences = [
        f"{field}: made for {getattr(policy, field)}, given {getattr(env, field)}"
        for field in ("fps", "action", "agent_pos")
        if not policy.agrees(env, field)
    ]
    lacking = [c for c in policy.cameras if not any(map(c.fits, env.cameras))]
    if lacking:
        differences.append(f"cameras: looks at {lacking}, given {list(env.cameras)}")
    if differences:
        raise SpecMismatchError(
            f"{what} does not fit this environment; "
            + "; ".join(differences)
            + ". Use a policy made with the environment's own spec."
        )


def require_action_kind(policy: object, action: ActionSpec, what: str) -> None:
    """Refuse a policy that does not speak the environment's kind of action.

    Args:
        policy: a policy or its class. It says in `action_kinds` which kinds it speaks; without
            that, it speaks "box" alone.
        action: what the environment takes.
        what: the policy, for the message.

    Raises:
        SpecMismatchError: it speaks other kinds.
    """
    kinds: tuple[str, ...] = getattr(policy, "action_kinds", ("box",))
    if action.kind not in kinds:
        raise SpecMismatchError(
            f"{what} speaks {' and '.join(kinds)} actions, the environment takes {action.kind} "
            f"ones ({', '.join(action.names)}); use a policy whose `action_kinds` has "
            f"{action.kind!r}"
        )
