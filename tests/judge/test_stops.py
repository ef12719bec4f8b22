"""Judges of stops: sub-tasks are counted, what follows from a met stop is true, verdicts add up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from indoor_testing import SIZE, indoor_model, indoor_spec, recorded_walks, stop_judge

from worldsim.data.navigation.sub_tasks import stopping, stops_before, sub_tasks
from worldsim.errors import DataError, UsageError
from worldsim.judge.buffer import FrameBuffer, imagine_episodes
from worldsim.judge.imagined import measure_imagined
from worldsim.judge.judge import Judgement, ObservedFrame, load_pretrained_judge
from worldsim.judge.report import VerdictRule
from worldsim.judge.sampling import CALIBRATED, REPORTED, JudgeConfig, episodes_in
from worldsim.judge.stop_items import require_stops, stop_items
from worldsim.judge.stops import StopJudge
from worldsim.judge.stops_training import StopTrainer
from worldsim.judge.sub_tasks import SubTaskTracker, all_closed, left_at
from worldsim.spec import ActionSpec

STOP, FORWARD, LEFT, RIGHT = np.eye(4, dtype=np.float32)
THREE = "go to the red sofa and stop, then go to the lamp and stop, then find the bed"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (THREE, ("go to the red sofa and stop", "go to the lamp and stop", "find the bed")),
        ("Stop at the bed.", ("Stop at the bed",)),
        ("go left; stop", ("go left", "stop")),
        ("Walk on. Then stop and then turn", ("Walk on", "stop", "turn")),
        ("", ("",)),
    ],
)
def test_parts_of_instructions(text: str, parts: tuple[str, ...]) -> None:
    assert sub_tasks(text) == parts


def test_continuous_actions_stop_where_nothing_moves() -> None:
    action = ActionSpec(("forward", "turn"), (0, -1), (1, 1), ("m", "rad"), (0.25, 0.5))
    moves = np.array([(0.0, 0.0), (0.04, -0.04), (0.06, 0.0), (0.0, -0.5)], np.float32)
    assert stopping(action, moves).tolist() == [True, True, False, False]


def test_a_tracker_counts_stops_and_takes_the_judges_word() -> None:
    tracker = SubTaskTracker(VerdictRule(0.5), 3, indoor_spec().action)
    tracker.begin([THREE, "stop at the bed", "go to a and stop, then go to b and stop"])
    assert tracker.stages.tolist() == [[3, 0], [1, 0], [2, 0]]
    high = np.array([0.9, 0.9, 0.1], np.float32)
    tracker.update(high, actions=np.stack([FORWARD, LEFT, RIGHT]))
    assert tracker.stages.tolist() == [[3, 0], [1, 0], [2, 0]] and not tracker.over.any()
    won = tracker.update(high, actions=np.stack([STOP, STOP, STOP]))
    assert won.tolist() == [False, True, False]
    assert tracker.over.tolist() == [False, True, False]
    assert tracker.stages.tolist() == [[2, 1], [0, 1], [1, 0]]
    assert tracker.asked == ("go to the lamp and stop", "stop at the bed", "go to b and stop")
    tracker.select(np.array([2, 0]))
    won = tracker.update(high[:2], actions=np.stack([STOP, STOP]))
    # The first sub-task of the pair was not met, so that the second cannot save the episode.
    assert won.tolist() == [False, False] and tracker.over.tolist() == [True, False]
    assert tracker.stages.tolist() == [[0, 1], [1, 2]]
    tracker.begin(["stop"], np.array([0]))
    assert tracker.stages.tolist() == [[1, 0], [1, 2]]
    assert list(tracker.asked)[0] == "stop"
    # What follows the end changes nothing.
    tracker.update(high[:2], actions=np.stack([STOP, STOP]))
    done = tracker.update(high[:2], actions=np.stack([STOP, STOP]))
    assert done.tolist() == [True, True] and tracker.stages.tolist() == [[0, 1], [0, 3]]


def test_only_stops_are_judged_and_they_need_words(tmp_path: Path) -> None:
    judge, rng = stop_judge(), np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 1, SIZE, 2 * SIZE, 3), np.uint8)
    agent = np.zeros((3, 4), np.float32)
    actions = np.stack([STOP, FORWARD, STOP])
    shown = ObservedFrame(pixels, agent, None, ("the bed", "the bed", "a lamp"))
    said = judge.read(shown, actions)
    assert said.success_probability[1] == 0 and (said.success_probability[[0, 2]] > 0).all()
    assert not judge.read(shown, None).success_probability.any()
    other = judge.read(ObservedFrame(pixels, agent, None, ("a cup", "", "a lamp")), actions)
    assert other.success_probability[0] != said.success_probability[0]
    assert other.success_probability[2] == pytest.approx(said.success_probability[2])
    with pytest.raises(UsageError, match="nobody told it"):
        judge.read(ObservedFrame(pixels, agent), actions)
    judge.save_pretrained(tmp_path)
    again = load_pretrained_judge(tmp_path)
    np.testing.assert_array_equal(again.read(shown, actions)[0], said.success_probability)
    with pytest.raises(UsageError, match="gate_draws"):
        JudgeConfig(kind="stops", gate_draws=2)


def untold() -> Any:
    """The recordings without events."""
    data = recorded_walks()
    return _Altered(data, spec=replace(data.spec, events=()))


@pytest.mark.parametrize("told", [True, False])
def test_what_follows_from_recordings_is_true(told: bool) -> None:
    """The simulator's state, which no judge is shown, says so."""
    data = recorded_walks() if told else untold()
    items = stop_items(data, list(range(data.num_episodes)))
    names = data.spec.state.names
    reached, seen = (names.index(name) for name in ("goal_reached", "goal_seen"))
    state = np.asarray(data.state)[items.rows]
    truth = (state[:, reached] > 0.5) & (state[:, seen] > 0.5)
    assert items.met.any() and (items.real & ~items.met).any() and (~items.real).any()
    np.testing.assert_array_equal(items.met, truth)
    assert stopping(data.spec.action, np.asarray(data.action)[items.rows[items.real]]).all()
    whole = [e for e in range(data.num_episodes) if all_closed(data, e)]
    assert len(whole) == items.real.sum()
    if told:  # every frame that leads to an action teaches, whoever acts
        acting = np.flatnonzero(data.action_mask)
        assert len(items.rows) == (stops_before(data, acting) == 0).sum()
    assert left_at(data, items.rows) == items.asked
    assert np.isnan(items.seen).all() != told
    if told:
        np.testing.assert_array_equal(items.seen > 0.5, state[:, seen] > 0.5)


def test_where_things_lie_is_told_by_distance_and_side() -> None:
    """Offsets have the length of the way to the thing, and their side is that of a seen bearing."""
    data = recorded_walks()
    items = stop_items(data, list(range(data.num_episodes)))
    state, agent = np.asarray(data.state)[items.rows], np.asarray(data.agent_pos)[items.rows]
    clear = state[:, data.spec.state.names.index("goal_clear")] > 0.5
    np.testing.assert_array_equal(np.isnan(items.offset).any(axis=1), ~clear)
    apart = np.hypot(*(state[:, :2] - agent[:, :2]).T)
    np.testing.assert_allclose(np.hypot(*items.offset[clear].T), apart[clear], rtol=1e-4)
    ahead, left = items.offset[clear].T
    inside = np.abs(np.arctan2(left, ahead)) <= np.deg2rad(30) + 1e-4
    np.testing.assert_array_equal(inside, items.seen[clear] > 0.5)


def test_a_judge_learns_its_stops_and_one_outcome_is_refused() -> None:
    data = recorded_walks()
    config = JudgeConfig(kind="stops", width=8, keypoints=4, hidden=16, steps=3, batch_size=8)
    trainer = StopTrainer(data, data.spec, config)
    before = [p.detach().clone() for p in trainer.reader.parameters()]
    trainer.train(show_progress=False)
    after = list(trainer.reader.parameters())
    assert any(not np.allclose(a.detach(), b) for a, b in zip(after, before, strict=True))
    judge = trainer.judge("walks")
    assert judge.report.positives + judge.report.negatives > 0
    assert not judge.report.state_assisted and not judge.report.reads_progress
    failures = _Altered(untold(), success=np.zeros_like(data.success))
    with pytest.raises(DataError, match="0 stops met"):
        require_stops(failures)  # type: ignore[arg-type]


def in_halves() -> Any:
    """The recordings, with a stop in the middle of every walk that closes a first sub-task."""
    data = recorded_walks()
    action = np.array(data.action)
    bounds = np.asarray(data.episode_start)
    action[(bounds[:-1] + bounds[1:]) // 2 - 1] = STOP
    tasks = [f"go to the lamp, then {task}" for task in data.tasks]
    # Of the two that judges are measured on one succeeds.
    success = np.zeros_like(data.success)
    success[bounds[episodes_in(recorded_walks(), (REPORTED,))[0] + 1] - 1] = True
    state = np.asarray(data.state)[:, :0]  # `indoor_model` knows none
    return _Altered(data, action=action, tasks=tasks, state=state, success=success)


def test_stops_are_counted_within_their_episodes() -> None:
    data = in_halves()
    first, end = np.asarray(data.episode_start)[:-1], np.asarray(data.episode_start)[1:]
    middle = (first + end) // 2 - 1
    assert not stops_before(data, first).any() and not stops_before(data, middle).any()
    assert (stops_before(data, middle + 1) == 1).all()
    left = left_at(data, np.array([first[1], middle[1], middle[1] + 1, end[1] - 1]))
    own = sub_tasks(data.tasks[1])[1]
    assert left == [f"go to the lamp; {own}"] * 2 + [own] * 2
    assert sub_tasks(left[0]) == sub_tasks(data.tasks[1])


@pytest.mark.parametrize(("met", "tpr"), [("go to the lamp", 0), ("", 1)])
def test_imagined_verdicts_want_every_sub_task(met: str, tpr: float) -> None:
    """Who calls only the first part met calls no episode a success."""
    plain = stop_judge()
    judge = _Says(plain.reader, plain.spec, plain.rule, plain.report)
    judge.met = met
    config = JudgeConfig(kind="stops", replays=2, depth_band=60)
    found = measure_imagined(judge, indoor_model(), in_halves(), config, None)
    assert found is not None
    whole = found.report.whole
    assert whole.positives == 1 and whole.tpr == tpr
    # A failure may lie before the middle: it is replayed from there on where it is a success.
    assert whole.negatives and found.report.bands


class _Says(StopJudge):
    """Calls those sub-tasks met whose words begin so."""

    met = ""

    def read(self, observation: ObservedFrame, action: Any) -> Judgement:
        said = super().read(observation, action)
        assert observation.asked is not None
        begun = [text.startswith(self.met) for text in observation.asked]
        yes = stopping(self.spec.action, np.asarray(action)) & np.array(begun)
        return said._replace(success_probability=yes.astype(np.float32))


class _Altered:
    """The recordings with other columns."""

    def __init__(self, data: object, **columns: Any) -> None:
        self._data, self._columns = data, columns

    def __getattr__(self, name: str) -> Any:
        return self._columns[name] if name in self._columns else getattr(self._data, name)


@pytest.mark.parametrize("guided", [True, False])
def test_whole_episodes_are_imagined_frame_by_frame(guided: bool) -> None:
    data, model = in_halves(), indoor_model()
    seen = imagine_episodes(model, data, [2, 0], guided)
    wanted = [np.arange(*data.rows(e).indices(len(data.pixels)))[1:] for e in (0, 2)]
    np.testing.assert_array_equal(seen.rows, np.concatenate(wanted))
    alone = imagine_episodes(model, data, [2], guided)
    np.testing.assert_array_equal(seen.pixels[len(wanted[0]) :], alone.pixels)
    place, there = seen.find(np.array([seen.rows[3], data.rows(1).start, 10**9]))
    assert there.tolist() == [True, False, False] and place[0] == 3
    none = FrameBuffer(np.zeros(0, np.int64), seen.pixels[:0])
    assert not none.find(seen.rows)[1].any()


def test_a_judge_learns_and_is_calibrated_on_what_rankings_show_it() -> None:
    plain, model = in_halves(), indoor_model()
    data: Any = _Altered(plain, spec=replace(plain.spec, state=model.spec.state))
    sizes: dict[str, Any] = {"width": 8, "keypoints": 4, "hidden": 16, "steps": 2, "batch_size": 20}
    config = JudgeConfig(kind="stops", buffer_share=0.5, buffer_size=30, imagined_size=90, **sizes)
    trainer = StopTrainer(data, data.spec, config, model)
    assert trainer.own is not None and trainer.encoded is not None
    batch, own = trainer._draw()
    assert 8 <= own.sum() <= 12 and len(own) - own.sum() >= 8
    pixels = trainer._pixels(batch.rows, own)
    place, there = trainer.own.find(batch.rows)
    assert there[own].all()
    np.testing.assert_array_equal(pixels[own], trainer.own.pixels[place[own]])
    recorded = (pixels == np.asarray(data.pixels[batch.rows])).all((1, 2, 3, 4))
    assert not recorded[own].any()
    items, shown = trainer._used(CALIBRATED)
    assert shown is not None and len(shown) == len(items.rows) > 0
    again = imagine_episodes(model, data, episodes_in(data, (CALIBRATED,)), guided=False)
    place, there = again.find(items.rows + 1)
    assert there.all()
    np.testing.assert_array_equal(shown, again.pixels[place])
    held, nothing = StopTrainer(data, data.spec, config)._used(CALIBRATED)
    assert nothing is None and len(held.rows) >= len(items.rows)
