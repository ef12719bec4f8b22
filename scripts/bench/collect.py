"""Recorded simulator steps a second: three 64x64 views, two processes, videos written.

Counts environment steps of finished, durable episodes between the first and the last of them, so
that the start of the processes is left out; the rate of the whole call is printed beside it. Set
against the same recorder in one process.

    python scripts/bench/collect.py [--episodes 80] [--workers 2] [--env worldsim/TabletopPush-v0]
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from worldsim.collection.behaviours import Behaviour
from worldsim.collection.collect import Collection
from worldsim.collection.recorder import CollectionConfig
from worldsim.config.compose import build, compose_config


def main() -> None:
    """Measure, print, and end with one JSON line."""
    # Rendered on the calling thread, as in the workers.
    os.environ["LP_NUM_THREADS"] = "0"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=80)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--env", default="worldsim/TabletopPush-v0")
    options = parser.parse_args()
    processor = time.process_time()
    alone, _, steps = measure(options.env, options.episodes // 4, 0)
    processor = time.process_time() - processor
    print(f"one process: {alone:.0f} steps/s, {steps / processor:.0f} per processor second")
    rate, whole, _ = measure(options.env, options.episodes, options.workers)
    print(
        f"{options.workers} workers: {rate:.0f} steps/s; with start-up and final files {whole:.0f}"
    )
    line = {
        "name": "collection, three 64x64 views",
        "value": round(rate, 1),
        "unit": "steps/s",
        "ratio": round(rate / alone, 2),
        "against": f"one process ({alone:.0f} steps/s)",
    }
    print(json.dumps(line))


def measure(env_id: str, episodes: int, workers: int) -> tuple[float, float, int]:
    """Steps a second from the first finished episode on, and of the whole call; all steps."""
    mixtures = compose_config("collect", ["out=unused"]).mixtures.scripted
    config = CollectionConfig(
        env_id=env_id,
        env_kwargs={"image_size": 64},
        behaviours={str(name): build(Behaviour, node) for name, node in mixtures.items()},
        episodes=episodes,
        steps_after_success=8,
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        finished: list[tuple[int, float]] = []
        with Collection(config, Path(folder) / "set") as collection:
            for index in collection.record(workers):
                finished.append((index, time.perf_counter()))
            dataset = collection.finalize()
        end = time.perf_counter()
        steps = [record.length - 1 for record in dataset.index.records]
        recorded = sum(steps[index] for index, _ in finished[1:])
        total = sum(steps)
        return recorded / (finished[-1][1] - finished[0][1]), total / (end - begin), total


if __name__ == "__main__":
    main()
