"""What a comparison of policies consists of: plain data that travels to worker processes.

Its digest decides whether a result on disk still belongs to it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from worldsim.data.selection import Selection, read_selection
from worldsim.errors import UsageError
from worldsim.evaluation.rollout_batch import World

FORMAT = 1
"""Raised whenever results made by older code no longer hold."""

_DESCRIPTIONS = {"README.md", "training.yaml", "validation.json", "quality.json"}
"""Files beside weights that tell about them; nothing that is computed depends on these."""


@dataclass(frozen=True)
class StartPlan:
    """Which starts every policy gets.

    Attributes:
        count: N.
        seed: the simulator starts have seeds seed, seed + 1, ...
        factors: factors of variation that are fixed in all of them.
        dataset: take the first frames of this data set's episodes instead; None asks the simulator.
        split: which of its episodes.
        columns: which of its columns are what; see `worldsim.data.selection.read_selection`.
        episodes: which of its episodes there are to choose from; see there.
    """

    count: int = 64
    seed: int = 100_000
    factors: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    split: Literal["train", "val", "all"] = "val"
    columns: dict[str, Any] = field(default_factory=dict)
    episodes: Any = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise UsageError(f"starts: need count >= 1 and seed >= 0, got {self}")
        _ = self.selection  # refuses what cannot be read

    @property
    def selection(self) -> Selection:
        """What of the data set is taken."""
        return read_selection(self.columns, self.episodes)


@dataclass(frozen=True)
class Comparison:
    """Policies, worlds and starts.

    Attributes:
        policies: {name: entry} as `load_pool` reads them.
        env_id: simulator env, or None where there is none.
        env_kwargs: for its constructor.
        model: folder of the world model.
        judge: folder of the judge.
        starts: which starts.
        sampling_steps: denoising steps a frame.
        max_steps: an episode ends after so many actions; None takes the simulator's horizon.
        seed: of the noise of policies and imagination.
        batch_size: episodes side by side.
        watch_simulator: whether the judge watches the simulator too.
        films: how many of the starts are filmed, in both worlds and for every policy.
        device: where world model and judge compute; see `inference_device`.
    """

    policies: dict[str, dict[str, Any]]
    env_id: str | None
    env_kwargs: dict[str, Any]
    model: str
    judge: str
    starts: StartPlan = field(default_factory=StartPlan)
    sampling_steps: int = 2
    max_steps: int | None = None
    seed: int = 0
    batch_size: int = 64
    watch_simulator: bool = True
    films: int = 4
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.films < 0 or (self.max_steps or 1) < 1:
            raise UsageError(
                f"need batch_size >= 1, films >= 0 and max_steps >= 1, got {self.batch_size}, "
                f"{self.films}, {self.max_steps}"
            )
        if self.env_id is None and self.max_steps is None:
            raise UsageError("without a simulator env there is no horizon; give max_steps")

    @property
    def filmed(self) -> range:
        """Ids of the filmed starts."""
        return range(min(self.films, self.starts.count))

    def digest(self, policy: str, world: World) -> str:
        """Hash of everything that one policy's result in one world depends on."""
        entry = self.policies[policy]
        parts: dict[str, Any] = {
            "format": FORMAT,
            "world": world,
            "policy": entry,
            "files": [digest_folder(path) for path in _checkpoints(entry)],
            "env": [self.env_id, self.env_kwargs],
            "starts": asdict(self.starts),
            "run": [self.max_steps, self.seed, list(self.filmed)],
        }
        if world == "imagination":
            parts["model"] = [digest_folder(Path(self.model)), self.sampling_steps]
        if world == "imagination" or self.watch_simulator:
            parts["judge"] = digest_folder(Path(self.judge))
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def digest_folder(path: Path) -> str:
    """Hash of a file, or of the names and contents of a folder's own files but descriptions."""
    content = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    for file in files:
        if file.name in _DESCRIPTIONS:
            continue
        content.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return content.hexdigest()


def _checkpoints(entry: dict[str, Any]) -> list[Path]:
    """Files and folders that a policy entry names: weights, and one's own code (`file.py:Name`),
    may change under the same name."""
    from worldsim.policies.checkpoints import find_checkpoint

    found = []
    for value in entry.values():
        if not isinstance(value, str) or not value:
            continue
        path = Path(value.rpartition(".py:")[0] + ".py") if ".py:" in value else Path(value)
        if path.exists():
            found.append(path)
            continue
        try:
            found.append(find_checkpoint(value))
        except UsageError:
            continue
    return found
