"""The state estimator: training, checkpoint, use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from policy_fixtures import CAMERAS, make_recordings, make_spec

from worldsim.data.cache import CachedDataset
from worldsim.data.split import HELD_OUT
from worldsim.errors import DataError, SpecMismatchError, UsageError
from worldsim.files import read_json, write_json
from worldsim.imitation.perception import PerceptionTraining, _split, train_perception
from worldsim.policies.perception import Perception
from worldsim.spec import VectorSpec
from worldsim.training.config import FitConfig, RunConfig

RUN = RunConfig(threads=1, precision="32-true", progress=False)
CONFIG = PerceptionTraining(
    fit=FitConfig(max_steps=200, batch_size=32, lr=5e-3, ema_decay=0.95),
    width=8,
    keypoints=4,
    hidden=32,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    out = tmp_path_factory.mktemp("perception")
    error = train_perception(make_recordings(episodes=60), CONFIG, out, RUN)
    return out, error


def observe(recordings: CachedDataset, rows: slice) -> dict[str, object]:
    views = {name: recordings.pixels[rows, i] for i, name in enumerate(CAMERAS)}
    return {"pixels": views, "agent_pos": recordings.agent_pos[rows], "task": [""]}


def test_estimates_where_the_square_is(trained: tuple[Path, dict[str, float]]) -> None:
    out, error = trained
    assert error == read_json(out / "perception_error.json")
    assert set(error) == {"square_row", "square_column"}
    # A uniform place on [0, 1] guessed at its mean is wrong by a quarter.
    assert max(error.values()) < 0.1
    recordings = make_recordings(episodes=60)
    estimator = Perception(recordings.spec, str(out / "perception"), batch_size=7)
    estimate = estimator.estimate(observe(recordings, slice(0, 40)))
    assert estimate.shape == (40, 2) and estimate.dtype == np.float32
    assert np.abs(estimate - recordings.state[:40]).mean() < 0.1


@pytest.mark.usefixtures("float32_inference")
def test_rows_are_estimated_alone(trained: tuple[Path, dict[str, float]]) -> None:
    recordings = make_recordings()
    estimator = Perception(recordings.spec, str(trained[0] / "perception"))
    whole = estimator.estimate(observe(recordings, slice(0, 9)))
    alone = estimator.estimate(observe(recordings, slice(4, 5)))
    np.testing.assert_allclose(alone[0], whole[4], atol=1e-5)


def test_refuses_other_worlds_and_other_checkpoints(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder = trained[0] / "perception"
    with pytest.raises(SpecMismatchError, match="fps"):
        Perception(make_spec(fps=3), str(folder))
    with pytest.raises(UsageError, match="unknown policy checkpoint"):
        Perception(make_spec(), "push/preception")
    broken = tmp_path / "broken"
    broken.mkdir()
    config = read_json(folder / "config.json")
    config["spec"]["state"] = {"names": ["only"], "units": ["m"]}
    write_json(broken / "config.json", config)
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(DataError, match="reads 2 values, its spec names 1"):
        Perception(make_spec(), str(broken))


def test_refuses_data_without_state_and_too_few_episodes(tmp_path: Path) -> None:
    recordings = make_recordings()
    blind = replace(recordings, spec=replace(recordings.spec, state=VectorSpec((), ())))
    with pytest.raises(DataError, match="no simulator state"):
        train_perception(blind, CONFIG, tmp_path, RUN)
    with pytest.raises(DataError, match="record more"):
        train_perception(make_recordings(episodes=1), CONFIG, tmp_path, RUN)


def test_the_error_is_of_the_episodes_that_every_training_holds_out() -> None:
    recordings = replace(make_recordings(episodes=6), folds=[0, HELD_OUT, 2, 3, HELD_OUT, 5])
    length = len(recordings.pixels) // 6
    everyone, experts = CONFIG, replace(CONFIG, policies={"expert": 1.0})  # every other episode
    for config, held_out in ((everyone, [1, 4]), (experts, [4])):
        taught, tested = _split(recordings, config)
        assert sorted(set(tested // length)) == held_out
        assert not set(taught // length) & set(held_out)
