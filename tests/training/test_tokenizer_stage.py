"""The tokenizer's loss: what counts as foreground, and how much."""

import numpy as np
import pytest
import torch

from worldsim.training.losses.tokenizer import (
    TokenizerConfig,
    foreground,
    gather_frames,
    psnr_from_error,
    tokenizer_loss,
)


def test_foreground_is_what_no_other_moment_shows() -> None:
    references = torch.full((1, 3, 1, 3, 4, 4), -1.0)
    references[0, 0, 0, :, 0, 0] = 1.0  # something passes here at one other moment
    video = torch.full((1, 1, 3, 4, 4), -1.0)
    video[..., 2, 2] = 0.5
    video[..., 0, 0] = -1.0
    mask = foreground(video, references, threshold=0.15)
    expected = torch.zeros(1, 1, 1, 4, 4)
    expected[..., 2, 2] = 1.0
    assert torch.equal(mask, expected)


def test_loss_weighs_foreground_and_is_zero_at_a_perfect_copy() -> None:
    config = TokenizerConfig(l1=1.0, l2=0.0, foreground=4.0, latent=0.0)
    video = torch.zeros(1, 1, 3, 2, 2)
    mask = torch.zeros(1, 1, 1, 2, 2)
    mask[..., 0, 0] = 1.0
    latents = torch.full((1, 4), 2.0)
    assert float(tokenizer_loss(video, video, latents, mask, config).total) == 0.0
    wrong_object, wrong_plain = video.clone(), video.clone()
    wrong_object[..., 0, 0] = 0.8
    wrong_plain[..., 1, 1] = 0.8
    total = 5 + 3 * 1
    loss = tokenizer_loss(video, wrong_object, latents, mask, config)
    assert float(loss.total) == pytest.approx(0.8 * 5 / total)
    assert float(tokenizer_loss(video, wrong_plain, latents, mask, config).total) == pytest.approx(
        0.8 / total
    )
    assert float(loss.logs["psnr_foreground"]) < float(loss.logs["psnr"])


def test_latents_are_pulled_to_zero() -> None:
    config = TokenizerConfig(latent=0.5)
    video, mask = torch.zeros(1, 1, 3, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    loss = tokenizer_loss(video, video, torch.full((1, 4), 2.0), mask, config)
    assert float(loss.total) == pytest.approx(0.5 * 4.0)


def test_psnr_of_images_in_plus_minus_one() -> None:
    assert float(psnr_from_error(torch.tensor(0.04))) == pytest.approx(20.0)
    assert float(psnr_from_error(torch.tensor(0.0))) == 100.0


def test_gathered_rows_are_the_ones_asked_for() -> None:
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None, None] * np.ones(
        (1, 2, 4, 4, 3), np.uint8
    )
    batch = gather_frames(pixels, torch.tensor([7, 3]), torch.tensor([[0, 1, 2], [3, 4, 5]]))
    assert batch["video"][:, 0, 0, 0, 0].tolist() == [7, 3]
    assert batch["references"][:, :, 1, 0, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
