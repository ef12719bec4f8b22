"""The toy room through the whole way: recorded, trained, streamed, forked, saved and loaded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from imagination_testing import REPORT
from nearest_memory import NearestMemory
from numpy.typing import NDArray
from toy_room import REACH, Move, Walker
from toy_room_data import CAMERA, SPEC, agent_pose, episode, toward_pillar, write_room_data
from train_testing import train

from worldsim.data.cache import build_cache
from worldsim.data.episode import Episode
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.envs.imagination.starts import FrameStarts
from worldsim.envs.imagination.vector import ImaginationVectorEnv
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge, Judgement, JudgeParts, ObservedFrame
from worldsim.judge.report import VerdictRule
from worldsim.memory.base import FrameCameras, ShownFrames
from worldsim.models.world_model import WorldModel
from worldsim.play.session import PlaySession
from worldsim.ranking.rank import rank
from worldsim.sampling.replay import replay_recorded
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.validation.open_loop import open_loop_records

HORIZON = 24
ROOM = (
    "stage=all",
    "model.dynamics.name=pose",
    "model.memory.name=nearest",
    "model.memory.depth=simulator",
    "plan.memory.name=random",
    "plan.memory.frames=3",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained nano model of the room."""
    root = Path(tmp_path_factory.mktemp("room"))
    data = write_room_data(root / "data")
    assert train(data, root / "run", *ROOM) == 0
    return root / "run"


@pytest.fixture(scope="module")
def model(run: Path) -> WorldModel:
    return WorldModel.from_pretrained(run / "model")


def begun(model: WorldModel, recorded: Episode) -> Stream:
    stream = Stream.of(model, Sampler.default(model))
    rig = recorded.meta.rig
    assert rig is not None
    arrays = {name: getattr(rig, name)[None] for name in ("intrinsics", "extrinsics", "mounted")}
    stream.reset(np.stack(list(recorded.pixels.values()), 1)[:1], recorded.agent_pos[:1], arrays)
    return stream


def agent_matrices(agent_pos: NDArray[np.float32]) -> NDArray[np.float64]:
    """`[N, 4, 4]`, to the world, of agents `[N, 4]`."""
    x, y, cos, sin = agent_pos.T
    agent = np.tile(np.eye(4), (len(x), 1, 1))
    agent[:, 0, :2], agent[:, 1, :2] = np.stack([cos, -sin], 1), np.stack([sin, cos], 1)
    agent[:, 0, 3], agent[:, 1, 3] = x, y
    return agent


def starts_of(seeds: range) -> FrameStarts:
    """First frames of walks."""
    walks = [episode(seed, 1) for seed in seeds]
    return FrameStarts(
        [
            Start(walk.pixels[CAMERA][:1], walk.agent_pos[0], walk.task, walk.meta.rig)
            for walk in walks
        ],
        SPEC,
    )


class PoseJudge(Judge):
    """Keeps what it is shown, and never says success."""

    def __init__(self) -> None:
        self.spec, self.rule, self.report, self.env = SPEC, VerdictRule(), REPORT, None
        self.shown: list[ObservedFrame] = []

    def read(self, observation: ObservedFrame, action: NDArray[np.float32] | None) -> Judgement:
        self.shown.append(observation)
        never = np.zeros(len(observation.pixels), np.float32)
        return Judgement(never, never, np.zeros((len(never), SPEC.state.dim), np.float32))

    def save_pretrained(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def from_folder(cls, folder: Path, parts: JudgeParts) -> "PoseJudge":
        raise NotImplementedError

    def check_poses(self) -> None:
        """Every pose that it was told is that of the agent it was told."""
        for each in self.shown:
            assert each.pose is not None
            np.testing.assert_allclose(each.pose, agent_matrices(each.agent_pos), atol=1e-5)


def test_judges_are_told_poses_from_the_first_frame_on(model: WorldModel) -> None:
    judge, starts = PoseJudge(), starts_of(range(50, 53)).starts
    engine = ImaginationEngine(model, judge, 1)
    begun = engine.start(starts[:2], [0, 1])
    engine.step(np.stack([SPEC.action.vector(np.array(Move.LEFT), "test")] * 2))
    anew = engine.start(starts[2:], [2], rows=np.array([1]))
    judge.check_poses()
    assert [len(each.pixels) for each in judge.shown] == [2, 2, 1]
    for seen, shown in ((begun, judge.shown[0]), (anew, judge.shown[2])):
        assert seen.pose is not None and shown.pose is not None
        np.testing.assert_array_equal(seen.pose, shown.pose)


@pytest.mark.parametrize("sampler", [Sampler(steps=1), Sampler("rolling", steps=2)])
def test_judges_of_played_frames_are_told_poses(model: WorldModel, sampler: Sampler) -> None:
    judge = PoseJudge()
    session = PlaySession(model, judge, starts_of(range(50, 51)), None, sampler)
    for move in (Move.LEFT, Move.FORWARD, Move.LEFT):
        session.advance(SPEC.action.vector(np.array(move), "test"))
    judge.check_poses()
    assert len(judge.shown) == 4 - session.delay and session.delay < 3
    places = np.concatenate([each.agent_pos for each in judge.shown])
    assert len(np.unique(places, axis=0)) == len(judge.shown)


def test_poses_of_cameras_are_recorded_as_the_agent_carries_them(tmp_path: Path) -> None:
    recorded = episode(3, 6)
    rig = recorded.meta.rig
    assert rig is not None
    carried = agent_matrices(recorded.agent_pos) @ rig.extrinsics[0]
    np.testing.assert_allclose(carried, recorded.extras["camera_pose"][:, 0], atol=1e-6)


def test_a_walk_is_imagined_where_its_moves_lead(model: WorldModel) -> None:
    recorded = episode(40, 6)
    stream = begun(model, recorded)
    for step in range(6):
        chunk = stream.act(recorded.action[step : step + 1])
    assert stream.pixels().shape == (1, 1, 32, 64, 3)
    # Integration is exact but where a wall or the pillar stopped the walk.
    if not recorded.extras["events"][:, 1].any():
        torch.testing.assert_close(
            chunk.agent_pos[0, 0], torch.from_numpy(recorded.agent_pos[6]), atol=0.05, rtol=0
        )


def test_cameras_are_told_of_every_imagined_frame(model: WorldModel) -> None:
    recorded = episode(40, 6)
    told = begun(model, recorded)
    poses = []
    for step in range(6):
        pose = told.act(recorded.action[step : step + 1]).camera_pose
        assert pose is not None
        poses.append(pose[0, 0])
    if not recorded.extras["events"][:, 1].any():
        wanted = torch.from_numpy(recorded.extras["camera_pose"][1:])
        torch.testing.assert_close(torch.stack(poses), wanted, atol=0.05, rtol=0)


def test_a_start_may_tell_poses_instead_of_mounts(model: WorldModel) -> None:
    recorded = episode(43, 3)
    straight = begun(model, recorded)
    rig = recorded.meta.rig
    assert rig is not None
    stream = Stream.of(model, Sampler.default(model))
    pixels, agent = np.stack(list(recorded.pixels.values()), 1)[:1], recorded.agent_pos[:1]
    blank = {
        "intrinsics": rig.intrinsics[None],
        "extrinsics": np.eye(4, dtype=np.float32)[None, None],
        "mounted": rig.mounted[None],
    }
    extras = {name: recorded.extras[name][:1] for name in ("camera_pose", "depth")}
    stream.reset(pixels, agent, blank, extras=extras)
    one, other = (each.act(recorded.action[:1]) for each in (stream, straight))
    assert one.camera_pose is not None and other.camera_pose is not None
    torch.testing.assert_close(one.camera_pose, other.camera_pose, atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match="camera_pose"):
        stream.reset(pixels, agent, blank, extras={"camera_poses": extras["camera_pose"]})
    with pytest.raises(UsageError, match=r"shape \(1, 32, 64\), expected \(1, 1, 32, 64\)"):
        stream.reset(pixels, agent, blank, extras={"depth": extras["depth"][0]})


def test_what_was_shown_is_remembered(model: WorldModel) -> None:
    stream = begun(model, episode(44, 4))
    for move in (Move.LEFT, Move.RIGHT):
        stream.act(SPEC.action.vector(np.array([move]), "test"))
    memory = stream._running.memory
    assert isinstance(memory, NearestMemory) and memory.seen.tolist() == [3]
    # Back where it began, what is nearest is the newest frame or what it was given first.
    at = FrameCameras(memory.pose[:, -3:-2], torch.eye(3)[None, None], torch.ones(1))
    shown = memory.view(at).retrieved[0, 0, :2]
    kept = memory.latents[0]
    assert torch.equal(shown[0], kept[-1]) and torch.equal(shown[1], kept[-3])


def test_forks_part_where_their_moves_do(model: WorldModel) -> None:
    stream = begun(model, episode(41, 2))
    twin = stream.fork()
    left, right = (SPEC.action.vector(np.array([move]), "test") for move in (Move.LEFT, Move.RIGHT))
    one, other = stream.act(left), twin.act(right)
    assert not torch.equal(one.agent_pos, other.agent_pos)
    again = begun(model, episode(41, 2)).act(left)
    assert torch.equal(again.latents, one.latents)


def test_what_is_saved_is_what_is_loaded(model: WorldModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    loaded = WorldModel.from_pretrained(tmp_path / "saved")
    assert loaded.spec == SPEC
    move = SPEC.action.vector(np.array([Move.FORWARD]), "test")
    streams = [begun(which, episode(42, 2)) for which in (model, loaded)]
    one, other = (stream.act(move).latents for stream in streams)
    assert torch.equal(one, other)


def test_recordings_imagined_again_tell_what_was_recorded_of_their_first_frame(
    run: Path, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[torch.Tensor | None] = []
    update = NearestMemory.update

    def noted(self: NearestMemory, shown: ShownFrames) -> None:
        depths.append(shown.depth)
        update(self, shown)

    monkeypatch.setattr(NearestMemory, "update", noted)
    # What does not say that it reads depth is not shown it.
    monkeypatch.setattr(NearestMemory, "reads_depth", True)
    cache = build_cache(run.parent / "data")
    begin = cache.episode_start[:2]
    next(replay_recorded(model, cache, begin, 1))
    open_loop_records(model, cache, [0, 1], max_steps=1)
    wanted = torch.from_numpy(np.asarray(cache.extras["depth"][begin]))
    for depth in (depths[0], depths[2]):
        assert depth is not None and torch.equal(depth[:, 0], wanted)


def test_depth_and_events_reach_the_cache(tmp_path: Path) -> None:
    cache = build_cache(write_room_data(tmp_path / "data", episodes=2, steps=4))
    recorded = episode(1, 4)
    rows = cache.rows(1)
    for name, values in recorded.extras.items():
        np.testing.assert_allclose(
            np.asarray(cache.extras[name][rows.start : rows.stop]), values, atol=1e-3
        )


def test_policies_are_ranked_in_imagination_against_the_room(run: Path) -> None:
    starts = starts_of(range(50, 56))
    walks = starts.starts
    env = ImaginationVectorEnv(
        len(walks), run / "model", starts=starts, sampling_steps=1, max_episode_steps=HORIZON
    )
    policies = {
        "expert": toward_pillar,
        "ahead": lambda walker: Move.FORWARD,
        "spinning": lambda walker: Move.LEFT,
    }
    imagined = np.stack([in_imagination(env, policy) for policy in policies.values()])
    reference = np.stack(
        [
            [in_room(agent_pose(torch.from_numpy(w.agent_pos)), policy) for w in walks]
            for policy in policies.values()
        ]
    )
    report = rank(reference, imagined, list(policies))
    assert [policy.name for policy in report.policies] == list(policies)
    # Who knows the way arrives from everywhere in the room; who spins never does.
    assert reference[0].mean() > 0.8 and not reference[2].any()
    assert [policy.reference.value for policy in report.policies] == pytest.approx(
        reference.mean(axis=1)
    )


def in_imagination(env: ImaginationVectorEnv, policy: Callable[[Walker], Move]) -> list[bool]:
    """Whether each start's episode is judged a success."""
    states = list(range(env.num_envs))
    observation, _ = env.reset(seed=0, options={"initial_state": states})
    success, over = np.zeros((2, env.num_envs), bool)
    for _ in range(HORIZON):
        moves = [policy(agent_pose(torch.from_numpy(agent))) for agent in observation["agent_pos"]]
        observation, _, done, truncated, _ = env.step(np.array(moves, np.int64))
        success |= done & ~over
        over |= done | truncated
    return list(map(bool, success))


def in_room(walker: Walker, policy: Callable[[Walker], Move]) -> bool:
    """Whether the walk from here stops near the pillar within the horizon."""
    for _ in range(HORIZON):
        move = policy(walker)
        walker = walker.moved(move)
        if move == Move.STOP and walker.distance < REACH:
            return True
    return False
