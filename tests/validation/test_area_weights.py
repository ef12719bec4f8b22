"""Frames of panoramas are scored by solid angle, those of pinhole cameras as ever."""

import math

import numpy as np
import pytest
from toy_room_data import SPEC
from worldsim_testing import nano_spec

from worldsim.validation.video_metrics import (
    HorizonErrors,
    area_weights,
    frame_errors,
    psnr,
    ssim,
)

WEIGHT = area_weights(SPEC.cameras)


def frames() -> tuple[np.ndarray, np.ndarray]:
    truth = np.full((2, 1, 32, 64, 3), 100, np.uint8)
    predicted = truth.copy()
    predicted[0, :, 0] += 40  # a row at a pole
    predicted[1, :, 16] += 40  # a row at the horizon
    return predicted, truth


def test_pinhole_pixels_count_alike() -> None:
    assert area_weights(nano_spec().cameras) is None
    assert WEIGHT is not None and WEIGHT.shape == (1, 32, 64)
    assert WEIGHT.mean() == pytest.approx(1.0)


def test_an_error_counts_by_the_solid_angle_of_its_pixels() -> None:
    predicted, truth = frames()
    errors = frame_errors(predicted, truth, truth, WEIGHT)
    edges = [math.sin((row / 32 - 0.5) * math.pi) for row in (0, 1, 16, 17)]
    shares = np.array([edges[1] - edges[0], edges[3] - edges[2]]) / 2
    assert errors.mse[:, 0] == pytest.approx(40**2 * shares, rel=1e-4)
    plain = frame_errors(predicted, truth, truth)
    assert plain.mse[0, 0] == plain.mse[1, 0] == pytest.approx(50.0)
    assert (errors.static_count + errors.moving_count) == pytest.approx(32 * 64)


def test_what_moved_is_weighed_too() -> None:
    predicted, truth = frames()
    first = truth.copy()
    first[:, :, 16:] = 0
    errors = frame_errors(predicted, truth, first, WEIGHT)
    assert errors.moving_count == pytest.approx(32 * 32)
    assert errors.moving_sum[0, 0] == 0.0 and errors.static_sum[1, 0] == 0.0
    whole = errors.moving_sum + errors.static_sum
    assert whole == pytest.approx(errors.mse * 32 * 64)


def test_similarity_at_a_pole_counts_less_than_at_the_horizon() -> None:
    predicted, truth = frames()
    assert WEIGHT is not None
    at_pole, at_horizon = ssim(predicted, truth, WEIGHT)[:, 0]
    assert at_pole > at_horizon
    assert ssim(predicted, truth, np.ones_like(WEIGHT)) == pytest.approx(ssim(predicted, truth))


def test_horizons_collect_weighted_errors() -> None:
    predicted, truth = frames()
    tally = HorizonErrors(1, 1, WEIGHT)
    errors = tally.add(1, predicted, truth, truth)
    assert tally.psnr()[0] == pytest.approx(psnr(errors.mse.mean(axis=0)))
