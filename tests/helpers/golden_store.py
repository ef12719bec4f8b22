"""Golden values: figures of the code as it stands, which a change of structure must not change.

After a change that is meant to change them `WORLDSIM_GOLDEN=write pytest tests/golden` writes anew.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

VALUES = Path(__file__).parents[1] / "golden" / "values"
FOLDER = Path(os.environ.get("WORLDSIM_GOLDEN_VALUES", VALUES))
"""Another folder holds the values of one's own machine, written before a refactor."""
WRITES = os.environ.get("WORLDSIM_GOLDEN") == "write"


def machine() -> str:
    """Names what decides the last bits: processor, kernels, packages that compute."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines()
    kept = {line for line in lines if line.startswith(("model", "flags", "stepping"))}
    kernels = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(_KERNELS))
    versions = [torch.__version__, np.__version__, torch.backends.cpu.get_cpu_capability()]
    return hashlib.sha256("\n".join([*sorted(kept), *kernels, *versions]).encode()).hexdigest()


_KERNELS = ("ONEDNN_", "DNNL_", "ATEN_", "MKL_", "OPENBLAS_")


def sketch(values: NDArray[Any], entries: int = 24) -> dict[str, Any]:
    """A few entries, the mean and the spread of an array, and a digest of its bytes."""
    flat = np.ascontiguousarray(values).reshape(-1)
    chosen = np.linspace(0, flat.size - 1, entries).astype(int)
    return {
        "shape": list(values.shape),
        "entries": [float(x) for x in flat[chosen]],
        "mean": float(flat.mean(dtype=np.float64)),
        "std": float(flat.std(dtype=np.float64)),
        "digest": hashlib.sha256(flat.tobytes()).hexdigest(),
    }


def check(name: str, found: Mapping[str, Any], *, rel: float, abs: float) -> None:
    """Compare with `<name>.json`: exactly on the machine that made it, elsewhere nearly.

    Args:
        name: of the file in `values/`.
        found: JSON-able, numbers at its leaves; leaves named `digest` count on that machine only.
        rel: relative tolerance elsewhere.
        abs: absolute tolerance elsewhere.
    """
    path = FOLDER / f"{name}.json"
    if WRITES:
        stored = {"machine": machine(), "values": found}
        path.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    stored = json.loads(path.read_text())
    if stored["machine"] == machine():
        assert json.loads(json.dumps(found)) == stored["values"]
        return
    ours, golden = dict(_leaves(found)), dict(_leaves(stored["values"]))
    assert ours.keys() == golden.keys()
    for key, value in golden.items():
        if isinstance(value, float):
            assert ours[key] == pytest.approx(value, rel=rel, abs=abs, nan_ok=True), key
        elif not key.endswith("/digest"):
            assert ours[key] == value, key


def _leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, Mapping):
        return [leaf for key, part in node.items() for leaf in _leaves(part, f"{path}/{key}")]
    if isinstance(node, list):
        return [leaf for key, part in enumerate(node) for leaf in _leaves(part, f"{path}/{key}")]
    return [(path, node)]
