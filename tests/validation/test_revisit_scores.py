"""Scores of revisits: by hand, weighed by solid angle, and the distances of LPIPS."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lpips_testing import lpips_weights
from safetensors.torch import save_file

from worldsim.errors import DataError
from worldsim.models.lpips import Lpips
from worldsim.validation.revisit.report import ArmCost, RevisitReport, Row, WalkFacts, over_scenes
from worldsim.validation.revisit.scores import Scored, Tally, squared
from worldsim.validation.video_metrics import psnr_of, ssim, ssim_map

RNG = np.random.default_rng(0)


def pictures(*lead: int) -> np.ndarray:
    return RNG.integers(0, 255, (*lead, 16, 32, 3), dtype=np.uint8)


def scored(truth: np.ndarray, weight: np.ndarray, **masks: np.ndarray) -> Scored:
    depth = np.full(truth.shape[:-1], 2.0)
    return Scored(truth, depth, masks, weight, (True,))


def test_errors_are_weighed_and_masked() -> None:
    truth = np.full((1, 1, 2, 4, 3), 100, np.uint8)
    frames = truth.copy()
    frames[0, 0, 0] = 110
    frames[0, 0, 1, 0] = 200
    weight = np.array([[[0.5] * 4, [1.5] * 4]])
    seen = np.zeros((1, 1, 2, 4), bool)
    seen[0, 0, :, 1:] = True
    masks = {"all": np.ones_like(seen), "seen": seen, "never": ~seen & False}
    tally = Tally()
    tally.add("truth", squared(frames, truth), masks, weight)
    assert tally.mean("all", "truth") == pytest.approx((4 * 0.5 * 100 + 1.5 * 1e4) / 8)
    assert tally.mean("seen", "truth") == pytest.approx(3 * 0.5 * 100 / 6)
    assert tally.figure("seen", "truth") == pytest.approx(psnr_of(25.0))
    assert np.isnan(tally.figure("never", "truth")) and np.isnan(tally.figure("off", "ssim"))
    tally.join(tally)
    assert tally.mean("seen", "truth") == pytest.approx(25.0)


def test_equal_frames_are_equal_by_every_measure() -> None:
    truth, all_ = pictures(2, 1), np.ones((2, 1, 16, 32), bool)
    told = np.full((2, 1, 8, 16), 2.5)
    tally = scored(truth, np.ones((1, 16, 32)), seen=all_).tally(truth, truth, told)
    assert tally.figure("seen", "truth") == tally.figure("seen", "own") == 100.0
    assert tally.figure("seen", "ssim") == pytest.approx(1.0)
    assert tally.figure("seen", "depth") == pytest.approx(0.25)


def test_structure_of_a_panorama_does_not_know_where_it_is_cut() -> None:
    truth, frames = pictures(1, 1), pictures(1, 1)
    all_ = np.ones((1, 1, 16, 32), bool)
    values = []
    for shift in (0, 11):
        one, other = (np.roll(x, shift, axis=3) for x in (truth, frames))
        tally = scored(one, np.ones((1, 16, 32)), all=all_).tally(other, other)
        values.append(tally.figure("all", "ssim"))
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert ssim_map(frames[0, 0], truth[0, 0]).mean() == pytest.approx(ssim(frames, truth)[0, 0])


def test_lpips_is_a_distance_of_its_features(tmp_path: Path) -> None:
    network = Lpips.load(lpips_weights(tmp_path / "lpips.safetensors"))
    one, other = pictures(2, 1), pictures(2, 1)
    apart = network.maps(one, other)
    assert apart.shape == (2, 1, 16, 32) and (apart > 0).all()
    np.testing.assert_allclose(network.maps(one, one), 0.0, atol=1e-7)
    np.testing.assert_allclose(network.maps(other, one), apart, rtol=1e-4)
    near = np.clip(one.astype(int) + 3, 0, 255).astype(np.uint8)
    assert network.maps(one, near).mean() < 0.1 * apart.mean()
    # The first of its five terms by hand, the others' weights put to nothing.
    with torch.no_grad():
        for weight in list(network.weights)[1:]:
            weight.zero_()
    image = [torch.from_numpy(x[0]).movedim(-1, 1) / 127.5 - 1 for x in (one, other)]
    image = [torch.nn.functional.interpolate(x, scale_factor=4) for x in image]
    features = []
    for x in image:
        y = torch.relu(network.layers[0]((x - network.shift) / network.scale))
        features.append(y / y.norm(dim=1, keepdim=True))
    expected = torch.einsum("nchw,c->nhw", (features[0] - features[1]) ** 2, network.weights[0])
    large = torch.nn.functional.interpolate(expected[:, None], image[0].shape[2:], mode="bilinear")
    torch.testing.assert_close(network(*image), large[:, 0])


def test_a_file_that_is_no_lpips_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(DataError, match=r"lacks \['layers.0.weight'.*models/lpips.py"):
        Lpips.load(path)
    path.write_text("no weights")
    with pytest.raises(DataError, match=r"is no .safetensors file"):
        Lpips.load(path)


def row(arm: str, scene: int, route: str, psnr: float, seed: int = 0) -> Row:
    mse = 255.0**2 / 10 ** (psnr / 10)
    sums = {(r, "truth"): np.array([5 * mse, 5.0]) for r in ("returned", "all")}
    return Row(arm, scene, route, seed, Tally(sums))


def report(rows: list[Row], arms: tuple[str, ...]) -> RevisitReport:
    walks = dict.fromkeys((r.scene, r.route) for r in rows)
    facts = tuple(WalkFacts(s, r, 20, 10, 0.4, 90.0, {"returned": 0.3}) for s, r in walks)
    costs = {arm: ArmCost(arm, 0.01, 100.0) for arm in arms}
    return RevisitReport(tuple(rows), costs, {}, facts, "shown", 4, 8)


def test_gains_and_shares_by_hand() -> None:
    values = {"none": (10.0, 14.0), "oracle": (20.0, 24.0), "points": (16.0, 20.0)}
    rows = []
    for arm, scenes in values.items():
        for scene, value in enumerate(scenes):
            # Two routes and two streams, whose mean is the value.
            for route, off in (("spin", -1.0), ("rectangle", 1.0)):
                rows += [
                    row(arm, scene, route, value + off - 0.5),
                    row(arm, scene, route, value + off + 0.5, 1),
                ]
            rows.append(row(arm, scene, "control", 30.0))
    found = report(rows, tuple(values))
    assert found.figure("points", "returned", "truth").value == pytest.approx(18.0)
    assert found.gain("points").value == pytest.approx(6.0)
    assert found.gain("points").interval == pytest.approx((6.0, 6.0))
    assert found.share("points").value == pytest.approx(0.6)
    assert found.share("oracle").value == pytest.approx(1.0)
    assert found.gain("points", "control", "all").value == pytest.approx(0.0)
    low, high = found.figure("none", "returned", "truth").interval or (0, 0)
    assert low == pytest.approx(10.0) and high == pytest.approx(14.0)
    spin = found.figure("none", "returned", "truth", "spin")
    assert spin.value == pytest.approx(11.0)
    assert found.figure("none", "never", "truth").value is None
    told = found.to_json()
    assert told["arms"]["points"]["share_of_gap"]["value"] == pytest.approx(0.6)
    assert len(told["streams"]) == len(rows)


def test_one_scene_has_no_interval_and_an_arm_that_was_not_run_no_gain() -> None:
    found = report([row("points", 0, "spin", 12.0)], ("points",))
    value = found.figure("points", "returned", "truth")
    assert value.value == pytest.approx(12.0) and value.interval is None
    assert found.gain("points").value is None and found.share("points").value is None


def test_scenes_that_lack_one_of_two_figures_do_not_count() -> None:
    one, other = np.array([1.0, np.nan, 5.0, 3.0]), np.array([0.0, 7.0, np.nan, 1.0])
    assert over_scenes(lambda x, y: (x - y).mean(-1), one, other).value == pytest.approx(1.5)
