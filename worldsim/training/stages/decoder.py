"""Stage `decoder`: the decoder learns to show imagined latents as the simulator's frames look.

A denoiser that answers with means gives latents between those of sharp frames, and a decoder that
was trained on encoded frames alone shows them blurred. Recorded episodes imagined again along the
recording (`worldsim.sampling.replay`) pair imagined latents with true frames; on these, and on
encoded frames, the decoder is trained further. Encoder and denoiser stay as they are, so what is
imagined stays the same and looks better.

Legend: M rows of a buffer, B batch, V view, H W pixels, c h w latent.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from worldsim.conventions import to_model_video, to_pixels
from worldsim.data.cache import CachedDataset
from worldsim.errors import UsageError
from worldsim.hardware import training_device
from worldsim.models.weights import WEIGHTS, load_weights
from worldsim.models.world_model import WorldModel
from worldsim.sampling.replay import Rows, replay_recorded
from worldsim.training.batches import Batch, StepBatches
from worldsim.training.loop import Fitted
from worldsim.training.losses.decoder import DecoderConfig, DecoderLoss
from worldsim.training.losses.tokenizer import REFERENCES
from worldsim.training.stages.latents import CHUNK
from worldsim.training.stages.stage import Stage, TrainingRun
from worldsim.training.stages.world import Measure, Validate


class DecoderStage(Stage):
    """Writes `model/` again, with another decoder.

    Args:
        run: the run that it belongs to.
        validate: measures the model afterwards.
        measure: what the finished model is told of its quality by number of steps.
    """

    name = "decoder"

    def __init__(
        self, run: TrainingRun, validate: Validate, measure: Measure | None = None
    ) -> None:
        super().__init__(run)
        self.validate, self.measure = validate, measure

    def require(self) -> None:
        """Refuse to begin without a finished world model of this very config.

        Raises:
            UsageError: there is none.
        """
        if not self.folder.holds("world", self.run.key("world")):
            raise UsageError(
                f"{self.folder.root} holds no finished world model of this config; run stage=world"
            )

    def make(self) -> dict[str, Any]:
        """Train the decoder, measure the model again and save it."""
        model = self._with_first_decoder()
        facts: dict[str, Any] = {"steps": 0}
        if self.config.decoder.streams and model.tokenizer.learns:
            facts = self._train(model).facts()
            model.quality = None
            self.validate(model, int(self.folder.record("world")["steps"]))
            model.quality = None if self.measure is None else self.measure(model)
        card = (self.folder.model / "README.md").read_text(encoding="utf-8")
        model.save_pretrained(self.folder.model, card=card)
        return facts

    def _with_first_decoder(self) -> WorldModel:
        """The finished world model with the decoder that came with its tokenizer.

        An interrupted stage so begins where it began.
        """
        model = WorldModel.from_pretrained(self.folder.model)
        load_weights(model.tokenizer, self.folder.tokenizer / WEIGHTS)
        return model

    def _train(self, model: WorldModel) -> Fitted:
        """Train the decoder of `model`, in place, on frames that it imagines."""
        config, run = self.config.decoder, self.config.run
        buffer = imagine_buffer(
            model.to(training_device(run.accelerator)),
            self.cache,
            self.run.training,
            config,
            torch.Generator().manual_seed(self.seed),
            show=run.progress,
        )
        model.tokenizer.decoder.requires_grad_(True)
        pixels, rows = shown_pixels(model, self.cache), self.run.rows
        batches = StepBatches(
            lambda chosen, draws: decoder_batch(
                buffer, pixels, rows, config.encoded, chosen, draws
            ),
            len(buffer.rows),
            self.config.decoder_fit.batch_size,
            self.seed,
        )
        loss = DecoderLoss(model, config)
        fitted = self.fit(model.cpu(), loss, batches, self.config.decoder_fit)
        model.requires_grad_(False).eval()
        return fitted


@dataclass(frozen=True, eq=False)
class LatentBuffer:
    """Imagined latents and the rows whose frames they should show.

    Attributes:
        rows: `[M]`.
        latents: float16 `[M, V, c, h, w]`, normalised.
    """

    rows: Rows
    latents: Tensor


def imagine_buffer(
    model: WorldModel,
    cache: CachedDataset,
    episodes: list[int],
    config: DecoderConfig,
    generator: torch.Generator,
    show: bool = False,
    side_by_side: int = 64,
) -> LatentBuffer:
    """Imagine stretches of `episodes` again, from rows drawn at random.

    Raises:
        UsageError: no episode has a step.
    """
    bounds = np.asarray(cache.episode_start)
    stretch = min(config.stretch, int(np.diff(bounds)[episodes].max()) - 1)
    if stretch < 1:
        raise UsageError("no episode has a step to imagine; take decoder.streams=0")
    possible = np.concatenate(
        [np.arange(bounds[e], max(bounds[e], bounds[e + 1] - stretch)) for e in episodes]
    )
    drawn = torch.randint(len(possible), (config.streams,), generator=generator).numpy()
    rows: list[Rows] = []
    latents: list[Tensor] = []
    firsts = range(0, len(drawn), side_by_side)
    for first in track(firsts, "imagining again", disable=not show, transient=True):
        begin = possible[drawn[first : first + side_by_side]]
        for reached, stream in replay_recorded(model, cache, begin, stretch):
            rows.append(reached)
            latents.append(stream.newest.half().cpu())
    return LatentBuffer(np.concatenate(rows), torch.cat(latents))


def shown_pixels(model: WorldModel, cache: CachedDataset) -> NDArray[np.uint8]:
    """Frames `[N, V, H, W, 3]` as latents show them: panoramas turned back where a model has so."""
    if model.facing is None:
        return cache.pixels
    frames = np.empty_like(cache.pixels)
    for start in range(0, len(frames), CHUNK):
        span = slice(start, start + CHUNK)
        agent = torch.from_numpy(np.array(cache.agent_pos[span]))
        video = to_model_video(np.array(cache.pixels[span]))
        frames[span] = to_pixels(model.facing.back(video, agent)).numpy()
    return frames


def decoder_batch(
    buffer: LatentBuffer,
    pixels: NDArray[np.uint8],
    encoded_rows: Tensor,
    share: float,
    chosen: Tensor,
    generator: torch.Generator,
) -> Batch:
    """Latents and frames of `chosen` entries of the buffer, a share of them encoded frames instead.

    Args:
        buffer: imagined latents.
        pixels: of the data set, `[N, V, H, W, 3]`.
        encoded_rows: rows that encoded frames are drawn from.
        share: of them in the batch.
        chosen: `[B]` entries of the buffer.
        generator: of the draws.

    Returns:
        `latents [B, V, c, h, w]`, `imagined [B]` 1 or 0 (then the latents are to be encoded from
        the video), `video` uint8 `[B, V, H, W, 3]`, `references` uint8 `[B, K, V, H, W, 3]`.
    """
    count = len(chosen)
    imagined = torch.rand(count, generator=generator) >= share
    others = encoded_rows[torch.randint(len(encoded_rows), (count, 1), generator=generator)][:, 0]
    rows = torch.where(imagined, torch.from_numpy(buffer.rows[chosen.numpy()]), others)
    references = encoded_rows[
        torch.randint(len(encoded_rows), (count, REFERENCES), generator=generator)
    ]
    return {
        "latents": buffer.latents[chosen].float(),
        "imagined": imagined.float(),
        "video": torch.from_numpy(np.asarray(pixels[rows.numpy()])),
        "references": torch.from_numpy(np.asarray(pixels[references.numpy()])),
    }
