"""Coefficients against hand-worked cases, SIMPLER's published tables, and SciPy."""

import numpy as np
import pytest

from worldsim.ranking import correlation

# Real and simulated success rates of RT-2-X, RT-1 (converged, 15%, X, begin) and Octo-Base as
# published with SIMPLER (arXiv 2405.05941; REAL_PERF and SIMPLER_PERF of its metrics module).
# Name: real, simulated, Pearson, MMRV.
SIMPLER = {
    "pick coke can": (
        [0.907, 0.853, 0.920, 0.760, 0.133, 0.293],
        [0.787, 0.857, 0.710, 0.567, 0.027, 0.170],
        0.975,
        0.0313,
    ),
    "move near": (
        [0.733, 0.633, 0.583, 0.450, 0.017, 0.350],
        [0.779, 0.442, 0.354, 0.317, 0.050, 0.042],
        0.856,
        0.1110,
    ),
    "open drawer": (
        [0.333, 0.815, 0.704, 0.519, 0.000, 0.148],
        [0.157, 0.601, 0.463, 0.296, 0.000, 0.009],
        0.983,
        0.0,
    ),
    "close drawer": (
        [0.630, 0.926, 0.889, 0.741, 0.000, 0.519],
        [0.343, 0.861, 0.667, 0.891, 0.278, 0.444],
        0.771,
        0.1233,
    ),
    "place apple in drawer": (
        [0.074, 0.185, 0.185, 0.407, 0.000, 0.000],
        [0.037, 0.065, 0.130, 0.213, 0.000, 0.000],
        0.969,
        0.0,
    ),
}


@pytest.mark.parametrize("task", SIMPLER)
def test_simpler_tables(task: str) -> None:
    real, simulated, r, mmrv = SIMPLER[task]
    assert correlation.pearson(reference=real, imagined=simulated) == pytest.approx(r, abs=6e-4)
    assert correlation.mmrv(reference=real, imagined=simulated) == pytest.approx(mmrv, abs=6e-5)


def test_mmrv_gap_is_on_the_reference_side() -> None:
    real, simulated, _, mmrv = SIMPLER["move near"]
    swapped = correlation.mmrv(reference=simulated, imagined=real)
    assert swapped == pytest.approx(0.003, abs=5e-4)
    assert swapped != pytest.approx(mmrv, abs=0.05)


def test_mmrv_by_hand_without_ties() -> None:
    # R: a .2 b .5 c .9; S orders them c < a < b. Wrong pairs: (a, c) gap .7, (b, c) gap .4.
    # Worst per policy: a .7, b .4, c .7.
    value = correlation.mmrv(reference=[0.2, 0.5, 0.9], imagined=[0.3, 0.4, 0.1])
    assert value == pytest.approx((0.7 + 0.4 + 0.7) / 3)


def test_mmrv_tie_in_imagination_charges_the_lower_policy_only() -> None:
    # S_a = S_b: (S_a < S_b) is False while R_a < R_b is True, a violation for i = a;
    # for i = b both comparisons are False, no violation.
    assert correlation.mmrv(reference=[0.2, 0.6], imagined=[0.5, 0.5]) == pytest.approx(0.4 / 2)


def test_mmrv_tie_in_reference_costs_nothing() -> None:
    assert correlation.mmrv(reference=[0.5, 0.5], imagined=[0.1, 0.9]) == 0.0


def test_mmrv_of_the_published_code_charges_the_higher_policy_of_a_tie() -> None:
    """SIMPLER's code compares with >, its paper with <; without ties they agree."""
    r, s = [0.1, 0.2, 0.6, 0.9], [0.0, 0.5, 0.5, 0.5]
    # Paper: b and c are charged for d, a not at all. Code: c and d are charged for b.
    assert correlation.mmrv(reference=r, imagined=s) == pytest.approx((0.7 + 0.3) / 4)
    assert correlation.mmrv_code(reference=r, imagined=s) == pytest.approx((0.4 + 0.7) / 4)
    untied = [0.3, 0.5, 0.4, 0.1]
    of_both = [f(reference=r, imagined=untied) for f in (correlation.mmrv, correlation.mmrv_code)]
    assert of_both[0] == pytest.approx(float(of_both[1]))


def test_mmrv_refuses_positional_arguments() -> None:
    with pytest.raises(TypeError):
        correlation.mmrv([0.1, 0.2], [0.1, 0.2])  # type: ignore[call-arg]


def test_kendall_tau_b_by_hand() -> None:
    # Pairs: (1,2) S tie; (1,3), (2,3) concordant; (3,4) R tie; (1,4), (2,4) concordant.
    # 4 concordant; denominators: pairs not tied in R 5, in S 5.
    value = correlation.kendall(reference=[1, 2, 3, 3], imagined=[1, 1, 2, 3])
    assert value == pytest.approx(4 / np.sqrt(5 * 5))


def test_average_ranks_share_ties() -> None:
    assert correlation.average_ranks([0.3, 0.1, 0.3, 0.9]).tolist() == [2.5, 1.0, 2.5, 4.0]


@pytest.mark.parametrize("seed", range(5))
def test_against_scipy(seed: int) -> None:
    from scipy import stats

    rng = np.random.default_rng(seed)
    r, s = rng.integers(0, 6, 12) / 6, rng.integers(0, 6, 12) / 6
    pairs = [
        (correlation.pearson, stats.pearsonr),
        (correlation.spearman, stats.spearmanr),
        (correlation.kendall, stats.kendalltau),
    ]
    for ours, theirs in pairs:
        assert ours(reference=r, imagined=s) == pytest.approx(theirs(r, s).statistic)


def test_leading_axes_are_independent() -> None:
    rng = np.random.default_rng(0)
    r, s = rng.random((4, 3, 7)), rng.random((4, 3, 7))
    for function in (
        correlation.pearson,
        correlation.spearman,
        correlation.kendall,
        correlation.mmrv,
        correlation.mmrv_code,
        correlation.pairwise_accuracy,
        correlation.selection_regret,
        correlation.calibration_slope,
    ):
        whole = function(reference=r, imagined=s)
        assert whole.shape == (4, 3)
        assert whole[2, 1] == pytest.approx(float(function(reference=r[2, 1], imagined=s[2, 1])))


@pytest.mark.parametrize(
    ("reference", "imagined"),
    [([0.5] * 3, [0.1, 0.2, 0.3]), ([0.1, 0.2, 0.3], [0.1] * 3), ([0.4], [0.4]), ([], [])],
)
def test_undefined_is_nan(reference: list[float], imagined: list[float]) -> None:
    for function in (correlation.pearson, correlation.spearman, correlation.kendall):
        assert np.isnan(function(reference=reference, imagined=imagined))


def test_one_third_repeated_counts_as_constant() -> None:
    # Its mean is not exactly itself, so a naive variance would be 1e-34 and r would be noise.
    assert np.isnan(correlation.pearson(reference=[0.1, 0.2, 0.3], imagined=[1 / 3] * 3))


def test_pairwise_accuracy_halves_ties_and_skips_equal_references() -> None:
    # Reference pairs that differ: (a,b), (a,c); imagined: (a,b) right, (a,c) tied.
    value = correlation.pairwise_accuracy(reference=[0.1, 0.5, 0.5], imagined=[0.2, 0.6, 0.2])
    assert value == pytest.approx(0.75)


def test_selection_regret_averages_over_tied_leaders() -> None:
    value = correlation.selection_regret(reference=[0.9, 0.5, 0.1], imagined=[0.4, 0.8, 0.8])
    assert value == pytest.approx(0.9 - (0.5 + 0.1) / 2)


def test_calibration_line_recovers_a_line() -> None:
    s = np.array([0.1, 0.4, 0.8])
    slope, intercept = correlation.calibration_line(reference=0.5 * s + 0.2, imagined=s)
    assert slope == pytest.approx(0.5)
    assert intercept == pytest.approx(0.2)


def test_bias_is_positive_when_imagination_flatters() -> None:
    assert correlation.bias(reference=[0.1, 0.2], imagined=[0.3, 0.2]) == pytest.approx(0.1)
    error = correlation.mean_absolute_error(reference=[0.1, 0.4], imagined=[0.3, 0.2])
    assert error == pytest.approx(0.2)


def test_nothing_is_lost_by_any_of_equal_policies() -> None:
    # The sum of three tenths over three is a rounding above a tenth.
    tied = [0.1, 0.1, 0.1]
    assert float(correlation.selection_regret(reference=tied, imagined=tied)) == 0.0
