"""A drive is the stream it stands for; recordings hold what was seen."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imagination_testing import nano_judge, nano_starts
from play_testing import new_session
from worldsim_testing import CAMERAS, nano_model, nano_spec

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.verify import verify
from worldsim.data.video import VideoFile
from worldsim.envs.imagination import FrameStarts, ImaginationEnv
from worldsim.errors import UsageError
from worldsim.play.recording import Tape, TapeLimits
from worldsim.play.session import PlaySession
from worldsim.sampling.sampler import Sampler
from worldsim.spec import CameraSpec

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (5, 5)).astype(np.float32)


def drive(session: PlaySession, actions: np.ndarray = ACTIONS) -> list[np.ndarray]:
    return [session.advance(action).imagined for action in actions]


def test_a_drive_shows_what_the_env_shows(session: PlaySession) -> None:
    starts = FrameStarts(nano_starts(), nano_spec())
    env = ImaginationEnv(nano_model(), nano_judge(), starts, sampling_steps=1)
    first = env.reset(options={"initial_state": 2})[0]
    begun = session.begin(2)
    np.testing.assert_array_equal(begun.imagined[0], first["pixels"]["exterior_1"])
    # The noise of the two differs; hand and scene do not depend on it.
    for action in ACTIONS:
        observed, (observation, *_) = session.advance(action), env.step(action)
        np.testing.assert_allclose(observed.agent_pos, observation["agent_pos"], atol=1e-5)
    assert observed.step == len(ACTIONS) and observed.simulated is None


def test_the_same_seed_gives_the_same_drive(session: PlaySession) -> None:
    session.begin(3)
    first = drive(session)
    drive(session)
    session.begin(3)
    np.testing.assert_array_equal(first, drive(session))
    session.begin(4)
    assert not np.array_equal(first, drive(session))


def test_rolling_shows_frames_late_and_says_how_late(session: PlaySession) -> None:
    start = session.begin(0)
    observed = session.set_sampler(Sampler(kind="rolling", steps=3))
    assert session.delay == 2 and observed.step == 0
    shown = drive(session)
    np.testing.assert_array_equal(shown[1], start.imagined)
    assert not np.array_equal(shown[2], start.imagined)


def test_an_impossible_sampler_leaves_the_drive_as_it_was(session: PlaySession) -> None:
    before = session.sampler
    with pytest.raises(UsageError, match="context holds"):
        session.set_sampler(Sampler(chunk=50))
    assert session.sampler == before
    session.advance(ACTIONS[0])


def test_actions_that_do_not_fit_are_refused(session: PlaySession) -> None:
    for wrong in (np.zeros(4), np.full(5, np.nan)):
        with pytest.raises(UsageError):
            session.advance(wrong.astype(np.float32))
    session.advance(ACTIONS[0])


@pytest.mark.parametrize(
    "sampler", [Sampler(steps=1), Sampler(kind="rolling", steps=3), Sampler(steps=1, chunk=2)]
)
def test_recordings_pair_actions_with_the_frames_they_lead_to(
    sampler: Sampler, tmp_path: Path
) -> None:
    session = new_session(sampler)
    delay = session.delay
    actions = np.random.default_rng(1).uniform(-1, 1, (7 + delay, 5)).astype(np.float32)
    tape = Tape(session.spec, 0, "", session.begin(0), tmp_path, delay)
    kept = []
    for count, action in enumerate(actions):
        if count == delay:
            with pytest.raises(UsageError, match=f"more than {delay} steps|drive first"):
                tape.write()
        observed = session.advance(action)
        tape.add(action, observed)
        kept.append((observed.agent_pos.copy(), observed.imagined.copy()))
    episode = tape.episode()
    # Where the hand goes does not depend on how frames are sampled.
    plain = new_session()
    hands = [plain.begin(0).agent_pos, *(plain.advance(a).agent_pos for a in actions[:7])]
    np.testing.assert_allclose(episode.agent_pos, hands, atol=1e-5)
    np.testing.assert_array_equal(episode.action, actions[:7])
    shown = np.stack(list(episode.pixels.values()), axis=1)
    for step, (hand, frames) in enumerate(kept[delay:]):
        np.testing.assert_array_equal(episode.agent_pos[step + 1], hand)
        np.testing.assert_array_equal(shown[step + 1], frames)
    assert all(not np.array_equal(one, two) for one, two in zip(shown[:-1], shown[1:], strict=True))
    tape.close()
    assert not list(tmp_path.iterdir())


def test_recordings_are_numbered_and_whole(tmp_path: Path) -> None:
    session = new_session()
    for number in range(2):
        start = session.begin(number)
        with Tape(session.spec, number, session.start_task, start, tmp_path) as tape:
            for action in ACTIONS:
                tape.add(action, session.advance(action))
            film, data = tape.write()
        assert (film.name, data.name) == (f"{number:04d}.mp4", f"{number:04d}")
    video = VideoFile(film)
    assert len(video.read(0, len(ACTIONS) + 1)) == len(ACTIONS) + 1
    video.close()
    assert verify(data) == []
    episode = LeRobotDataset(data).episode(0)
    np.testing.assert_allclose(episode.action, ACTIONS, atol=1e-6)
    # The start's frames are noise, which video keeps badly: yet nearer to it than any other view.
    recorded = episode.pixels["wrist"][0].astype(int)
    apart = [np.abs(recorded - start.imagined[view]).mean() for view in range(3)]
    assert apart[2] < 0.7 * min(apart[:2]), apart


def test_a_long_recording_takes_no_memory(tmp_path: Path) -> None:
    session = new_session()
    large = np.zeros((3, 160, 160, 3), np.uint8)
    spec = replace(session.spec, cameras=tuple(CameraSpec(n, 160, 160) for n in CAMERAS))
    observed = replace(session.latest, imagined=large, simulated=large)
    action = np.zeros(5, np.float32)
    steps = 30
    with Tape(spec, 0, "", observed, tmp_path) as tape:
        tape.add(action, observed)
        tracemalloc.start()
        try:
            for _ in range(steps):
                tape.add(action, observed)
            kept = tracemalloc.get_traced_memory()[0]
            film, data = tape.write()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    recorded = 2 * large.nbytes * steps
    assert kept < recorded / 100
    assert peak < recorded / 2
    assert film.is_file() and verify(data) == []


def test_a_recording_says_when_it_is_full(tmp_path: Path) -> None:
    session = new_session()
    limits = TapeLimits(seconds=0.3, free_bytes=0)
    with Tape(session.spec, 0, "", session.latest, tmp_path, limits=limits) as tape:
        for step in range(3):
            assert tape.why_full() is None, step
            tape.add(ACTIONS[step], session.latest)
        assert "0.3 s" in (tape.why_full() or "")
    greedy = TapeLimits(free_bytes=1 << 60)
    with Tape(session.spec, 0, "", session.latest, tmp_path, limits=greedy) as tape:
        assert "disk" in (tape.why_full() or "")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    session = new_session()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot record into"):
        Tape(session.spec, 0, "", session.latest, tmp_path / "file" / "out")


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": float("nan")}, {"free_bytes": -1}])
def test_impossible_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="recordings"):
        TapeLimits(**limits)  # type: ignore[arg-type]
