"""PSNR and SSIM of imagined frames: closed forms, and torchmetrics as oracle."""

import numpy as np
import pytest
import torch

from worldsim.errors import UsageError
from worldsim.validation.video_metrics import MOVED, HorizonErrors, frame_errors, psnr, ssim


def test_psnr_closed_form_and_cap() -> None:
    assert psnr(np.array([1.0, 255.0**2, 0.0])) == pytest.approx([48.1308, 0.0, 100.0], abs=1e-4)
    assert np.isnan(psnr(np.array([np.nan]))).all()


def test_ssim_equals_torchmetrics() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.integers(-9, 10, (2, 3, 32, 32, 3)), axis=-2).clip(-99, 99) + 120
    noisy = truth + rng.integers(-20, 20, truth.shape)
    left, right = truth.astype(np.uint8), noisy.astype(np.uint8)

    def images(x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).flatten(0, 1).permute(0, 3, 1, 2).double() / 255

    expected = structural_similarity_index_measure(
        images(left), images(right), data_range=1.0, reduction="none"
    )
    assert isinstance(expected, torch.Tensor)
    assert ssim(left, right).shape == (2, 3)
    assert ssim(left, right).flatten() == pytest.approx(expected.numpy(), abs=1e-4)
    assert ssim(left, left).min() == pytest.approx(1.0)


def test_moving_and_static_pixels_are_told_apart() -> None:
    first = np.zeros((1, 8, 8, 3), np.uint8)
    truth = first.copy()
    truth[0, 0, :4] = MOVED + 1  # four pixels moved
    truth[0, 1, :4] = MOVED  # a change too small to count
    predicted = truth.copy()
    predicted[0, 0, :4] += 10
    predicted[0, 7, 7] = 8
    errors = frame_errors(predicted, truth, first)
    assert (errors.moving_count[0], errors.static_count[0]) == (4, 60)
    assert errors.moving_sum[0] == pytest.approx(4 * 100)
    assert errors.static_sum[0] == pytest.approx(64)
    assert errors.mse[0] == pytest.approx((400 + 64) / 64)


def test_errors_are_averaged_over_episodes_before_they_become_decibels() -> None:
    errors = HorizonErrors(horizons=2, views=1)
    truth = np.full((2, 1, 16, 16, 3), 100, np.uint8)
    predicted = truth.copy()
    predicted[0] += 10
    errors.add(1, predicted, truth, truth)
    table = errors.psnr()
    assert table[0, 0] == pytest.approx(float(psnr(np.array(50.0))))
    assert np.isnan(table[1, 0]), "no episode reaches the second horizon"
    assert np.isnan(errors.psnr_moving()[0, 0]), "nothing moved"
    assert errors.psnr_static()[0, 0] == pytest.approx(table[0, 0])


def test_shapes_must_agree() -> None:
    with pytest.raises(UsageError, match="shapes"):
        ssim(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8))
