"""Distances of feature sets: closed forms, invariances, published implementations as oracles."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from worldsim.errors import UsageError
from worldsim.validation.features.compare import RECORDED, Features, compare
from worldsim.validation.features.distances import (
    KernelSums,
    frechet_distance,
    kernel_distance,
    polynomial_kernel,
)

Float = NDArray[np.float64]


def draw(count: int, wide: int, seed: int = 0) -> Float:
    return np.random.default_rng(seed).normal(size=(count, wide))


def exact(count: int, spread: Float, seed: int) -> Float:
    """Samples of mean 0 whose covariance is the square of `spread`, diagonal, to the last bit."""
    raw = draw(count, len(spread), seed)
    basis, _ = np.linalg.qr(raw - raw.mean(0))
    return np.asarray(basis * np.sqrt(count - 1) * spread)


def test_normals_of_known_distance() -> None:
    one, two, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0]), np.array([1, -2, 0.5])
    x, y = exact(40, one, 1), exact(60, two, 2) + shift
    known = np.square(shift).sum() + np.square(one - two).sum()
    assert frechet_distance(x, y) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "wide"), [(50, 60, 7), (5, 9, 30), (40, 6, 20)])
def test_a_published_implementation_says_the_same(n: int, m: int, wide: int) -> None:
    """Also where covariances are singular."""
    x, y = draw(n, wide, 1), 0.3 + draw(m, wide, 2) @ draw(wide, wide, 3)
    sets = [torch.from_numpy(z) for z in (x, y)]
    moments = [part for z in sets for part in (z.mean(0), z.T.cov())]
    assert frechet_distance(x, y) == pytest.approx(float(_compute_fid(*moments)), rel=1e-5)


def test_kernel_distance_is_the_published_one() -> None:
    x, y = draw(30, 8, 1), 0.5 + draw(30, 8, 2)
    expected = poly_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert kernel_distance(x, y) == pytest.approx(float(expected))


@pytest.mark.parametrize(("count", "wide"), [(30, 5), (6, 40)])
def test_what_does_not_change_a_distance(count: int, wide: int) -> None:
    x, y = draw(count, wide, 1), 1.0 + 2.0 * draw(count + 3, wide, 2)
    known = frechet_distance(x, y)
    assert known > 1
    turn, _ = np.linalg.qr(draw(wide, wide, 3))
    order = np.random.default_rng(4).permutation(count)
    same = (
        (y, x),
        (x[order], y),
        (x @ turn, y @ turn),
        (x + 5.0, y + 5.0),
        (x[::-1], y[::-1]),
    )
    for one, other in same:
        assert frechet_distance(one, other) == pytest.approx(known, rel=1e-9)
    assert kernel_distance(x[order], y) == pytest.approx(kernel_distance(x, y))
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * known, rel=1e-9)


@pytest.mark.parametrize(("count", "wide"), [(30, 5), (6, 40)])
def test_equal_sets_are_nothing_apart_and_a_shift_adds_its_square(count: int, wide: int) -> None:
    x, shift = draw(count, wide, 1), draw(1, wide, 2)[0]
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-10)
    assert frechet_distance(x, x + shift) == pytest.approx(np.square(shift).sum(), rel=1e-9)


def test_counts_are_repetitions() -> None:
    x, y = draw(9, 4, 1), draw(12, 4, 2)
    often, more = np.array([0, 1, 2, 0, 3, 1, 1, 0, 1.0]), np.arange(12.0) % 3
    repeated = np.repeat(x, often.astype(int), 0), np.repeat(y, more.astype(int), 0)
    assert frechet_distance(x, y, often, more) == pytest.approx(frechet_distance(*repeated))
    assert np.isnan(frechet_distance(x, y, np.eye(9)[0]))


def test_few_samples_bias_the_one_and_not_the_other() -> None:
    """Two sets of one distribution: the Frechet distance grows as they shrink."""
    sizes, frechet, kernel = (8, 32, 128), [], []
    for size in sizes:
        pairs = [(draw(size, 10, 2 * i), draw(size, 10, 2 * i + 1)) for i in range(200)]
        frechet.append(np.mean([frechet_distance(*pair) for pair in pairs]))
        values = np.array([kernel_distance(*pair) for pair in pairs])
        kernel.append(values.mean() / (values.std() / np.sqrt(len(values))))
    assert frechet[0] > 2 * frechet[1] > 4 * frechet[2] > 0
    assert np.abs(kernel).max() < 3


def loops(x: Features, y: Features, x_drawn: Float, y_drawn: Float) -> float:
    """Kernel distance by its definition: pairs of different episodes, each as often as drawn."""

    def mean(one: Features, two: Features, left: Float, right: Float) -> float:
        total = pairs = 0.0
        for a, e in zip(one.values, one.episodes, strict=True):
            for b, f in zip(two.values, two.episodes, strict=True):
                if e != f:
                    total += left[e] * right[f] * (a @ b / len(a) + 1) ** 3
                    pairs += left[e] * right[f]
        return total / pairs

    return (
        mean(x, x, x_drawn, x_drawn)
        + mean(y, y, y_drawn, y_drawn)
        - 2 * mean(x, y, x_drawn, y_drawn)
    )


def test_pairs_within_an_episode_do_not_count() -> None:
    whose = np.array([0, 0, 1, 2, 2, 2, 3])
    x, y = Features(draw(7, 5, 1), whose), Features(1 + draw(8, 5, 2), np.arange(8) % 4)
    sums = KernelSums.of(x.values, y.values, x.episodes, y.episodes, 4)
    drawn = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 0, 4, 0]])
    found = sums.distance(drawn, drawn)
    assert found[:2] == pytest.approx([loops(x, y, d, d) for d in drawn[:2]])
    assert np.isnan(found[2])
    left, right = np.array([[1.0, 1, 0, 0]]), np.array([[0.0, 0, 1, 1]])
    assert sums.distance(left, right)[0] == pytest.approx(loops(x, y, left[0], right[0]))
    twin = KernelSums.of(x.values, x.values, whose, whose, 4)
    assert twin.distance(drawn[:2], drawn[:2]) == pytest.approx(np.zeros(2), abs=1e-12)


def test_without_repetition_of_episodes_it_is_the_usual_distance() -> None:
    x, y = draw(6, 3, 1), draw(6, 3, 2)
    apart = KernelSums.of(x, y, np.arange(6), np.arange(6, 12), 12)
    whole = np.ones((1, 12))
    assert apart.distance(whole, whole)[0] == pytest.approx(kernel_distance(x, y))
    assert polynomial_kernel(np.ones((1, 4)), np.ones((1, 4))) == pytest.approx(8.0)


def test_a_comparison_has_intervals_and_halves() -> None:
    episodes = np.repeat(np.arange(12), 3)
    truth = draw(36, 6, 1)
    worlds = {
        "near": Features(truth + 0.1 * draw(36, 6, 2), episodes),
        "far": Features(3.0 + draw(36, 6, 3), episodes),
    }
    found = compare(worlds, Features(truth, episodes), splits=4)
    assert (found.episodes, found.samples) == (12, 36)
    for by_world in (found.frechet, found.kernel):
        values = [by_world[name].value for name in ("near", "far")]
        assert values[0] is not None and values[1] is not None and values[0] < values[1] / 10
        for each in by_world.values():
            assert each.value is not None and each.interval is not None
            assert each.interval[0] <= each.value <= each.interval[1]
    assert found.frechet["far"].value == pytest.approx(
        frechet_distance(worlds["far"].values, truth)
    )
    halves = found.halves
    assert halves is not None and (halves.samples, halves.splits) == (18, 4)
    near, far, floor = (halves.frechet[name] for name in ("near", "far", RECORDED))
    assert near is not None and far is not None and floor is not None
    # A near copy of one half is as far from the other half as that half itself.
    assert near == pytest.approx(floor, rel=0.2) and far > 5 * floor
    again = compare(worlds, Features(truth, episodes), splits=4)
    assert again == found
    assert found.to_json()["halves"]["samples"] == 18
    three = Features(truth, episodes % 3)
    assert compare({"near": three}, three, 4).halves is None


def test_too_many_directions_leave_the_interval_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldsim.validation.features.compare.MOST_SAMPLES", 2)
    whose = np.arange(8)
    sets = Features(draw(8, 6, 1), whose), Features(draw(8, 6, 2), whose)
    found = compare({"one": sets[0]}, sets[1], 2)
    assert found.frechet["one"].interval is None and found.frechet["one"].value is not None
    assert "kernel distance has one" in str(found.frechet["one"].reason)
    assert found.kernel["one"].interval is not None
    assert found.halves is not None and found.halves.splits == 1


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"expected \[n, D\]"):
        frechet_distance(draw(4, 3), draw(4, 2))
    with pytest.raises(UsageError, match="two samples"):
        kernel_distance(draw(1, 3), draw(4, 3))
