"""The dummies, `dummy_*.py`: registered for a while, and counted.

Each is a file of its own that imports what a user would import, and files one row. They leave the
registries again, so that no other test sees them.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from worldsim.cameras.projection import PROJECTIONS
from worldsim.judge.judge import JUDGES
from worldsim.memory.base import MEMORIES
from worldsim.models.conditioners.base import CONDITIONERS
from worldsim.models.denoisers.base import DENOISERS
from worldsim.models.dynamics.base import DYNAMICS
from worldsim.models.tokenizers.base import TOKENIZERS
from worldsim.registry import Registry
from worldsim.rollout.episodes import METRICS

REGISTRIES: dict[str, Registry[Any]] = {
    "camera": PROJECTIONS,
    "conditioner": CONDITIONERS,
    "denoiser": DENOISERS,
    "dynamics": DYNAMICS,
    "judge": JUDGES,
    "memory": MEMORIES,
    "metric": METRICS,
    "tokenizer": TOKENIZERS,
}
COUNTED = {
    "camera": ("Cylinder", "rays"),
    "conditioner": ("Turning", "maps"),
    "denoiser": ("Plain", "residual"),
    "dynamics": ("Unicycle", "step"),
    "judge": ("NearJudge", "read"),
    "memory": ("RolledMemory", "render"),
    "tokenizer": ("Shuffle", "encode"),
}
"""Class and method of each kind whose calls are counted; of a metric it is the function itself."""


@dataclass(frozen=True)
class Parts:
    """The dummies' modules, and how often each was called since `calls` was last cleared."""

    modules: dict[str, ModuleType]
    calls: Counter[str]

    def entered(self, work: Callable[[], Any]) -> tuple[Any, set[str]]:
        """What `work` returns, and the kinds of dummies that it called."""
        self.calls.clear()
        result = work()
        return result, set(self.calls)


@contextmanager
def registered_dummies() -> Iterator[Parts]:
    """Within this context there is a row more in every registry."""
    modules: dict[str, ModuleType] = {}
    calls: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        try:
            for kind in REGISTRIES:
                modules[kind] = import_module(f"dummy_{kind}")
            for kind, (name, method) in COUNTED.items():
                owner = getattr(modules[kind], name)
                patch.setattr(owner, method, _counted(getattr(owner, method), kind, calls))
            metric = METRICS.get(modules["metric"].NAME)
            object.__setattr__(metric, "measure", _counted(metric.measure, "metric", calls))
            yield Parts(modules, calls)
        finally:
            for kind, module in modules.items():
                del REGISTRIES[kind]._entries[module.NAME], sys.modules[module.__name__]


def _counted(function: Callable[..., Any], kind: str, calls: Counter[str]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        calls[kind] += 1
        return function(*args, **kwargs)

    return counted
