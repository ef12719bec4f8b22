"""The state estimator localises below its grid, row by row, and comes back from disk unchanged."""

from pathlib import Path

import pytest
import torch

from worldsim.errors import DataError, UsageError
from worldsim.models.heads.state_estimator import (
    SpatialSoftmax,
    StateEstimator,
    StateEstimatorConfig,
)

CONFIG = StateEstimatorConfig(num_views=2, state_dim=3, image_size=(16, 24), width=8, keypoints=4)


@pytest.fixture
def estimator() -> StateEstimator:
    torch.manual_seed(0)
    return StateEstimator(CONFIG).eval()


def test_spatial_softmax_finds_a_peak_between_two_cells() -> None:
    scores = torch.zeros(1, 1, 5, 9)
    scores[0, 0, 2, 4:6] = 50.0
    x, y, peak = SpatialSoftmax(1)(scores)[0, 0]
    # Columns span [-1, 1] in 9 cells: 4 and 5 are at 0 and 0.25. Row 2 of 5 is the middle.
    assert x.item() == pytest.approx(0.125, abs=1e-4)
    assert y.item() == pytest.approx(0.0, abs=1e-4)
    assert peak.item() > 0.99


def test_rows_do_not_influence_each_other(estimator: StateEstimator) -> None:
    frames = torch.randint(0, 256, (5, 2, 3, 16, 24), dtype=torch.uint8)
    whole = estimator(frames)
    for row in range(5):
        for ours, theirs in zip(estimator(frames[row : row + 1]), whole, strict=True):
            torch.testing.assert_close(ours[0], theirs[row], rtol=1e-4, atol=1e-5)


def test_uint8_and_scaled_float_read_alike(estimator: StateEstimator) -> None:
    frames = torch.randint(0, 256, (2, 2, 3, 16, 24), dtype=torch.uint8)
    for ours, theirs in zip(estimator(frames), estimator(frames / 127.5 - 1), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_state_is_returned_in_physical_units(estimator: StateEstimator) -> None:
    frames = torch.randint(0, 256, (2, 2, 3, 16, 24), dtype=torch.uint8)
    plain = estimator(frames).state
    mean, std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 2.0, 0.0])
    estimator.set_normaliser(mean, std)
    # A constant entry has no spread to scale by.
    expected = plain * torch.tensor([0.5, 2.0, 1.0]) + mean
    torch.testing.assert_close(estimator(frames).state, expected)


def test_views_are_told_apart(estimator: StateEstimator) -> None:
    with torch.no_grad():
        estimator.view_shift[1] += 1.0
    frames = torch.randint(0, 256, (1, 2, 3, 16, 24), dtype=torch.uint8)
    swapped = estimator(frames.flip(1))
    assert (swapped.state - estimator(frames).state).abs().max() > 1e-4


def test_disk_round_trip_and_what_does_not_fit(estimator: StateEstimator, tmp_path: Path) -> None:
    estimator.save_pretrained(tmp_path)
    again = StateEstimator.from_pretrained(tmp_path)
    frames = torch.randint(0, 256, (2, 2, 3, 16, 24), dtype=torch.uint8)
    for ours, theirs in zip(estimator(frames), again(frames), strict=True):
        torch.testing.assert_close(ours, theirs)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"keypoints": 4', '"keypoints": 5'))
    with pytest.raises(DataError, match="does not fit"):
        StateEstimator.from_pretrained(tmp_path)
    config.write_text('{"class": "os.system"}')
    with pytest.raises(DataError, match="does not describe a state estimator"):
        StateEstimator.from_pretrained(tmp_path)


def test_is_small() -> None:
    full = StateEstimator(StateEstimatorConfig(num_views=3, state_dim=10))
    assert sum(parameter.numel() for parameter in full.parameters()) < 400_000


def test_bad_shapes_say_what_was_expected(estimator: StateEstimator) -> None:
    with pytest.raises(UsageError, match="expected"):
        estimator(torch.zeros(1, 3, 3, 16, 24))
    with pytest.raises(UsageError, match="multiples of 4"):
        StateEstimatorConfig(num_views=1, state_dim=1, image_size=(30, 32))
