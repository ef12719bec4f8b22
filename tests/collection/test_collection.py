"""Collection: alignment, mixtures, kills, interrupts and full disks."""

import errno
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.collection.behaviours import Behaviour, choose, dial_generator
from worldsim.collection.collect import Collection, collect, finished_dataset, usual_mixture
from worldsim.collection.record import record_episode
from worldsim.collection.recorder import CollectionConfig
from worldsim.config.compose import build, compose_config
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.verify import verify
from worldsim.data.video_writer import VideoWriter
from worldsim.envs import make
from worldsim.errors import DataError, DiskFullError, UsageError
from worldsim.policies.base import FloatArray
from worldsim.policies.simple import RandomPolicy

REACH = "worldsim/TabletopReach-v0"
CONFIG = CollectionConfig(
    env_id=REACH,
    env_kwargs={"image_size": 32},
    behaviours={
        "expert": Behaviour(0.5, "scripted"),
        "noisy": Behaviour(0.25, "scripted", dials={"noise": (0.2, 0.6)}),
        "random": Behaviour(0.25, "random", {"hold": 2}),
    },
    episodes=6,
    seed=3,
    max_steps=8,
    steps_after_success=2,
)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collections") / "whole"
    collect(CONFIG, root, workers=0)
    return root


def test_rows_are_aligned_with_the_simulator(uninterrupted: Path) -> None:
    """Replaying seed and actions gives every recorded row, the reset frame included."""
    dataset = LeRobotDataset(uninterrupted)
    assert verify(uninterrupted) == []
    env: Any = make(REACH, image_size=32)
    for index in range(3):
        episode = dataset.episode(index)
        observation, info = env.reset(seed=episode.meta.seed)
        physics = env.unwrapped.get_state()["physics"]
        np.testing.assert_array_equal(physics, episode.meta.initial_state)
        for t in range(episode.length + 1):
            np.testing.assert_array_equal(observation["agent_pos"], episode.agent_pos[t])
            np.testing.assert_array_equal(info["state"], episode.state[t])
            assert info["success"] == episode.success[t]
            for camera, image in observation["pixels"].items():
                error = np.abs(image.astype(int) - episode.pixels[camera][t]).mean()
                assert error < 4, f"{camera} of row {t} is {error:.1f} grey levels off"
            if t < episode.length:
                observation, reward, _, _, info = env.unwrapped.step(episode.action[t])
                np.testing.assert_allclose(reward, episode.reward[t + 1], rtol=1e-6)
                np.testing.assert_array_equal(info["action_achieved"], episode.action_achieved[t])
    env.close()


def test_metadata_of_episodes(uninterrupted: Path) -> None:
    dataset = LeRobotDataset(uninterrupted)
    metas = [dataset.meta(i) for i in range(dataset.num_episodes)]
    assert {m.behaviour for m in metas} == {"expert", "noisy", "random"}
    assert len({m.seed for m in metas}) == 6, "every episode has a start of its own"
    for index, meta in enumerate(metas):
        assert meta.env_id == REACH and meta.rig is not None
        assert meta.success == bool(dataset.arrays(index)["success"].any())
    assert dataset.env_info == {"id": REACH, "kwargs": {"image_size": 32}}


def test_mixture_meets_its_shares_without_a_pattern() -> None:
    behaviours = {
        "expert": Behaviour(0.4, "scripted"),
        "noisy": Behaviour(0.25, "scripted"),
        "failing": Behaviour(0.15, "scripted"),
        "play": Behaviour(0.2, "play"),
    }
    names = [choose(behaviours, 0, i) for i in range(400)]
    for start in range(0, 400, 20):
        assert Counter(names[start : start + 20]) == {
            "expert": 8, "noisy": 5, "failing": 3, "play": 4
        }  # fmt: skip
    held_out = Counter(names[9::10])
    assert set(held_out) == set(behaviours) and held_out["expert"] < 25
    assert names != [choose(behaviours, 1, i) for i in range(400)]


def test_rare_behaviours_come_up() -> None:
    behaviours = {"often": Behaviour(99, "zero"), "rare": Behaviour(1, "zero")}
    counts = Counter(choose(behaviours, 0, i) for i in range(2000))
    assert 10 <= counts["rare"] <= 30


@pytest.mark.parametrize(
    "world",
    [*(f"Tabletop{t}" for t in ("Push", "PickPlace", "Reach", "Drawer", "Shuttle")), "IndoorNav"],
)
def test_every_shipped_mixture_can_be_played(world: str) -> None:
    """Both ends of every dial, too; each where it is for."""
    mixtures = compose_config("collect", ["out=unused"]).mixtures
    walking = ("navigation", "choices")
    shipped = {
        name: parts
        for name, parts in mixtures.items()
        if (name in walking if world == "IndoorNav" else name not in ("navigation", "retrieval"))
    }
    env: Any = make(f"worldsim/{world}-v0", image_size=16)
    spec = env.unwrapped.spec_world
    observation = {
        "agent_pos": np.zeros((1, spec.agent_pos.dim), np.float32),
        "state": np.zeros((1, spec.state.dim), np.float32),
    }
    for parts in shipped.values():
        for name, node in parts.items():
            behaviour = build(Behaviour, node, name)
            for end in (0, 1):
                dials = {dial: (bounds[end],) * 2 for dial, bounds in behaviour.dials.items()}
                policy = replace(behaviour, dials=dials).build(spec, name, dial_generator(0, 0))
                policy.reset([0], 0)
                action = policy.act(observation, [0])
                assert action.shape == (1, policy.n_action_steps, spec.action.dim)
                assert np.isfinite(action).all() and np.abs(action).max() <= 1.0


class Stepping:
    """Two actions a chunk, of which both are executed; counts how often it is asked."""

    name, n_action_steps = "stepping", 2

    def __init__(self) -> None:
        self.asked = 0

    def reset(self, env_ids: Any, seed: int) -> None:
        self.asked = 0

    def act(self, observation: Any, env_ids: Any) -> FloatArray:
        self.asked += 1
        assert observation["pixels"]["wrist"].shape == (1, 32, 32, 3)
        assert observation["state"].ndim == 2 and len(observation["task"]) == 1
        return np.full((1, 3, 5), 0.1 * self.asked, np.float32)


def test_chunks_are_executed_in_order() -> None:
    env, policy = make(REACH, image_size=32), Stepping()
    episode = record_episode(env, policy, REACH, seed=0, policy_seed=0, max_steps=5)
    np.testing.assert_allclose(episode.action[:, 0], [0.1, 0.1, 0.2, 0.2, 0.3], rtol=1e-6)
    env.close()


def test_recording_goes_on_after_success(uninterrupted: Path) -> None:
    config = replace(CONFIG, behaviours={"expert": Behaviour(1, "scripted")}, max_steps=None)
    lengths = {}
    for extra in (0, 3):
        dataset = collect(
            replace(config, episodes=1, steps_after_success=extra),
            uninterrupted.parent / f"after{extra}",
            workers=0,
        )
        episode = dataset.episode(0)
        assert episode.meta.success
        first = int(np.argmax(episode.success))
        lengths[extra] = episode.length
        assert episode.length == first + extra
    assert lengths[3] == lengths[0] + 3


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        (np.full((1, 1, 5), np.nan, np.float32), "NaN"),
        (np.zeros((1, 1, 4), np.float32), r"expected \[..., 5\]"),
        (np.zeros((5,), np.float32), "expected .1, K"),
        (ValueError("no idea"), "raised ValueError: no idea"),
    ],
)
def test_bad_policies_are_named(
    tmp_path: Path, action: Any, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(self: Any, observation: Any, env_ids: Any) -> FloatArray:
        if isinstance(action, Exception):
            raise action
        return np.asarray(action)

    monkeypatch.setattr(RandomPolicy, "act", act)
    config = replace(CONFIG, behaviours={"wild": Behaviour(1, "random", {"hold": 1})})
    with pytest.raises(DataError, match=rf"episode 0 \(wild\): .*{complaint}"):
        collect(config, tmp_path / "set", workers=0)


def test_wrong_settings_are_usage_errors(tmp_path: Path, uninterrupted: Path) -> None:
    with pytest.raises(UsageError, match="episodes is 0; expected a whole number from 1"):
        replace(CONFIG, episodes=0)
    with pytest.raises(UsageError, match="at least one behaviour"):
        replace(CONFIG, behaviours={})
    wrong = replace(CONFIG, behaviours={"x": Behaviour(1, "random", {"holds": 2})})
    with pytest.raises(UsageError, match="policy 'x' 'holds'"):
        collect(wrong, tmp_path / "a", workers=0)
    misplaced = replace(CONFIG, behaviours={"x": Behaviour(1, "scripted", {"task": "juggle"})})
    with pytest.raises(UsageError, match="juggle"):
        collect(misplaced, tmp_path / "a", workers=0)
    assert not (tmp_path / "a").exists()
    with pytest.raises(UsageError, match="Did you mean 'random'"):
        collect(
            replace(CONFIG, behaviours={"x": Behaviour(1, "randon")}), tmp_path / "b", workers=0
        )
    with pytest.raises(UsageError, match="another seed"):
        collect(replace(CONFIG, seed=4), uninterrupted, workers=0)
    assert finished_dataset(CONFIG, uninterrupted) is not None
    assert usual_mixture(REACH, {"image_size": 32}) == "scripted"


def test_an_unfinished_folder_names_the_settings_that_differ(tmp_path: Path) -> None:
    with Collection(CONFIG, tmp_path / "set") as collection:
        next(collection.record(workers=0))
    noisy = Behaviour(0.25, "scripted", dials={"noise": (0.2, 0.9)})
    changed = {
        r"seed \(recorded 3, asked 4\); finish it with .*another folder": {"seed": 4},
        r"max_steps \(recorded 8, asked null\)": {"max_steps": None},
        r"behaviours.noisy.dials.noise \(recorded \[0.2, 0.6\], asked \[0.2, 0.9\]\)": {
            "behaviours": {**CONFIG.behaviours, "noisy": noisy}
        },
        r"env_kwargs.image_size \(recorded 32, asked 16\); finish": {
            "env_kwargs": {"image_size": 16}
        },
    }
    for told, change in changed.items():
        with pytest.raises(UsageError, match=f"set holds an unfinished .* another {told}"):
            collect(replace(CONFIG, **change), tmp_path / "set", workers=0)  # type: ignore[arg-type]


def test_a_full_disk_keeps_finished_episodes(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staging fails in episode 3, then assembly fails, then the same call finishes."""
    root, written = tmp_path / "set", [0]

    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "file")

    class UntilFull(VideoWriter):
        def __enter__(self) -> VideoWriter:
            written[0] += 1
            if written[0] > 3 * 3 + 1:
                no_space()
            return super().__enter__()

    with monkeypatch.context() as patch:
        patch.setattr("worldsim.data.staging.VideoWriter", UntilFull)
        with pytest.raises(DiskFullError, match="run the same command again"):
            collect(CONFIG, root, workers=0)
    staged = root / ".staging/episodes"
    assert sorted(p.name for p in staged.iterdir()) == ["000000", "000001", "000002"]
    with monkeypatch.context() as patch:
        patch.setattr("worldsim.data.assemble.write_json", no_space)
        with pytest.raises(DiskFullError):
            collect(CONFIG, root, workers=0)
    assert len(list(staged.iterdir())) == 6 and not (root / "meta").exists()
    assert not (root / ".assembling").exists()
    collect(CONFIG, root, workers=0)
    assert files_of(root) == files_of(uninterrupted)


SCRIPT = """
import json, sys
from pathlib import Path
from worldsim.config.compose import build, compose_config
from worldsim.collection.collect import collect
from worldsim.collection.recorder import CollectionConfig

if __name__ == "__main__":
    collect(build(CollectionConfig, json.loads(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""


def staged(root: Path) -> list[str]:
    folder = root / ".staging/episodes"
    return sorted(p.name for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> tuple[CollectionConfig, Path]:
    config = replace(CONFIG, episodes=24, max_steps=20)
    root = tmp_path_factory.mktemp("longer") / "whole"
    collect(config, root, workers=0)
    return config, root


def killed(config: CollectionConfig, root: Path, kill: signal.Signals) -> tuple[int, str]:
    """Exit status and output of a collection that is sent `kill` after its second episode."""
    script = root.with_suffix(".py")
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), json.dumps(config.to_json()), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 300
    while len(staged(root)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(kill)
    # The pipe closes when the workers are gone too: none outlives its parent.
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_killed_collections_continue_to_the_same_files(
    tmp_path: Path, longer: tuple[CollectionConfig, Path], kill: signal.Signals
) -> None:
    config, whole = longer
    for attempt in range(3):  # on a loaded machine the kill may come after the end
        root = tmp_path / f"set_{attempt}"
        returned, output = killed(config, root, kill)
        kept = staged(root)
        if returned != 0:
            break
    assert returned != 0 and 2 <= len(kept) < config.episodes, output
    times = {name: (root / ".staging/episodes" / name).stat().st_mtime_ns for name in kept}
    with Collection(config, root) as collection:
        assert len(collection.todo) == config.episodes - len(kept)
        assert list(collection.record(workers=0)) == collection.todo
        for name, before in times.items():
            path = root / ".staging/episodes" / name
            assert path.stat().st_mtime_ns == before, "finished episodes are not done again"
        collection.finalize()
    assert files_of(root) == files_of(whole)
