"""Drift: measures in closed form, the simulator's own divergence, a model that is the simulator."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from worldsim_testing import nano_model

from worldsim.cli.drift import summary_lines
from worldsim.collection.behaviours import Behaviour
from worldsim.collection.collect import collect
from worldsim.collection.recorder import CollectionConfig
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.judge.judge import Judgement, ObservedFrame
from worldsim.sampling.sampler import Sampler
from worldsim.spec import WorldSpec
from worldsim.validation import divergence as divergence_module
from worldsim.validation.appearance import appearance, luminance, motion, saturation, sharpness
from worldsim.validation.closure import loop_closure, there_and_back
from worldsim.validation.divergence import divergence
from worldsim.validation.drift import DriftConfig, measure_drift
from worldsim.validation.drift_report import DriftReport
from worldsim.validation.probe import share_of_way

STEPS = 14

SAME_DB = 1e-3
"""Batches of another size may round a pixel the other way: that moves a frame's PSNR by less."""


@pytest.fixture(scope="module")
def pushes(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    """Three longer episodes of play, past the task's own end."""
    root = tmp_path_factory.mktemp("drift") / "long"
    config = CollectionConfig(
        env_id="worldsim/TabletopPush-v0",
        env_kwargs={"image_size": 32, "max_episode_steps": STEPS},
        behaviours={"play": Behaviour(weight=1.0, policy="play")},
        episodes=3,
        steps_after_success=STEPS,
    )
    collect(config, root, workers=0)
    return build_cache(root)


def measure(cache: CachedDataset, sampler: Sampler | None = None, **config: object) -> DriftReport:
    chosen = DriftConfig(window_s=0.5, closure_s=0.3, **config)  # type: ignore[arg-type]
    return measure_drift(
        nano_model(spec=cache.spec), cache, [0, 1, 2], sampler or Sampler(steps=1), chosen
    )


def test_measures_in_closed_form() -> None:
    grey = np.full((2, 8, 8, 3), 100, np.uint8)
    np.testing.assert_allclose(luminance(grey), 100.0)
    np.testing.assert_allclose(saturation(grey), 0.0)
    np.testing.assert_allclose(sharpness(grey), 0.0)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    assert luminance(red) == pytest.approx(0.299 * 200)
    assert saturation(red) == pytest.approx(1.0)
    half = grey[0].copy()
    half[..., 1:] = 50
    assert saturation(half) == pytest.approx(0.5)
    board = np.indices((8, 8)).sum(0) % 2 * 255
    checks = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    # Every inner pixel differs from all four neighbours: the Laplacian is +-4 * 255.
    assert sharpness(checks) == pytest.approx((4 * 255.0) ** 2)
    assert motion(grey[0], np.full_like(grey[0], 90)) == pytest.approx(10.0)
    assert appearance(grey, grey).shape == (2, 4)


def test_streams_last_as_long_as_the_episodes(pushes: CachedDataset) -> None:
    report = measure(pushes)
    assert len(report.imagined["luminance"]) == STEPS
    assert report.open_loop.episodes.tolist() == [3] * STEPS
    first = np.asarray(pushes.pixels[pushes.episode_start[:3] + 1])
    assert report.simulated["luminance"][0] == pytest.approx(luminance(first).mean())
    assert set(report.divergence_m) == {"object", "goal"}
    summary = report.summary()
    assert np.isnan(summary["seam_jump"])
    for name, (low, high) in report.intervals().items():
        assert low - 1e-9 <= summary[name] <= high + 1e-9, name
    assert {"drift_luminance", "drift_sharpness"} < set(report.intervals())
    assert summary["psnr_best"] == pytest.approx(summary["psnr_mean"])


@pytest.mark.parametrize(
    "sampler",
    [Sampler(steps=2, chunk=2), Sampler("rolling", steps=2), Sampler("full_sequence", 1, window=3)],
    ids=str,
)
def test_every_sampler_reaches_the_end(pushes: CachedDataset, sampler: Sampler) -> None:
    report = measure(pushes, sampler, max_steps=9)
    assert np.isfinite(report.open_loop.psnr["model"]).all()
    assert len(report.imagined["motion"]) == 9
    assert np.isfinite(report.seam_jump()) == (sampler.chunk > 1)


@pytest.mark.usefixtures("float32_inference")
def test_exchanged_actions_may_be_those_of_a_few_episodes(pushes: CachedDataset) -> None:
    few, whole = (measure(pushes, max_steps=4, exchanged=count) for count in (1, 0))
    for name in ("model", "first_frame"):
        np.testing.assert_allclose(
            few.open_loop.psnr[name], whole.open_loop.psnr[name], atol=SAME_DB, rtol=0
        )
    shuffled = few.open_loop.psnr["shuffled_actions"]
    assert np.isfinite(shuffled).all()
    assert not np.allclose(shuffled, whole.open_loop.psnr["shuffled_actions"])
    # Compared with the model in the same episode.
    alone = measure_drift(
        nano_model(spec=pushes.spec),
        pushes,
        [0, 1],
        Sampler(steps=1),
        DriftConfig(max_steps=4, closure_s=0, exchanged=1),
    )
    np.testing.assert_allclose(
        few.open_loop.psnr_exchanged, alone.open_loop.psnr_exchanged, atol=SAME_DB, rtol=0
    )
    np.testing.assert_allclose(whole.open_loop.psnr_exchanged, whole.open_loop.psnr["model"])
    # Where the exchanged episodes have ended there is nothing to be better than.
    ended = replace(
        few.open_loop,
        psnr={**few.open_loop.psnr, "shuffled_actions": shuffled.copy()},
        psnr_exchanged=shuffled + 1.0,
    )
    ended.psnr["shuffled_actions"][2:] = np.nan
    assert ended.summary()["beats_shuffled_actions"] == 1.0
    assert ended.summary()["valid_horizon_shuffled_actions"] == 2
    expected = few.open_loop.psnr_exchanged > shuffled
    np.testing.assert_array_equal(few.open_loop.beats("shuffled_actions"), expected)


def test_windows_at_the_ends_do_not_overlap(pushes: CachedDataset) -> None:
    assert measure(pushes).window == 5
    assert measure(pushes, max_steps=6).window == 3


@pytest.mark.usefixtures("float32_inference")
def test_best_of_several_streams_is_no_worse_than_their_mean(pushes: CachedDataset) -> None:
    one, three = measure(pushes, max_steps=4), measure(pushes, max_steps=4, samples=3)
    assert three.best_psnr > three.mean_psnr
    assert three.best_psnr >= one.mean_psnr - SAME_DB
    assert three.open_loop.episodes.tolist() == [9] * 4


def test_the_simulator_diverges_from_itself_only_when_disturbed(
    pushes: CachedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = divergence(pushes, [0, 1, 2])
    assert apart["object"].shape == (STEPS,)
    assert 1e-4 < apart["object"][0] < 2e-3
    assert apart["goal"].max() < 1e-6
    monkeypatch.setattr(divergence_module, "SHIFT", 0.0)
    assert divergence(pushes, [0, 1, 2])["object"].max() < 1e-6


def test_signed_drift_and_relative_error_by_hand(pushes: CachedDataset) -> None:
    report = measure(pushes, max_steps=6)
    curve = np.array([1.0, 1.0, 1.0, 0.9, 0.8, 0.8])
    doubled = DriftReport(
        open_loop=report.open_loop,
        fps=10,
        window=2,
        imagined={name: 2.0 * curve for name in report.imagined},
        simulated={name: np.full(6, 2.0) for name in report.simulated},
        divergence_m={"object": np.full(6, 0.02), "goal": np.zeros(6)},
        best_psnr=1.0,
        mean_psnr=1.0,
        samples=1,
        chunk=2,
    )
    assert doubled.signed_drift("luminance") == pytest.approx(-0.2)
    assert doubled.start_to_end("luminance") == pytest.approx(0.2)
    error = report.open_loop.error_m["object"]
    np.testing.assert_allclose(doubled.relative_error("object"), error / 0.02)
    goal = report.open_loop.error_m["goal"]
    np.testing.assert_allclose(doubled.relative_error("goal"), goal / 1e-3)
    # Borders: frames 0, 2, 4 of means 1, 1, 0.8; others 1, 0.9, 0.8.
    assert doubled.seam_jump() == pytest.approx((2.8 / 3) / (2.7 / 3))


@dataclass
class Blinkered:
    """Reads the same state off every frame."""

    spec: WorldSpec

    def read(self, observation: ObservedFrame, action: NDArray[np.float32] | None) -> Judgement:
        count = len(observation.pixels)
        none = np.zeros(count, np.float32)
        return Judgement(none, none, np.full((count, self.spec.state.dim), 0.01, np.float32))


def test_a_probe_is_compared_with_the_recorded_state(pushes: CachedDataset) -> None:
    model, config = nano_model(spec=pushes.spec), DriftConfig(max_steps=4, closure_s=0)
    probe = Blinkered(pushes.spec)
    report = measure_drift(model, pushes, [0, 1, 2], Sampler(steps=1), config, probe=probe)
    rows = pushes.episode_start[:3] + 4
    expected = np.linalg.norm(0.01 - pushes.state[rows][:, :3], axis=1).mean()
    assert report.probe_error_m["object"][3] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(report.probe_floor_m["object"], report.probe_error_m["object"])
    summary = report.summary()
    assert summary["object_probe_error_m_end"] == pytest.approx(
        report.probe_error_m["object"][-report.window :].mean()
    )
    assert report.to_json()["probe_error_m"]["goal"]
    other = Blinkered(replace(pushes.spec, fps=7))
    with pytest.raises(SpecMismatchError, match="the judge"):
        measure_drift(model, pushes, [0, 1], Sampler(steps=1), config, probe=other)


def test_the_share_of_a_way_by_hand() -> None:
    ways = np.array([[0.3, 0.0], [0.0, 0.1]], np.float32)
    assert share_of_way(ways, ways) == pytest.approx(1)
    assert share_of_way(0 * ways, ways) == 0
    # A quarter of the long way, all of the short one, and neither counts what is across.
    seen = np.array([[0.075, 0.5], [-0.4, 0.1]], np.float32)
    assert share_of_way(seen, ways) == pytest.approx((0.075 + 0.1) / 0.4)
    assert np.isnan(share_of_way(seen, 1e-5 * ways))


@dataclass
class Lagging:
    """Reads the state as it was recorded, and of other frames the start's."""

    data: CachedDataset
    spec: WorldSpec
    horizon: int = 0

    def read(self, observation: ObservedFrame, action: NDArray[np.float32] | None) -> Judgement:
        rows = self.data.episode_start[: len(observation.pixels)]
        truth = np.asarray(self.data.pixels[rows + self.horizon // 2 + 1])
        late = not np.array_equal(observation.pixels, truth)
        state = np.asarray(self.data.state[rows if late else rows + self.horizon // 2 + 1])
        self.horizon += 1
        none = np.zeros(len(rows), np.float32)
        return Judgement(none, none, state)


def test_a_thing_that_stays_behind_goes_no_share_of_its_way(pushes: CachedDataset) -> None:
    assert pushes.spec.state.names[0] == "object_x"
    state = np.array(pushes.state)
    state[:, 0] += 0.004 * np.arange(len(state))
    pushed = replace(pushes, state=state)
    model, config = nano_model(spec=pushes.spec), DriftConfig(max_steps=4, closure_s=0)
    sampler = Sampler(steps=1)
    report = measure_drift(
        model, pushed, [0, 1, 2], sampler, config, probe=Lagging(pushed, pushed.spec)
    )
    assert report.probe_share["object"][3] == 0
    assert report.probe_share_floor["object"][3] == pytest.approx(1, abs=1e-5)
    assert "goal_probe_share_end" not in report.summary(), "it rests"
    assert any("went 0% of its way" in line for line in summary_lines(report.summary(), {}))


def test_there_and_back_ends_where_it_began(pushes: CachedDataset) -> None:
    actions = np.array([[0.5, -0.2, 0.1, 0.3, 1.0], [0.1, 0.0, 0.0, 0.0, -1.0]], np.float32)
    loop = there_and_back(actions, pushes.spec.action)
    np.testing.assert_allclose(loop.sum(axis=0)[:4], 0.0, atol=1e-7)
    np.testing.assert_array_equal(loop[:, 4], [1, -1, -1, 1])
    absolute = replace(pushes.spec.action, mode="absolute")
    with pytest.raises(UsageError, match="'delta'"):
        there_and_back(actions, absolute)


def test_loop_closure_knows_what_the_simulator_returns_to(pushes: CachedDataset) -> None:
    report = loop_closure(nano_model(spec=pushes.spec), pushes, [0, 1, 2], 4, Sampler(steps=1))
    assert report.simulated_return > report.imagined_return
    first = {e: np.asarray(pushes.pixels[pushes.episode_start[e]]) for e in range(3)}

    def perfect(episode: int, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return actions, np.stack([first[episode]] * len(actions))

    ideal = loop_closure(
        nano_model(spec=pushes.spec), pushes, [0, 1, 2], 4, Sampler(steps=1), perfect
    )
    assert ideal.simulated_return == 100.0
    assert ideal.against_simulator == pytest.approx(ideal.imagined_return)
    with pytest.raises(UsageError, match="no episode lasts so long"):
        loop_closure(nano_model(spec=pushes.spec), pushes, [0], STEPS + 1)


@pytest.mark.parametrize("wrong", [{"max_steps": -1}, {"samples": 0}, {"window_s": 0.0}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DriftConfig(**wrong)  # type: ignore[arg-type]


def test_one_episode_is_enough_but_for_exchanged_actions(pushes: CachedDataset) -> None:
    model, config = nano_model(spec=pushes.spec), DriftConfig(max_steps=2, closure_s=0)
    summary = measure_drift(model, pushes, [0], Sampler(steps=1), config).summary()
    assert summary["valid_horizon_first_frame"] >= 0
    assert not [name for name in summary if "shuffled" in name]
    with pytest.raises(UsageError, match="there is none"):
        measure_drift(model, pushes, [], Sampler(steps=1), config)


def test_the_command_writes_figures_films_and_a_page(
    pushes: CachedDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from worldsim.cli.main import main

    nano_model(spec=pushes.spec).save_pretrained(tmp_path / "model", card="# nano\n")
    words = [
        "drift",
        f"dataset={pushes.root}",
        f"model={tmp_path / 'model'}",
        "max_steps=5",
        "films=1",
        "sampler.steps=1",
        "closure_s=0.2",
    ]
    first = [*words, f"out={tmp_path / 'a'}", 'title="<first>"', f"cache={tmp_path / 'cache'}"]
    assert main(first) == 0
    assert list((tmp_path / "cache").glob("*/native/cache.json"))
    said = capsys.readouterr().err
    assert "sharpness at the end" in said and "own divergence" in said
    both = [*words, f"out={tmp_path / 'b'}", "title=second", f"also=[{tmp_path / 'a'}]"]
    assert main([*both, "sampler.kind=rolling", "sampler.steps=2"]) == 0
    page = (tmp_path / "b" / "drift.html").read_text()
    assert page.count("<video") == 2
    assert "&lt;first&gt;" in page and "<first>" not in page
    assert "script-src &#39;none&#39;" in page
    assert "object: distance" in page and "goal: distance" not in page
    assert main([*words, f"out={tmp_path / 'c'}", f"also=[{tmp_path}]"]) == 1
    assert "holds no drift measurement" in capsys.readouterr().err
    assert main([*words, f"out={tmp_path / 'c'}", "episodes=7"]) == 2
