"""Drift measurements as rows of a Markdown table.

    python scripts/drift_table.py runs/plans/drift/* [--at 30]

Valid horizon: steps before the first at which the model is no better than the first frame held, or
than itself under shuffled actions, whichever comes first. Distances are those of the probe, in
frames; the simulator's own divergence stands below them.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.files import read_json
from worldsim.validation.drift_report import LEAST_DIVERGENCE_M

HALF_WINDOW_S = 2.5
LOOKS = ("luminance", "saturation", "sharpness", "motion")


def around(curve: list[float | None], at: int, half: int) -> float:
    """Mean of a curve near step `at`."""
    near = [value for value in curve[max(at - half, 0) : at + half] if value is not None]
    return float(np.mean(near)) if near else float("nan")


def row(data: dict[str, Any], seconds: float) -> list[str]:
    """Cells of one measurement."""
    summary, fps = data["summary"], data["fps"]
    at, half = round(seconds * fps), round(HALF_WINDOW_S * fps)
    baselines = ("first_frame", "shuffled_actions")
    valid = min(summary[k] for b in baselines if (k := f"valid_horizon_{b}") in summary)
    seen = around(data["probe_error_m"].get("object", []), at, half)
    apart = around(data["divergence_m"].get("object", []), at, half)
    return [
        str(data["title"]),
        f"{valid:.0f}",
        f"{summary['psnr_model']:.2f}",
        f"{summary['psnr_moving_model']:.2f}",
        *(f"{summary[f'drift_{name}']:+.1%}" for name in LOOKS),
        f"{100 * seen:.1f}",
        f"{seen / max(apart, LEAST_DIVERGENCE_M):.2f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--at", type=float, default=30.0, help="seconds at which places are read")
    options = parser.parse_args()
    head = [
        "plan",
        "valid horizon",
        "PSNR",
        "moving",
        *LOOKS,
        f"object at {options.at:.0f} s, cm",
        "over divergence",
    ]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for folder in options.folders:
        print("| " + " | ".join(row(read_json(folder / "drift.json"), options.at)) + " |")


if __name__ == "__main__":
    main()
