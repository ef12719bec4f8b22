"""Make the policies that ship for one task: train them, measure them, keep six close ones.

    worldsim collect env=push episodes=1500 out=data/push
    worldsim train stage=policies dataset=data/push out=runs/push_policies
    python scripts/make_pool.py push runs/push_policies --low 0.5 --high 0.8

Trains nothing itself: it rolls every checkpoint of the ladder out in the simulator, chooses six
whose success rates come nearest to even steps from --low to --high, and copies them, with the state
estimator, to worldsim/policies/checkpoints/TASK. The rates stand in rates.json beside them.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path

from worldsim.config.compose import compose_config
from worldsim.errors import UsageError, WorldsimError
from worldsim.files import read_json, write_json
from worldsim.models.weights import CONFIG, WEIGHTS
from worldsim.policies.checkpoints import shipped_root

KEPT = 6


def success_rate(task: str, kind: str, options: dict[str, object], starts: int, seed: int) -> float:
    """Share of `starts` simulated episodes, from seed `seed` on, that one policy solves."""
    import torch

    from worldsim.envs.imagination.starts import SimulatorStarts
    from worldsim.policies.pool import build_policy
    from worldsim.rollout.rollouts import rollout_simulator

    torch.set_num_threads(1)
    env_id = str(compose_config("collect", [f"env={task}", "out=unused"]).env.id)
    source = SimulatorStarts(env_id, {}, {})
    begun = [source.seeded(seed + i) for i in range(starts)]
    policy = build_policy(source.spec, "measured", kind, **options)
    source.close()
    return rollout_simulator(policy, env_id, begun).rate


def choose(rates: dict[str, float], low: float, high: float) -> list[str]:
    """The `KEPT` names whose rates come nearest to evenly spaced ones from `low` to `high`.

    Raises:
        UsageError: there are fewer than `KEPT` checkpoints.
    """
    if len(rates) < KEPT:
        raise UsageError(f"{len(rates)} checkpoints, {KEPT} are needed; train a longer ladder")
    wanted = [low + (high - low) * i / (KEPT - 1) for i in range(KEPT)]

    def miss(chosen: tuple[str, ...]) -> float:
        return sum((rates[name] - rate) ** 2 for name, rate in zip(chosen, wanted, strict=True))

    rising = sorted(rates, key=lambda name: rates[name])
    best: tuple[str, ...] = min(combinations(rising, KEPT), key=miss)
    return list(best)


def measure(
    task: str, ladder: list[Path], starts: int, seed: int, workers: int
) -> Iterator[tuple[str, float]]:
    """Step folder and success rate of each checkpoint."""
    with ProcessPoolExecutor(workers) as pool:
        jobs = {
            path.name: pool.submit(
                success_rate, task, "behaviour_cloning", {"checkpoint": str(path)}, starts, seed
            )
            for path in ladder
        }
        for name, job in jobs.items():
            yield name, job.result()


def ship(task: str, run: Path, chosen: list[str], record: dict[str, object]) -> Path:
    """Copy the chosen checkpoints and the state estimator into the package."""
    target = shipped_root() / task
    shutil.rmtree(target, ignore_errors=True)
    sources = {f"bc_{i + 1}": run / "behaviour" / name for i, name in enumerate(chosen)}
    for name, source in {"perception": run / "perception", **sources}.items():
        (target / name).mkdir(parents=True)
        for file in (CONFIG, WEIGHTS):
            shutil.copy(source / file, target / name / file)
    write_json(target / "rates.json", record)
    return target


def main(arguments: list[str]) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("task", help="option of the env group: push, pick_place")
    parser.add_argument("run", type=Path, help="folder of `worldsim train stage=policies`")
    parser.add_argument("--low", type=float, default=0.5)
    parser.add_argument("--high", type=float, default=0.8)
    parser.add_argument("--starts", type=int, default=128)
    parser.add_argument("--seed", type=int, default=300_000, help="apart from those ranked from")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="*", help="which of the ladder; default all")
    options = parser.parse_args(arguments)
    ladder = sorted((options.run / "behaviour").glob("step_*"))
    if options.steps:
        ladder = [path for path in ladder if int(path.name.split("_")[1]) in options.steps]
    if not ladder:
        raise UsageError(f"{options.run} lacks behaviour/step_*; train stage=policies first")
    measured = options.run / f"rates_{options.starts}_{options.seed}.json"
    known: dict[str, float] = read_json(measured) if measured.exists() else {}
    missing = [path for path in ladder if path.name not in known]
    for name, rate in measure(options.task, missing, options.starts, options.seed, options.workers):
        known[name] = rate
        write_json(measured, known)
        print(f"{name}: {rate:.3f}", flush=True)
    rates = {path.name: known[path.name] for path in ladder}
    chosen = choose(rates, options.low, options.high)
    record = {
        "starts": options.starts,
        "first_seed": options.seed,
        "rates": {f"bc_{i + 1}": rates[name] for i, name in enumerate(chosen)},
        "steps": {f"bc_{i + 1}": int(name.split("_")[1]) for i, name in enumerate(chosen)},
        "perception_error": read_json(options.run / "perception_error.json"),
    }
    print(f"shipped in {ship(options.task, options.run, chosen, record)}: {record['rates']}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WorldsimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
