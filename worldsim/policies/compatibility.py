"""Whether a policy made for one world can act in another."""

from worldsim.errors import SpecMismatchError
from worldsim.spec import WorldSpec


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
