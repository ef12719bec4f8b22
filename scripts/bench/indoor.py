"""Indoor steps a second: one RGB-D panorama of 32x64 each, with collisions and shortest paths.

Every process walks through scenes of 2 to 8 rooms at random. Building a scene is timed apart. The
rate in seconds of processor time is printed beside that of the clock: it is what a core gives that
nobody else uses. Set against one process.

    python scripts/bench/indoor.py [--workers 2] [--seconds 10] [--scenes 8] [--sensor panorama]
"""

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np


def main() -> None:
    """Measure, print, and end with one JSON line."""
    # Rendered on the calling thread, as in the workers of a collection.
    os.environ["LP_NUM_THREADS"] = "0"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--sensor", default="panorama")
    options = parser.parse_args()
    work = (options.sensor, options.size, options.scenes, options.seconds)
    alone, processor, built = walk(0, *work)
    print(f"one process: {alone:.0f} steps/s, {processor:.0f} per processor second")
    print(f"a new scene with its paths: {1e3 * built:.0f} ms of processor time")
    rates = [(alone, processor)]
    if options.workers > 1:
        context = get_context("spawn")
        with ProcessPoolExecutor(options.workers, context) as pool:
            jobs = [pool.submit(walk, k, *work) for k in range(options.workers)]
            rates = [job.result()[:2] for job in jobs]
    rate = sum(each for each, _ in rates)
    print(f"{options.workers} processes: {rate:.0f} steps/s")
    line = {
        "name": f"indoor, {options.sensor} of {options.size} rows with depth",
        "value": round(rate, 1),
        "unit": "steps/s",
        "ratio": round(rate / alone, 2),
        "against": f"one process ({alone:.0f} steps/s)",
        "per_processor_second": round(float(np.mean([each for _, each in rates])), 1),
    }
    print(json.dumps(line))


def walk(
    seed: int, sensor: str, size: int, scenes: int, seconds: float
) -> tuple[float, float, float]:
    """Steps a second by the clock and by processor time, and processor seconds of a new scene."""
    from worldsim.envs import make

    env = make(
        "worldsim/IndoorNav-v0", sensor=sensor, image_size=size, max_episode_steps=10**6
    ).unwrapped
    env.reset(seed=10**6 + seed)  # the first picture of a process takes long
    rng = np.random.default_rng(seed)
    steps, clock, processor, building = 0, 0.0, 0.0, 0.0
    for scene in range(scenes):
        begin = time.process_time()
        env.reset(seed=scenes * seed + scene)
        building += time.process_time() - begin
        began = time.perf_counter(), time.process_time()
        while time.perf_counter() - began[0] < seconds / scenes:
            env.step(int(rng.choice(4, p=(0.0, 0.6, 0.2, 0.2))))
            steps += 1
        clock += time.perf_counter() - began[0]
        processor += time.process_time() - began[1]
    return steps / clock, steps / processor, building / scenes


if __name__ == "__main__":
    main()
