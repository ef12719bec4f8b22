"""The run folder: where each thing is, which stages are finished, and what it ran on."""

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b, file_digest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from worldsim.config.compose import build
from worldsim.errors import UsageError
from worldsim.files import read_json, write_figures, write_json
from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, build_tokenizer
from worldsim.models.weights import (
    CONFIG,
    WEIGHTS,
    load_config,
    load_weights,
    save_config,
    save_weights,
)
from worldsim.training.config import StageName

TOKENIZER_KIND = "tokenizer"
RECORDED_PACKAGES = ("worldsim", "torch", "lightning", "numpy", "hydra-core", "safetensors", "av")


def fingerprint(data: Any) -> str:
    """A short hash of JSON-able `data`, independent of key order."""
    text = json.dumps(data, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def file_fingerprint(path: Path) -> str | None:
    """A short hash of a file's content, None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=8)).hexdigest()


@dataclass(frozen=True)
class RunFolder:
    """Paths below one training run's folder.

    ```
    config.yaml  environment.json  metrics.jsonl  validation.json
    stages/<stage>.json              what finished, with the config it ran under
    checkpoints/<stage>.ckpt         training state, weights-only loadable
    checkpoints/last                 link to the newest of them
    tokenizer/  latents/  dynamics/  model/  judge/  films/
    ```
    """

    root: Path

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.root / "metrics.jsonl"

    @property
    def tokenizer(self) -> Path:
        """The trained autoencoder."""
        return self.root / "tokenizer"

    @property
    def latents(self) -> Path:
        """Encoded frames of the data set."""
        return self.root / "latents"

    @property
    def dynamics(self) -> Path:
        """Weights of the fitted dynamics."""
        return self.root / "dynamics"

    @property
    def model(self) -> Path:
        """`WorldModel.save_pretrained` output."""
        return self.root / "model"

    @property
    def judge(self) -> Path:
        """The judge's weights and report."""
        return self.root / "judge"

    @property
    def films(self) -> Path:
        """Sample films."""
        return self.root / "films"

    def checkpoint(self, stage: StageName) -> Path:
        """Training state of a stage."""
        return self.root / "checkpoints" / f"{stage}.ckpt"

    def is_finished(self, stage: StageName, config_hash: str, overwrite: bool) -> bool:
        """Whether `stage` is done under this config; claims the stage for it otherwise.

        Raises:
            UsageError: the stage was begun under another config and `overwrite` is False.
        """
        self.check_claim(stage, config_hash, overwrite)
        path = self.root / "stages" / f"{stage}.json"
        record = read_json(path) if path.exists() else None
        if record is not None and record["config"] == config_hash:
            return bool(record["finished"])
        if record is not None:
            self.checkpoint(stage).unlink(missing_ok=True)
        write_json(path, {"config": config_hash, "finished": False})
        return False

    def check_claim(self, stage: StageName, config_hash: str, overwrite: bool) -> None:
        """Refuse what `is_finished` refuses; writes nothing.

        Raises:
            UsageError: the stage was begun under another config and `overwrite` is False.
        """
        path = self.root / "stages" / f"{stage}.json"
        record = read_json(path) if path.exists() and not overwrite else None
        if record is None or record["config"] == config_hash:
            return
        if record["finished"] or self.checkpoint(stage).exists():
            raise UsageError(
                f"{self.root} holds a {stage} stage begun under another config. Choose another "
                "out=, restore the config, or give overwrite=true to train it anew."
            )

    def holds(self, stage: StageName, config_hash: str) -> bool:
        """Whether `stage` is done under this config; claims nothing."""
        path = self.root / "stages" / f"{stage}.json"
        record = read_json(path) if path.exists() else {}
        return record.get("config") == config_hash and bool(record.get("finished"))

    def require(self, needed: Sequence[StageName], stage: StageName) -> None:
        """Refuse to begin a stage before those that it builds on.

        Raises:
            UsageError: one of `needed` is not finished.
        """
        for earlier in needed:
            path = self.root / "stages" / f"{earlier}.json"
            if not (path.exists() and read_json(path)["finished"]):
                raise UsageError(
                    f"stage={stage} builds on stage {earlier}, which {self.root} has not finished; "
                    f"run stage={earlier} first, or stage=all"
                )

    def record(self, stage: StageName) -> dict[str, Any]:
        """What was recorded of a finished stage."""
        data: dict[str, Any] = read_json(self.root / "stages" / f"{stage}.json")
        return data

    def forget(self, stage: StageName) -> None:
        """Drop the record and the checkpoint of a stage, whose input has changed."""
        (self.root / "stages" / f"{stage}.json").unlink(missing_ok=True)
        self.checkpoint(stage).unlink(missing_ok=True)

    def finish(self, stage: StageName, config_hash: str, **facts: Any) -> None:
        """Record that `stage` is done."""
        path = self.root / "stages" / f"{stage}.json"
        write_figures(path, {"config": config_hash, "finished": True, **facts})


def save_tokenizer(network: Tokenizer, folder: Path) -> None:
    """Write a tokenizer's sizes and weights into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / WEIGHTS)
    save_config(folder, TOKENIZER_KIND, {"config": asdict(network.config)})


def tokenizer_config(folder: Path) -> TokenizerConfig:
    """Sizes of the tokenizer in a folder.

    Raises:
        DataError: files are missing or do not fit.
    """
    data = load_config(folder, TOKENIZER_KIND)
    return build(TokenizerConfig, data["config"], file=folder / CONFIG)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Inverse of `save_tokenizer`, in evaluation mode.

    Raises:
        DataError: files are missing or do not fit.
    """
    network = build_tokenizer(tokenizer_config(folder))
    load_weights(network, folder / WEIGHTS)
    return network.eval().requires_grad_(False)


def describe_environment() -> dict[str, Any]:
    """What a run ran on and with: versions, processor, git commit."""
    packages = {}
    for name in RECORDED_PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "packages": packages,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """HEAD of the source tree, or None if this is an installed package."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    """The processor's model name, or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines()
    except OSError:
        return "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"
