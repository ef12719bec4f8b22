"""Serve a policy of a pool over openpi's websocket protocol, for rankings in another interpreter.

    python scripts/serve_policy.py name=bc_3 port=8000
    python scripts/serve_policy.py policy=pool_pick_place env=pick_place name=expert

Pages of web sites are refused, but for those of `origins=http://localhost:3000,...`.
Then rank it from elsewhere with `worldsim rank policy=remote policy.policies.remote.port=8000 ...`.
"""

import sys

from omegaconf import OmegaConf

from worldsim.config.compose import compose_config
from worldsim.envs import make
from worldsim.errors import UsageError, WorldsimError
from worldsim.policies.pool import load_pool
from worldsim.policies.remote_server import serve_policy


def main(arguments: list[str]) -> None:
    """Serve what `name=`, `policy=`, `env=`, `host=`, `port=` and `origins=` say."""
    own = {"name": "", "host": "127.0.0.1", "port": "8000", "origins": ""}
    choices = ("policy=", "env=", "policy.", "env.", "+policy.")
    overrides = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in own:
            own[key] = value
        elif argument.startswith(choices):
            overrides.append(argument)
        else:
            raise UsageError(f"unknown argument {argument!r}; known: {', '.join(own)}, policy, env")
    if not own["name"] or not own["port"].isdigit():
        raise UsageError("give name=POLICY, one of the pool, and port=NUMBER")
    config = compose_config("rank", ["out=unused", *overrides])
    settings = OmegaConf.to_container(config.env, resolve=True)
    assert isinstance(settings, dict)
    kwargs = {str(key): value for key, value in settings.items() if value is not None}
    env = make(str(kwargs.pop("id")), **kwargs)
    spec = env.unwrapped.spec_world  # type: ignore[attr-defined]
    env.close()
    policy = load_pool(config.policy, spec, only=[own["name"]])[0]
    origins = [origin for origin in own["origins"].split(",") if origin]
    serve_policy(policy, spec, own["host"], int(own["port"]), origins=origins)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WorldsimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
