"""Quality and speed of models by number of denoising steps, as rows of a Markdown table.

    python scripts/step_table.py data/push_long --judge shipped/push --max-steps 100 \
        teacher=runs/plans/diffusion_forcing:20,4,2,1 ctm=runs/plans/ctm:4,2,1

Each word is NAME=MODEL:STEPS. Quality is that of `worldsim drift` over the first steps of the data
set's episodes, speed that of one stream and of sixteen, decoded.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))
from stream import begin, next_frames, repeat

from worldsim.data.cache import build_cache
from worldsim.judge.finding import find_judge
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.validation.drift import DriftConfig, measure_drift

STREAMS = (1, 16)
HEAD = (
    "model",
    "steps",
    "PSNR",
    "moving",
    "SSIM",
    "sharpness",
    "object seen at the end, cm",
    *(f"frames/s, {count}" for count in STREAMS),
)


@dataclass(frozen=True)
class Asked:
    """A model and the numbers of steps to measure it with."""

    name: str
    model: str
    steps: tuple[int, ...]

    @staticmethod
    def parse(word: str) -> "Asked":
        """NAME=MODEL:STEPS."""
        name, _, rest = word.partition("=")
        model, _, steps = rest.rpartition(":")
        return Asked(name, model, tuple(int(each) for each in steps.split(",")))


def speed(model: WorldModel, sampler: Sampler, count: int, seconds: float) -> float:
    """Decoded frames a second of `count` streams together."""
    stream = begin(model, sampler.schedule(), count, "none")
    for _ in range(6):
        next_frames(stream)
    frames, took = repeat(lambda: next_frames(stream), seconds)
    return frames * count / took


def main() -> None:
    """Measure and print, one row after the other; the same rows as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("models", nargs="+", type=Asked.parse)
    parser.add_argument("--judge", required=True, help="what reads places off frames")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--max-steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each speed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cache = build_cache(options.dataset)
    episodes = list(range(min(options.episodes, cache.num_episodes)))
    judge = find_judge(options.judge, options.judge)
    config = DriftConfig(max_steps=options.max_steps, closure_s=0, exchanged=2)
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    rows = []
    for asked in options.models:
        model = WorldModel.from_pretrained(asked.model)
        for steps in asked.steps:
            sampler = Sampler.of(model, steps)
            summary = measure_drift(model, cache, episodes, sampler, config, probe=judge).summary()
            rates = [speed(model, sampler, count, options.seconds) for count in STREAMS]
            cells = [
                asked.name,
                str(steps),
                f"{summary['psnr_model']:.2f}",
                f"{summary['psnr_moving_model']:.2f}",
                f"{summary['ssim_model']:.3f}",
                f"{summary['drift_sharpness']:+.1%}",
                f"{100 * summary['object_probe_error_m_end']:.2f}",
                *(f"{rate:.1f}" for rate in rates),
            ]
            rows.append(dict(zip(HEAD, cells, strict=True)))
            print("| " + " | ".join(cells) + " |", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
