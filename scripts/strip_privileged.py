"""Copy a data set of ours without what no robot would know: simulator state and progress.

    python scripts/strip_privileged.py data/push data/push_pixels [--calibration]

Films are linked, not copied. With `--calibration`, where the cameras stand is left out too.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.channels import PRIVILEGED_STATE, PROGRESS, REWARD

PRIVILEGED = (PRIVILEGED_STATE, PROGRESS, REWARD)
SIMULATOR = ("initial_state", "factors")
"""Columns of episodes that hold the simulator's."""


def stripped(table: pa.Table, *, calibration: bool) -> pa.Table:
    """`table` without the columns, and the statistics of columns, that are privileged."""
    gone = [name for name in table.column_names if set(name.split("/")) & set(PRIVILEGED)]
    gone += [
        name
        for name in (*SIMULATOR, *(["rig"] if calibration else []))
        if name in table.column_names
    ]
    return table.drop_columns(gone)


def strip_json(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """info.json or stats.json without what is privileged."""
    if name == "info.json":
        spec = data["worldsim"]["spec"] | {"state": {"names": [], "units": []}}
        kept = {key: value for key, value in data["features"].items() if key not in PRIVILEGED}
        return data | {"features": kept, "worldsim": data["worldsim"] | {"spec": spec}}
    return {key: value for key, value in data.items() if key not in PRIVILEGED}


def strip(source: Path, out: Path, *, calibration: bool) -> None:
    """Write the copy."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        relative = path.relative_to(source)
        if relative.parts[0] == "cache":
            continue
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(stripped(pq.read_table(path), calibration=calibration), target)
        elif path.suffix == ".json":
            data = strip_json(path.name, json.loads(path.read_text(encoding="utf-8")))
            target.write_text(json.dumps(data, indent=2), encoding="utf-8")
        else:
            os.link(path, target)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--calibration", action="store_true", help="leave calibration out too")
    given = parser.parse_args()
    strip(given.source, given.out, calibration=given.calibration)


if __name__ == "__main__":
    main()
