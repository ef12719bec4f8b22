"""How many product files one imagined step enters, counted by tracing it.

Run as a script, with `tests/helpers` on the path, it prints them.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from imagination_testing import nano_env, nano_vector_env
from trace_testing import traced

from worldsim.spec import ActionSpec

OWN = ("envs/imagination/", "worldsim/sampling/", "worldsim/diffusion/")
MOST = 25
"""Product files that a step may enter."""


def entered(run: Callable[[], Any]) -> Counter[str]:
    """Product files whose functions `run` calls, and how many calls each gets."""
    found: Counter[str] = Counter()
    with traced(found):
        run()
    return found


def imagined_step() -> Counter[str]:
    """Files that a warm step of one imagined env enters."""
    env = nano_env(max_episode_steps=9, sampling_steps=2)
    env.reset(seed=0)
    action = env.action_space.sample()
    env.step(action)
    return entered(lambda: env.step(action))


def test_an_imagined_step_enters_few_product_files() -> None:
    """18 is the aim. Outside of sampling and envs a step enters the denoiser (5), the dynamics of a
    table (2), conditioners (3), cameras (2), tokenizer, world model, judge (2), the action's spec
    and conventions; within them, the files named here."""
    files = imagined_step()
    assert len(files) <= MOST, sorted(files)
    own = {name for name in files if name.startswith(OWN)}
    assert own <= {
        "envs/imagination/single.py",  # the gymnasium interface
        "envs/imagination/engine.py",  # model and judge together
        "worldsim/sampling/stream.py",  # what users hold
        "worldsim/sampling/stream_rows.py",  # actions queued, and where they lead
        "worldsim/sampling/chunk_sampler.py",  # a pass
        "worldsim/sampling/context.py",  # keys and values
        "worldsim/diffusion/flow.py",  # noise and the solver's step
    }


@pytest.mark.parametrize("num_envs", [None, 2])
def test_an_action_is_checked_and_clipped_once(
    num_envs: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    for name in ("check", "clip"):
        monkeypatch.setattr(ActionSpec, name, _counted(getattr(ActionSpec, name), calls, name))
    env = nano_env() if num_envs is None else nano_vector_env(num_envs)
    env.reset(seed=0)
    calls.clear()
    env.step(env.action_space.sample())
    assert calls == {"check": 1, "clip": 1}


def _counted(method: Callable[..., Any], calls: Counter[str], name: str) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        calls[name] += 1
        return method(*args)

    return run


if __name__ == "__main__":
    files = imagined_step()
    for name, count in sorted(files.items()):
        print(f"{count:6d} {name}")
    print(f"{len(files)} files, {sum(files.values())} calls")
