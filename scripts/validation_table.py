"""Open-loop validations of runs as rows of a Markdown table, with intervals over episodes.

python scripts/validation_table.py runs/a runs/b
"""

import argparse
from pathlib import Path
from typing import Any

from worldsim.files import read_json

HEAD = ("run", "steps", "episodes", "PSNR", "where something moved", "SSIM")


def row(folder: Path) -> list[str]:
    """Cells of one run."""
    data: dict[str, Any] = read_json(folder / "validation.json")
    summary = data["summary"]
    ends = ", ".join(f"{end:.2f}" for end in data["intervals"]["psnr_moving_model"])
    places = [
        f"{100 * value:.1f}" for key, value in summary.items() if key.endswith("_seen_error_m")
    ]
    return [
        folder.name,
        str(data["step"]),
        str(data["episodes"][0]),
        f"{summary['psnr_model']:.2f}",
        f"{summary['psnr_moving_model']:.2f} [{ends}]",
        f"{summary['ssim_model']:.3f}",
        *places,
    ]


def places(folder: Path) -> list[str]:
    """Heads of the columns of distances."""
    names = read_json(folder / "validation.json")["summary"]
    return [
        f"{name.removesuffix('_seen_error_m')} read off frames, cm"
        for name in names
        if name.endswith("_seen_error_m")
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", type=Path, nargs="+")
    folders = parser.parse_args().folders
    head = [*HEAD, *places(folders[0])]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for folder in folders:
        print("| " + " | ".join(row(folder)) + " |")


if __name__ == "__main__":
    main()
