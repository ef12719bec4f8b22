"""Stage `latents`: every frame of the data set encoded once, kept beside the run.

Legend: N rows, V views, c h w latent.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from worldsim.cameras.facing import Facing
from worldsim.conventions import to_model_video
from worldsim.data.cache import CachedDataset
from worldsim.errors import DataError
from worldsim.files import allocate_array, atomic_path
from worldsim.hardware import training_device
from worldsim.models.padding import surround_convolutions
from worldsim.models.tokenizers.base import Tokenizer
from worldsim.training.config import choose_precision
from worldsim.training.run_folder import load_tokenizer
from worldsim.training.stages.stage import Stage

FILE = "latents.npy"
CHUNK = 128


class LatentsStage(Stage):
    """Writes `latents/`."""

    name = "latents"
    needs = ("tokenizer",)

    def make(self) -> dict[str, Any]:
        """Encode the data set."""
        run, facing = self.config.run, None
        if self.config.model.derotate:
            facing = Facing.of(self.cache.spec)
            rigs = self.cache.rigs
            known = np.asarray(rigs.known).all(axis=1)
            facing.require_upright(torch.from_numpy(np.asarray(rigs.extrinsics)[known]))
        encode_cache(
            self.cache,
            load_tokenizer(self.folder.tokenizer),
            self.folder.latents,
            bf16=choose_precision(run.precision, run.accelerator) == "bf16-mixed",
            device=training_device(run.accelerator),
            progress=run.progress,
            facing=facing,
        )
        return {}


@torch.inference_mode()
def encode_cache(
    cache: CachedDataset,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    bf16: bool,
    device: torch.device | str = "cpu",
    progress: bool = True,
    facing: Facing | None = None,
) -> Path:
    """Write raw latents float16 `[N, V, c, h, w]` of all rows of `cache`; whole or absent.

    Args:
        cache: decoded data set.
        tokenizer: a trained autoencoder, in evaluation mode.
        folder: where the file goes.
        bf16: autocast.
        device: where to encode.
        progress: show a bar.
        facing: turns panoramas to heading zero first.

    Returns:
        The file.
    """
    rows = len(cache.pixels)
    path = folder / FILE
    tokenizer = surround_convolutions(tokenizer.to(device), cache.spec.cameras)
    with atomic_path(path) as temporary:
        out: Any = None
        chunks = range(0, rows, CHUNK)
        bar = track(chunks, "encode latents", console=Console(stderr=True), disable=not progress)
        for start in bar:
            span = slice(start, start + CHUNK)
            frames = to_model_video(np.array(cache.pixels[span])).to(device)
            if facing is not None:
                agent = torch.from_numpy(np.array(cache.agent_pos[span])).to(device)
                frames = facing.back(frames, agent)
            with torch.autocast(frames.device.type, torch.bfloat16, enabled=bf16):
                latents = tokenizer.encode(frames).to(torch.float16).cpu().numpy()
            if out is None:
                shape = (rows, *latents.shape[1:])
                out = allocate_array(temporary, np.float16, shape)
            out[start : start + CHUNK] = latents
        if out is None:
            raise DataError("the data set holds no frames to encode")
        out.flush()
    return path


def open_latents(folder: Path, cache: CachedDataset) -> NDArray[Any]:
    """The memory-mapped output of `encode_cache`.

    Raises:
        DataError: missing, or of another number of rows than the data set.
    """
    path = folder / FILE
    try:
        latents: NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read latents {path}: {error}; run stage=latents") from error
    if len(latents) != len(cache.pixels):
        raise DataError(
            f"{path} holds {len(latents)} rows, the data set {len(cache.pixels)}; "
            "delete it and run stage=latents"
        )
    return latents


def latent_statistics(latents: NDArray[Any], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Per-channel mean and standard deviation `[c]` over (at most 20,000 of) `rows`."""
    stride = max(len(rows) // 20_000, 1)
    sample = torch.from_numpy(np.asarray(latents[rows[::stride].numpy()])).float()
    return sample.mean(dim=(0, 1, 3, 4)), sample.std(dim=(0, 1, 3, 4))
