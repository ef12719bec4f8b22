"""A second data set of the same robot, whose actions reach further than the first one's."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lerobot_testing import ForeignSet
from omegaconf import OmegaConf
from worldsim_testing import nano_model

from worldsim.config.compose import compose_config
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.merge import merge
from worldsim.envs.imagination import DatasetStarts
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.loading import load_starts
from worldsim.errors import DataWarning, SpecMismatchError
from worldsim.judge.judge import LearnedJudge
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.world_model import WorldModel
from worldsim.policies.behaviour_cloning import BCPolicy, save_behaviour
from worldsim.policies.pool import build_policy
from worldsim.sampling.sampler import Sampler
from worldsim.training.stages.parents import Parents
from worldsim.training.train_config import train_config
from worldsim.validation.drift import DriftConfig, measure_drift

LENGTHS = (6, 5, 7)


def day(root: Path, reach: float) -> Path:
    made = ForeignSet("v2.1", lengths=LENGTHS, size=(32, 32))
    for rows in made.rows:
        rows["action"] = (reach * np.array(rows["action"])).tolist()
    return made.write(root)


@pytest.fixture(scope="module")
def day1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return day(Path(tmp_path_factory.mktemp("day1")) / "set", 0.5)


@pytest.fixture(scope="module")
def day2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return day(Path(tmp_path_factory.mktemp("day2")) / "set", 0.8)


@pytest.fixture(scope="module")
def second(day2: Path) -> CachedDataset:
    return build_cache(day2)


@pytest.fixture(scope="module")
def model(day1: Path) -> WorldModel:
    """Of the first day."""
    return nano_model(spec=LeRobotDataset(day1).spec)


@pytest.fixture(scope="module")
def folder(model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("model"))
    model.save_pretrained(path)
    return path


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Texts of all warnings."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
        texts += [str(each.message) for each in caught]


def parents(folder: Path, second: CachedDataset, how: str) -> Parents:
    config = compose_config("train", ["dataset=x", "out=x", "model=nano", f"{how}={folder}"])
    return Parents(train_config(config), second.spec)


def test_the_two_days_differ_in_their_limits_alone(
    model: WorldModel, second: CachedDataset
) -> None:
    one, two = model.spec, second.spec
    assert one.action.limits == two.action.limits == "measured"
    assert one != two and replace(two, action=two.action.limited_as(one.action)) == one
    model.spec.require_compatible(two, "a model", "a data set")


def test_a_model_trains_further_on_the_second_day(
    folder: Path, model: WorldModel, second: CachedDataset
) -> None:
    inherited = parents(folder, second, "start_from")
    with pytest.warns(DataWarning, match="leave the limits of model .* hold both"):
        student = inherited.world()
    assert student.spec.action == second.spec.action, "which reaches further on either side"
    assert student.normalizer.to_json() == model.normalizer.to_json()
    assert inherited.further is not None and inherited.further.spec == model.spec


def test_tokenizer_and_weights_come_from_the_first_day(folder: Path, second: CachedDataset) -> None:
    donor = parents(folder, second, "reuse")
    assert donor.tokenizer() is not None
    student = parents(folder, second, "transfer_from").world()
    assert student.spec.action == second.spec.action


def test_a_robot_of_another_rate_is_still_refused(folder: Path, second: CachedDataset) -> None:
    other = replace(second, spec=replace(second.spec, fps=11))
    with pytest.raises(SpecMismatchError, match="fps"):
        parents(folder, other, "start_from").world()


def test_episodes_of_the_second_day_start_imagination(
    model: WorldModel, day2: Path, second: CachedDataset
) -> None:
    estimator = StateEstimator(StateEstimatorConfig(1, 0, (32, 32), width=8, keypoints=4)).eval()
    report = JudgeReport(9, 10, 8, 10, None, 0.1, 0, 10, "nano")
    judge = LearnedJudge(estimator, second.spec, VerdictRule(0.999, 1), report)
    starts = load_starts(DatasetStarts(day2, "all"), judge, model)
    engine = ImaginationEngine(model, judge, 1)
    engine.start([starts.draw(np.random.default_rng(0))], [0])
    far = np.full((1, 3), 0.7, np.float32)
    with pytest.warns(DataWarning, match="are clipped"):
        engine.step(far)


def test_drift_of_a_model_on_the_second_day(model: WorldModel, second: CachedDataset) -> None:
    with pytest.warns(DataWarning, match="are clipped"):
        report = measure_drift(model, second, [0, 1], Sampler(steps=1), DriftConfig(max_steps=2))
    assert report.divergence_m == {}, "no simulator is needed where no places are known"
    json.dumps(report.to_json())


def test_policies_of_the_first_day_act_on_the_second(
    model: WorldModel, day2: Path, second: CachedDataset, tmp_path: Path
) -> None:
    from worldsim.models.behaviour import BehaviourConfig, BehaviourNet

    network = BehaviourNet(BehaviourConfig(1, 3, 3, 2, (32, 32), width=8, keypoints=4, hidden=8))
    save_behaviour(tmp_path, network, model.spec, 1)
    policy = BCPolicy(second.spec, str(tmp_path))
    pixels = {"top": np.zeros((1, 32, 32, 3), np.uint8)}
    seen = {"pixels": pixels, "agent_pos": np.zeros((1, 3), np.float32), "task": [""]}
    assert policy.act(seen, [0]).shape == (1, 2, 3)
    with pytest.warns(DataWarning, match="are clipped"):
        build_policy(model.spec, "replay", "replay", dataset=str(day2))


def test_both_days_merge(day1: Path, day2: Path, tmp_path: Path) -> None:
    merged = merge([day1, day2], tmp_path / "both")
    limits = merged.spec.action
    np.testing.assert_allclose(limits.high, LeRobotDataset(day2).spec.action.high, rtol=1e-6)
    LeRobotDataset(day1).spec.require_compatible(merged.spec, "one", "both")


def test_a_day_fits_itself_without_a_word(model: WorldModel, day1: Path, said: list[str]) -> None:
    cache = build_cache(day1)
    measure_drift(model, cache, [0, 1], Sampler(steps=1), DriftConfig())
    assert not any("clipped" in text for text in said)


def test_configs_of_all_commands_take_columns_and_episodes() -> None:
    places = {
        "train": "",
        "data": "",
        "drift": "",
        "rank": "starts.",
        "rollout": "starts.",
        "play": "starts.",
    }
    for command, place in places.items():
        words = [f"{place}columns.action=[a,b]", f"{place}columns.cameras={{top: x}}"]
        config = compose_config(command, [*words, f"{place}episodes=[1,5,10:20]"])
        node = OmegaConf.select(config, place.rstrip(".")) if place else config
        assert node.columns.action == ["a", "b"] and node.columns.cameras == {"top": "x"}
        assert node.episodes == [1, 5, "10:20"]
        assert compose_config(command, [f"{place}episodes=0:50"])
