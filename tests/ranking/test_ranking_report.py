"""`rank` as a whole: the JSON contract, invariances, degenerate input, refusals."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ranking_testing import judge_report

from worldsim.errors import UsageError
from worldsim.ranking.rank import rank
from worldsim.ranking.report import NullPolicy, RankingReport

Bool = NDArray[np.bool_]
NAMES = [f"policy_{i}" for i in range(8)]
JUDGE = judge_report(97, 100, 98, 100, 0.012)


def outcomes(seed: int = 0, starts: int = 40) -> tuple[Bool, Bool]:
    rng = np.random.default_rng(seed)
    reference = rng.random((8, starts)) < np.linspace(0.05, 0.95, 8)[:, None]
    flipped = rng.random(reference.shape) < 0.1
    return reference, reference ^ flipped


def ranked(**options: Any) -> RankingReport:
    return rank(*outcomes(), NAMES, judge=JUDGE, bootstrap_samples=300, **options)


def strict(report: RankingReport) -> Any:
    """Through JSON, refusing NaN, as `ranking.json` goes."""
    return json.loads(json.dumps(report.to_json(), allow_nan=False))


def test_json_holds_what_the_contract_names() -> None:
    data = strict(ranked())
    assert [policy["name"] for policy in data["policies"]] == NAMES
    for policy in data["policies"]:
        assert policy["starts"] == 40
        for world in ("reference", "imagined", "corrected"):
            low, high = policy[f"{world}_interval"]
            assert 0 <= low <= policy[f"{world}_rate"] <= high <= 1
    for name in ("pearson", "spearman", "kendall", "mmrv"):
        low, high = data[name]["interval"]
        assert low <= data[name]["value"] <= high
    assert data["judge"]["tpr"] == 0.97 and data["judge"]["tnr"] == 0.98
    assert data["judge"]["state_error_m"] == 0.012


def test_rates_are_the_shares_given() -> None:
    reference, imagined = outcomes()
    report = ranked()
    for i, policy in enumerate(report.policies):
        assert policy.reference.value == pytest.approx(reference[i].mean())
        assert policy.imagined.value == pytest.approx(imagined[i].mean())
        assert policy.start_agreement == pytest.approx((reference[i] == imagined[i]).mean())
    pairs = report.outcomes
    assert pairs is not None and pairs.total == reference.size
    assert pairs.only_reference == (reference & ~imagined).sum()


def test_same_seed_same_report() -> None:
    assert strict(ranked(seed=3)) == strict(ranked(seed=3))
    # By bootstrap: ends by test inversion may fall on the same step of their search.
    assert strict(ranked(seed=3))["mmrv"] != strict(ranked(seed=4))["mmrv"]


def test_permuting_policies_permutes_the_report_exactly() -> None:
    reference, imagined = outcomes()
    order = np.random.default_rng(5).permutation(8)
    names = [NAMES[i] for i in order]
    direct = strict(ranked())
    moved = strict(
        rank(reference[order], imagined[order], names, judge=JUDGE, bootstrap_samples=300)
    )
    assert moved.pop("policies") == [direct["policies"][i] for i in order]
    direct.pop("policies")
    assert moved == direct


def test_permuting_starts_changes_no_value() -> None:
    reference, imagined = outcomes()
    order = np.random.default_rng(5).permutation(reference.shape[1])
    moved = rank(reference[:, order], imagined[:, order], NAMES, bootstrap_samples=50)
    assert moved.coefficients.pearson.value == ranked().coefficients.pearson.value


def test_equal_worlds_agree_perfectly() -> None:
    reference, _ = outcomes()
    report = rank(reference, reference, NAMES, bootstrap_samples=100)
    main = report.coefficients
    assert main.pearson.value == pytest.approx(1)
    assert (main.mmrv.value, main.bias.value, main.mae.value) == (0, 0, 0)
    assert main.slope.value == pytest.approx(1)
    assert report.outcomes is not None and report.outcomes.agreement == 1


def test_correction_removes_the_judges_bias() -> None:
    """A judge that misses 30% of successes biases rates; corrected, they are unbiased again."""
    rng = np.random.default_rng(0)
    truth = rng.random((8, 2000)) < np.linspace(0.1, 0.9, 8)[:, None]
    seen = truth & (rng.random(truth.shape) < 0.7)
    judge = judge_report(700, 1000, 1000, 1000)
    report = rank(truth, seen, NAMES, judge=judge, bootstrap_samples=200)
    assert report.coefficients.bias.value == pytest.approx(-0.15, abs=0.02)
    assert report.corrected is not None
    assert report.corrected.bias.value == pytest.approx(0, abs=0.01)
    assert report.corrected.mae.value == pytest.approx(0, abs=0.02)


def test_calibrated_rates_are_fitted_without_the_policy_itself() -> None:
    rng = np.random.default_rng(0)
    imagined = rng.random((8, 4000)) < np.linspace(0.1, 0.5, 8)[:, None]
    reference = rng.random((8, 4000)) < (np.linspace(0.1, 0.5, 8) * 1.8)[:, None]
    names = NAMES
    report = rank(reference, imagined, names, bootstrap_samples=50)
    assert report.coefficients.mae.value is not None and report.coefficients.mae.value > 0.2
    assert report.calibrated_mae is not None and report.calibrated_mae < 0.03
    # Changing one policy's truth must leave its own prediction alone.
    reference[3] = False
    again = rank(reference, imagined, names, bootstrap_samples=50)
    assert again.policies[3].calibrated == pytest.approx(report.policies[3].calibrated)
    assert again.policies[2].calibrated != pytest.approx(report.policies[2].calibrated)


def test_best_shares_sum_to_one() -> None:
    report = ranked()
    total = sum(policy.best_in_imagination or 0 for policy in report.policies)
    assert total == pytest.approx(1)


def test_groups_are_ranked_among_themselves() -> None:
    groups = {name: "close" for name in NAMES[2:6]} | {NAMES[0]: "alone"}
    report = ranked(groups=groups)
    assert set(report.groups) == {"close"}
    reference, imagined = outcomes()
    alone = rank(reference[2:6], imagined[2:6], NAMES[2:6], bootstrap_samples=50)
    inside = report.groups["close"].coefficients
    assert inside.kendall.value == alone.coefficients.kendall.value
    assert inside.kendall.interval is not None
    assert strict(report)["groups"]["close"]["policies"] == NAMES[2:6]


def test_progress_has_its_own_coefficients() -> None:
    progress = np.linspace(0.1, 0.9, 8)[:, None] * np.ones((1, 40))
    report = ranked(others={"progress": (progress, progress**2)})
    data = strict(report)
    assert data["progress"]["spearman"]["value"] == pytest.approx(1)
    assert data["policies"][0]["reference_progress"] == pytest.approx(0.1)
    assert data["policies"][0]["imagined_progress"] == pytest.approx(0.01)
    assert data["progress"]["pearson"] == data["metrics"]["progress"]["pearson"]


def test_failures_are_told() -> None:
    report = ranked(failures={"policy_2": ["start 4: ValueError: boom", "start 9: NaN"]})
    assert strict(report)["policies"][2]["failures"]["count"] == 2
    assert any("policy_2: 2 episodes broke off" in note for note in report.notes)


def test_doing_nothing_is_a_false_success_rate() -> None:
    report = ranked(null_policy="policy_0")
    idle = strict(report)["judge"]["do_nothing"]
    assert idle["imagined_rate"] == report.policies[0].imagined.value


def test_several_rollouts_per_start() -> None:
    rng = np.random.default_rng(0)
    reference = rng.random((4, 20, 3)) < 0.5
    report = rank(reference, reference[..., :2], NAMES[:4], bootstrap_samples=60)
    assert report.policies[0].reference.value == pytest.approx(reference[0].mean())
    assert report.policies[0].starts == 40  # imagined rollouts
    assert report.outcomes is None
    strict(report)


@pytest.mark.parametrize(
    ("reference", "imagined", "reason"),
    [
        (np.ones((3, 9)), np.ones((3, 9)), "equal in both worlds"),
        (np.ones((3, 9)), np.tri(3, 9), "all reference rates are equal"),
        (np.tri(3, 9), np.ones((3, 9)), "all imagined rates are equal"),
        (np.ones((1, 9)), np.ones((1, 9)), "one policy"),
        (np.ones((3, 0)), np.ones((3, 0)), "no policy has a rate"),
        (np.ones((0, 9)), np.ones((0, 9)), "no policy has a rate"),
        (np.full((3, 9), np.nan), np.ones((3, 9)), "no policy has a rate"),
        (np.full((3, 9), np.inf), np.ones((3, 9)), "no policy has a rate"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_degenerate_input_gives_none_with_a_reason(
    reference: NDArray[np.float64], imagined: NDArray[np.float64], reason: str
) -> None:
    names = NAMES[: len(reference)]
    report = rank(reference, imagined, names, judge=JUDGE, bootstrap_samples=20)
    data = strict(report)
    assert data["pearson"]["value"] is None and reason in data["pearson"]["reason"]
    assert data["pearson"]["interval"] is None
    assert report.verdict


@pytest.mark.filterwarnings("error")
def test_a_policy_without_a_rate_is_left_out_and_named() -> None:
    reference, imagined = (array.astype(float) for array in outcomes())
    reference[4] = np.nan
    imagined[5, 7] = np.nan
    report = rank(reference, imagined, NAMES, judge=JUDGE, bootstrap_samples=100)
    kept = [i for i in range(8) if i != 4]
    without = rank(reference[kept], imagined[kept], [NAMES[i] for i in kept], bootstrap_samples=100)
    assert report.coefficients.kendall.value == without.coefficients.kendall.value
    assert report.policies[4].reference.value is None
    assert report.policies[5].starts == 39
    assert any(note.startswith("policy_4 has no rate") for note in report.notes)
    strict(report)


def test_few_policies_and_leverage_are_noted() -> None:
    report = rank(np.tri(4, 20, 5), np.tri(4, 20, 6), NAMES[:4], bootstrap_samples=50)
    assert any("no p-value below 0.042" in note for note in report.notes)


def test_verdict_names_the_best_and_whether_the_reference_agrees() -> None:
    reference = np.zeros((3, 40), dtype=bool)
    imagined = np.zeros((3, 40), dtype=bool)
    reference[0, :38] = reference[1, :10] = imagined[0, :36] = imagined[1, :12] = True
    agreeing = rank(reference, imagined, ["a", "b", "c"], bootstrap_samples=50)
    assert agreeing.verdict.startswith("a is the best of 3 policies in imagination, clear of b")
    assert "and the reference agrees" in agreeing.verdict
    opposed = rank(reference[[1, 0, 2]], imagined, ["a", "b", "c"], bootstrap_samples=50)
    assert "while the reference prefers b" in opposed.verdict


def verdict_of(reference: list[int], imagined: list[int]) -> str:
    """Verdict on three policies that succeed so often from 40 starts."""
    starts = np.arange(40)
    truth, dream = (starts < np.array(wins)[:, None] for wins in (reference, imagined))
    return rank(truth, dream, ["a", "b", "c"], bootstrap_samples=200).verdict


@pytest.mark.parametrize(
    ("reference", "imagined", "said"),
    [
        ([0, 0, 0], [40, 20, 0], "while the reference tells none of them apart (all 0.00)"),
        ([12, 4, 0], [40, 20, 0], "puts first too, but at 0.30 [0.18, 0.45] and not at 1.00"),
        ([36, 12, 0], [38, 10, 0], "and the reference agrees"),
        ([20, 21, 0], [38, 10, 0], "while the reference has b ahead, if not clearly"),
        ([10, 30, 0], [38, 10, 0], "while the reference prefers b"),
        ([10, 38, 0], [38, 38, 0], "a and b share the lead of 3 policies, and the reference agre"),
    ],
)
def test_agreement_is_claimed_as_far_as_intervals_go(
    reference: list[int], imagined: list[int], said: str
) -> None:
    found = verdict_of(reference, imagined)
    assert said in found
    assert ("the reference agrees" in found) == ("the reference agre" in said)


def test_two_policies_get_no_correlation_and_no_fit() -> None:
    reference, imagined = outcomes()
    groups = {NAMES[1]: "two", NAMES[6]: "two"} | dict.fromkeys(NAMES[2:5], "three")
    report = ranked(groups=groups | {NAMES[7]: "one"})
    assert sum("gets no correlation" in note for note in report.notes) == 2
    assert any("Group two has 2 ranked policies" in note for note in report.notes)
    inside = report.groups
    assert inside["three"].coefficients.pearson.value is not None
    of_two = inside["two"].coefficients
    for name in ("pearson", "spearman", "kendall", "slope", "intercept"):
        found = getattr(of_two, name)
        assert found.value is None and found.interval is None and "too few" in found.reason
    assert of_two.mmrv.value is not None and of_two.bias.interval is not None
    alone = rank(reference[[1, 6]], imagined[[1, 6]], [NAMES[1], NAMES[6]], bootstrap_samples=50)
    assert alone.coefficients.pearson == of_two.pearson
    assert set(alone.permutation.p_values.values()) == {None}


def test_correlations_over_policies_are_no_surer_than_of_these() -> None:
    report = ranked()
    for name in ("pearson", "spearman", "kendall"):
        wider, ours = getattr(report.over_policies, name), getattr(report.coefficients, name)
        assert wider.interval[0] <= ours.interval[0] and ours.interval[1] <= wider.interval[1]


def test_both_readings_of_mmrv_are_told() -> None:
    data = strict(ranked())
    assert {"mmrv", "mmrv_code"} <= data.keys() and "published code" in data["mmrv_rule"]


def test_resamples_of_two_policies_give_no_interval_over_policies() -> None:
    """Of three policies, most resamples hold two at most, whose correlation is 1 or -1."""
    reference, imagined = outcomes()
    few = rank(reference[[1, 4, 6]], imagined[[1, 4, 6]], list("abc"), bootstrap_samples=200)
    assert few.over_policies.pearson.interval is None
    assert few.over_policies.bias.interval is not None
    assert ranked().over_policies.pearson.interval is not None


def test_zero_actions_that_may_move_the_robot_are_not_called_doing_nothing() -> None:
    report = ranked(null_policy=NullPolicy("policy_0", moves=True, judged=0.25))
    data = strict(report)["judge"]
    assert "do_nothing" not in data and data["zero_actions"]["judged_in_simulation_rate"] == 0.25
    assert not any("Doing nothing" in note for note in report.notes)
    assert any("may well move" in note and "25.0%" in note for note in report.notes)


def test_rates_and_mmrv_lie_on_their_lattice() -> None:
    reference, imagined = outcomes(seed=2)
    report = rank(reference, imagined[::-1], NAMES, bootstrap_samples=20)
    step, value = report.lattice.mmrv_step, report.coefficients.mmrv.value
    assert step is not None and value is not None and value > 0
    assert step == pytest.approx(1 / (8 * 40))
    assert value / step == pytest.approx(round(value / step))
    reference = reference.astype(float)
    reference[0, 0] = np.nan
    assert rank(reference, imagined, NAMES, bootstrap_samples=20).lattice.mmrv_step is None


def test_ordered_is_by_imagined_rate() -> None:
    report = ranked()
    found = [policy.imagined.value or 0 for policy in report.ordered()]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": NAMES[:7] + ["policy_0"]}, "more than once: policy_0"),
        ({"names": NAMES[:7]}, "7 policies"),
        ({"groups": {"polcy_1": "x"}}, "Did you mean 'policy_1'"),
        ({"failures": {"nobody": []}}, "unknown policy 'nobody'"),
        ({"null_policy": "zero"}, "unknown policy 'zero'"),
        ({"bootstrap_samples": 0}, "bootstrap_samples=0"),
        ({"level": 95}, "level=95"),
    ],
)
def test_wrong_requests_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"names": NAMES, "bootstrap_samples": 10} | change
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        rank(*outcomes(), **arguments)
