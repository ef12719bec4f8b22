"""Statistics against numpy on the raw values."""

import numpy as np
import pytest

from worldsim.data.statistics import (
    QUANTILES,
    feature_statistics,
    image_statistics,
    pixel_histogram,
    sample_rows,
)
from worldsim.errors import DataError


def test_quantiles_equal_numpy() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(357, 4)).astype(np.float32)
    found = feature_statistics(values)
    for name, q in QUANTILES.items():
        expected = np.quantile(values.astype(np.float64), q, axis=0)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12)
    np.testing.assert_allclose(found.mean, values.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.astype(np.float64).std(0), rtol=1e-12)
    assert found.count == 357


def test_histogram_statistics_equal_those_of_the_pixels() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 7, 5, 3)).astype(np.uint8)
    found = image_statistics(pixel_histogram(frames), frames=3)
    pixels = frames.reshape(-1, 3) / 255.0
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-12)
    np.testing.assert_array_equal(found.min, pixels.min(0))
    np.testing.assert_array_equal(found.max, pixels.max(0))
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(getattr(found, name), np.quantile(pixels, q, axis=0), atol=1e-12)
    assert np.shape(found.to_json(image=True)["mean"]) == (3, 1, 1)


def test_bad_values_are_refused() -> None:
    with pytest.raises(DataError, match="first in row 1"):
        feature_statistics(np.array([[0.0], [np.nan]]))
    with pytest.raises(DataError, match="without frames"):
        feature_statistics(np.zeros((0, 2)))


def test_sampled_rows_include_both_ends() -> None:
    assert sample_rows(1) == [0]
    assert sample_rows(3) == [0, 1, 2]
    assert sample_rows(100)[0] == 0 and sample_rows(100)[-1] == 99 and len(sample_rows(100)) == 4
