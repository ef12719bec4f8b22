"""One declared table of what is recorded: from an env through files and cache to clips."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.collection.record import EpisodeTape, record_episode
from worldsim.data import channels
from worldsim.data.cache import build_cache
from worldsim.data.cache_writer import resize_nearest
from worldsim.data.channels import Channel
from worldsim.data.clips import ClipDataset
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.merge import merge
from worldsim.data.selection import read_selection
from worldsim.data.verify import verify
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import DataError, UsageError
from worldsim.spec import EQUIRECTANGULAR, CameraSpec, VectorSpec, WorldSpec, discrete_actions

HEIGHT, WIDTH = 32, 64
PLAIN = WorldSpec(
    fps=10,
    cameras=(
        CameraSpec("front", HEIGHT, WIDTH, carrier="agent"),
        CameraSpec("round", HEIGHT, WIDTH, EQUIRECTANGULAR, wrap=True, carrier="agent"),
    ),
    action=discrete_actions(("forward", "left", "right")),
    agent_pos=VectorSpec(("x", "y", "yaw"), ("m", "m", "rad")),
    state=VectorSpec((), ()),
)
SPEC = replace(PLAIN, camera_pose=True, depth="radial", events=("bump", "stop"))


class Room:
    """Gives random arrays, and keeps what it gave; `choices` are the actions it was given."""

    def __init__(self, spec: WorldSpec, seed: int, **more: Callable[[], Any]) -> None:
        self.spec_world, self.camera_rig, self.unwrapped = spec, None, self
        self.choices: list[Any] = []
        self._rng, self._more = np.random.default_rng(seed), more

    def get_state(self) -> dict[str, Any]:
        return {"physics": np.zeros(1)}

    def reset(self, seed: int, options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        del seed, options
        return self._seen()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert self.spec_world.action.space.contains(action)
        self.choices.append(action)
        observation, info = self._seen()
        return observation, 0.5, False, False, info

    def _seen(self) -> tuple[dict[str, Any], dict[str, Any]]:
        draw = self._rng.random
        pixels = {c: (200 * draw((HEIGHT, WIDTH, 3))).astype(np.uint8) for c in ("front", "round")}
        observation = {"pixels": pixels, "agent_pos": draw(3), "task": "look"}
        info = {
            "state": np.zeros(0),
            "success": False,
            "progress": 0.0,
            "camera_pose": draw((2, 4, 4)),
            "depth": 1 + draw((2, HEIGHT, WIDTH)),
            "events": draw(2) > 0.5,
        }
        return observation, {**info, **{name: give() for name, give in self._more.items()}}


class Turning:
    """Chooses one after the other."""

    name, n_action_steps = "turning", 3
    action_kinds = ("discrete",)

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Nothing is remembered."""

    def act(self, observation: Any, env_ids: Sequence[int]) -> np.ndarray:
        """All choices in their order, `[N, 3, A]`."""
        return np.tile(np.eye(3, dtype=np.float32), (len(env_ids), 1, 1))


def recorded(seed: int, spec: WorldSpec = SPEC, **more: Callable[[], Any]) -> Episode:
    room = Room(spec, seed, **more)
    episode = record_episode(room, Turning(), "test/Room-v0", seed, 0, max_steps=5 + seed)
    np.testing.assert_array_equal(spec.action.command(episode.action), room.choices)
    return episode


def written(root: Path, episodes: Sequence[Episode], spec: WorldSpec = SPEC) -> Path:
    writer = LeRobotWriter(root, spec, {"id": "test/Room-v0", "kwargs": {}})
    for episode in episodes:
        writer.add(episode)
    return writer.finalize()


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return [recorded(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode]) -> Path:
    return written(tmp_path_factory.mktemp("room") / "set", episodes)


def test_pose_depth_and_events_go_from_the_env_to_clips(
    root: Path, episodes: list[Episode], tmp_path: Path
) -> None:
    dataset = LeRobotDataset(root)
    assert verify(root) == [] and dataset.spec == SPEC
    cache = build_cache(root, folder=tmp_path)
    clips = ClipDataset(cache, 4)
    batch = clips.batch(np.arange(len(clips)))
    for index, given in enumerate(episodes):
        read = dataset.episode(index)
        assert sorted(read.extras) == ["camera_pose", "depth", "events"]
        assert given.extras["camera_pose"].shape == (6 + index, 2, 4, 4)
        assert given.extras["depth"].shape == (6 + index, 2, HEIGHT, WIDTH)
        assert given.extras["events"].shape == (6 + index, 2)
        for name, values in given.extras.items():
            assert values.dtype == read.extras[name].dtype == np.float32
            np.testing.assert_array_equal(read.extras[name], values)
            np.testing.assert_array_equal(cache.extras[name][cache.rows(index)], values)
            of_this = (batch["episode"] == index).numpy()
            starts = batch["start"].numpy()[of_this]
            found = batch[name].numpy()[of_this]
            np.testing.assert_array_equal(found, np.stack([values[s : s + 4] for s in starts]))
        np.testing.assert_array_equal(read.action, given.action)


def test_some_cameras_of_a_set_have_their_own_poses_and_depth(
    root: Path, episodes: list[Episode]
) -> None:
    chosen = read_selection(columns={"cameras": ["round"]})
    read = LeRobotDataset(root, chosen).episode(1)
    for name in ("camera_pose", "depth"):
        np.testing.assert_array_equal(read.extras[name], episodes[1].extras[name][:, 1:])
    np.testing.assert_array_equal(read.extras["events"], episodes[1].extras["events"])


def test_depth_follows_the_size_of_the_frames(
    root: Path, episodes: list[Episode], tmp_path: Path
) -> None:
    cache = build_cache(root, (HEIGHT // 2, WIDTH // 4), folder=tmp_path)
    whole = episodes[0].extras["depth"]
    found = cache.extras["depth"][cache.rows(0)]
    np.testing.assert_array_equal(found, whole[:, :, 1::2, 2::4])
    np.testing.assert_array_equal(resize_nearest(whole, HEIGHT, WIDTH), whole)
    larger = resize_nearest(np.arange(3.0)[None], 1, 6)
    np.testing.assert_array_equal(larger, [[0, 0, 1, 1, 2, 2]])


def test_merged_sets_keep_every_channel(
    root: Path, episodes: list[Episode], tmp_path: Path
) -> None:
    other = written(tmp_path / "other", episodes[:1])
    merged = merge([root, other], tmp_path / "both")
    for name, values in episodes[0].extras.items():
        np.testing.assert_array_equal(merged.episode(3).extras[name], values)


def test_a_made_up_channel_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch = Channel("touch", "touch_sensor", lambda spec: (2, 3), dtype=np.int32, optional=True)
    monkeypatch.setattr(channels, "CHANNELS", (*channels.CHANNELS, touch))
    count = iter(range(100))
    episode = recorded(0, PLAIN, touch=lambda: np.full((2, 3), next(count)))
    root = written(tmp_path / "set", [episode], PLAIN)
    assert verify(root) == []
    features = json.loads((root / "meta/info.json").read_text())["features"]
    assert features["touch_sensor"] == {"dtype": "int32", "shape": [2, 3], "names": None}
    clip = ClipDataset(build_cache(root, folder=tmp_path), 3)[2]
    expected = np.arange(2, 5)[:, None, None].repeat(2, 1).repeat(3, 2)
    np.testing.assert_array_equal(clip["touch"], expected)


def test_sets_without_further_channels_say_nothing_of_them(tmp_path: Path) -> None:
    root = written(tmp_path / "set", [recorded(0, PLAIN)], PLAIN)
    info = json.loads((root / "meta/info.json").read_text())
    assert not {"camera_pose", "depth", "events"} & {*info["features"], *info["worldsim"]["spec"]}
    cache = build_cache(root, folder=tmp_path)
    assert cache.extras == {} and LeRobotDataset(root).episode(0).extras == {}
    assert "depth" not in ClipDataset(cache, 3)[0]


def test_an_env_that_does_not_give_what_its_world_records_is_refused() -> None:
    tape = EpisodeTape(SPEC)
    observation, info = Room(SPEC, 0).reset(0, None)
    del info["depth"]
    with pytest.raises(DataError, match=r"'depth' is recorded.*of shape \(2, 32, 64\)"):
        tape.observe(observation, 0.0, info)


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"depth": None}, "'depth' is not there"),
        ({"depth": np.zeros((6, 1, HEIGHT, WIDTH))}, r"depth has shape \(6, 1, 32, 64\)"),
        ({"events": np.full((6, 2), np.nan)}, "events holds NaN"),
        ({"smell": np.zeros(6)}, "smell of extras is nothing that this world records"),
    ],
)
def test_extras_that_do_not_fit_the_world_are_refused(
    tmp_path: Path, episodes: list[Episode], extras: dict[str, Any], message: str
) -> None:
    odd = replace(episodes[0], extras={**episodes[0].extras, **extras})
    with pytest.raises(UsageError, match=message):
        written(tmp_path / "set", [odd])


def test_depth_of_cameras_of_two_sizes_is_refused(tmp_path: Path, episodes: list[Episode]) -> None:
    spec = replace(SPEC, cameras=(SPEC.cameras[0], replace(SPEC.cameras[1], width=32)))
    with pytest.raises(UsageError, match=r"cameras have sizes \[\(32, 32\), \(32, 64\)\]"):
        written(tmp_path / "set", episodes[:1], spec)


def test_a_set_whose_column_is_gone_is_told_of(root: Path, tmp_path: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["worldsim"]["spec"]["events"] = ["bump", "stop", "fall"]
    broken = tmp_path / "set"
    written(broken, [recorded(0)])
    (broken / "meta/info.json").write_text(
        json.dumps({**info, "total_frames": 6, "total_episodes": 1})
    )
    with pytest.raises(DataError, match=r"events has shape \[2\], worldsim.spec says 3"):
        LeRobotDataset(broken)


def test_what_is_recorded_beside_the_rest_makes_no_other_world() -> None:
    assert SPEC.without_extras() == PLAIN
    SPEC.require_compatible(PLAIN, "a data set", "a model")
    assert WorldSpec.from_json(json.loads(json.dumps(SPEC.to_json()))) == SPEC
    assert WorldSpec.from_json(json.loads(json.dumps(PLAIN.to_json()))) == PLAIN
    with pytest.raises(UsageError, match="distinct names"):
        replace(SPEC, events=("stop", "stop"))


UNTOLD = replace(PLAIN, cameras=tuple(replace(c, carrier=None) for c in PLAIN.cameras))
"""As a worldsim wrote it that did not say what carries a camera."""


def test_a_collection_begun_before_cameras_said_their_carriers_is_finished(
    tmp_path: Path,
) -> None:
    root = tmp_path / "set"
    env = {"id": "test/Room-v0", "kwargs": {}}
    begun = LeRobotWriter(root, UNTOLD, env)
    begun.add(recorded(0, PLAIN))
    begun.close()
    with pytest.raises(UsageError, match="unfinished collection with another spec"):
        LeRobotWriter(root, SPEC, env)
    writer = LeRobotWriter(root, PLAIN, env)
    writer.add(recorded(1, PLAIN))
    assert LeRobotDataset(writer.finalize()).spec == PLAIN


def test_a_merged_set_keeps_the_carriers_that_one_of_its_sources_says(tmp_path: Path) -> None:
    episode = [recorded(0, PLAIN)]
    old, new = (
        written(tmp_path / name, episode, spec) for name, spec in (("old", UNTOLD), ("new", PLAIN))
    )
    assert merge([old, new], tmp_path / "one").spec == PLAIN
    assert merge([new, old], tmp_path / "two").spec == PLAIN
