"""Decoder stage: what counts as an edge, where pairs come from, and what is left alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_testing import train
from worldsim_testing import nano_model

from worldsim.data.cache import CachedDataset, build_cache
from worldsim.models.world_model import WorldModel
from worldsim.sampling.replay import replay_recorded
from worldsim.training.losses.decoder import DecoderConfig, edge_error, edge_power, strength_error
from worldsim.training.stages.decoder import LatentBuffer, decoder_batch, imagine_buffer


@pytest.fixture(scope="module")
def cache(data: Path) -> CachedDataset:
    return build_cache(data)


def test_edges_in_closed_form() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert edge_power(flat, 8).abs().max() < 1e-10
    columns = torch.arange(16).float()
    # A ramp has slopes of two steps along x and no curvature.
    ramp = (0.01 * columns).expand(1, 3, 16, 16)
    laplacian, across, down = edge_power(ramp, 8).mean(dim=(0, 2, 3))
    assert laplacian < 1e-8 and down < 1e-8
    assert across == pytest.approx(0.02**2, rel=1e-3)
    # Grain of single pixels curves and has no slope over two of them.
    grain = (0.1 * (-1.0) ** columns).expand(1, 3, 16, 16)
    laplacian, across, down = edge_power(grain, 8).mean(dim=(0, 2, 3))
    assert laplacian == pytest.approx(0.4**2, rel=1e-3)
    assert across < 1e-8 and down < 1e-8


def test_the_expected_power_has_the_least_error() -> None:
    true = torch.tensor([0.02, 0.1, 0.6])
    shown = true.mean().clone().requires_grad_(True)
    torch.stack([edge_error(shown, each) for each in true]).mean().backward()  # type: ignore[no-untyped-call]
    assert shown.grad is not None and shown.grad.abs() < 1e-6
    assert edge_error(true, true) == 0


def test_strength_counts_a_cameras_frames_together() -> None:
    true = torch.rand(4, 2, 3, 5, 5) + 0.5
    # Other squares and other frames of the same camera may make up for what one lacks.
    assert strength_error(true[[2, 0, 3, 1]].flip(-1), true) < 1e-10
    halved = true.clone()
    halved[:, 1] *= 0.5
    half = float(np.log(0.5)) ** 2 / 2
    assert strength_error(halved, true).item() == pytest.approx(half, rel=1e-2)
    # Where a camera is black there is nothing to match.
    assert strength_error(torch.zeros_like(true), torch.zeros_like(true)) == 0


def test_pairs_are_the_imagined_latents_of_recorded_rows(cache: CachedDataset) -> None:
    model = nano_model(spec=cache.spec)
    config = DecoderConfig(streams=5, stretch=4)
    draws = torch.Generator().manual_seed(0)
    buffer = imagine_buffer(model, cache, [2, 3, 7], config, draws, side_by_side=2)
    assert len(buffer.rows) == len(buffer.latents) == 5 * 4
    bounds = np.asarray(cache.episode_start)
    assert set(np.searchsorted(bounds, buffer.rows, side="right") - 1) <= {2, 3, 7}
    begin = buffer.rows[:2] - 1
    for step, (rows, stream) in enumerate(replay_recorded(model, cache, begin, 4)):
        part = slice(2 * step, 2 * step + 2)
        np.testing.assert_array_equal(buffer.rows[part], rows)
        torch.testing.assert_close(buffer.latents[part], stream.newest.half())
    # Episodes of nine frames have eight steps.
    longest = imagine_buffer(model, cache, [2], replace(config, stretch=99, streams=1), draws)
    assert longest.rows.tolist() == list(range(int(bounds[2]) + 1, int(bounds[3])))


def test_a_batch_shows_each_latent_the_frame_of_its_row(cache: CachedDataset) -> None:
    rows = np.array([3, 14, 40])
    buffer = LatentBuffer(rows, torch.arange(3.0).half().reshape(3, 1, 1, 1, 1))
    chosen = torch.tensor([2, 0, 1, 2])
    draws = torch.Generator().manual_seed(0)
    batch = decoder_batch(buffer, cache.pixels, torch.tensor([50]), 0.5, chosen, draws)
    imagined = batch["imagined"].bool()
    assert 0 < imagined.sum() < 4
    for place, entry in enumerate(chosen.tolist()):
        row = rows[entry] if imagined[place] else 50
        np.testing.assert_array_equal(batch["video"][place], cache.pixels[row])
        assert batch["latents"][place].item() == entry


@pytest.mark.slow
def test_only_the_decoder_changes_and_the_stage_begins_where_it_began(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path, "stage=decoder") == 2
    assert "run stage=world" in capsys.readouterr().err
    for stage in ("tokenizer", "latents", "dynamics", "world"):
        assert train(data, tmp_path, f"stage={stage}") == 0
    weights = tmp_path / "model" / "model.safetensors"
    before = load_file(weights)
    measured = (tmp_path / "validation.json").read_text()
    assert train(data, tmp_path, "stage=decoder") == 0
    after = load_file(weights)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("tokenizer.decoder.") for name in changed)
    assert (tmp_path / "validation.json").read_text() != measured
    assert json.loads((tmp_path / "stages" / "decoder.json").read_text())["steps"] == 4
    assert WorldModel.from_pretrained(tmp_path).quality is not None
    # Again from the decoder of the tokenizer, not from the one that it made.
    (tmp_path / "stages" / "decoder.json").unlink()
    (tmp_path / "checkpoints" / "decoder.ckpt").unlink()
    assert train(data, tmp_path, "stage=decoder") == 0
    again = load_file(weights)
    assert all(torch.equal(after[name], again[name]) for name in after)
    # Without the stage, the decoder is the tokenizer's again.
    assert train(data, tmp_path, "stage=decoder", "decoder.streams=0", "overwrite=true") == 0
    assert json.loads((tmp_path / "stages" / "decoder.json").read_text())["steps"] == 0
    restored = load_file(weights)
    assert all(torch.equal(before[name], restored[name]) for name in before)
    # A world model trained anew has its decoder to be trained anew.
    anew = ("stage=world", "trainer.max_steps=3", "overwrite=true")
    assert train(data, tmp_path, *anew) == 0
    assert not (tmp_path / "stages" / "decoder.json").exists()
