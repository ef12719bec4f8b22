"""A judge's error on imagined frames: held-out recordings imagined again under their own actions.

The truth of such a replay is what was recorded. It is counted as a whole, from the first frame of
its episode, and at every depth: how many imagined frames lie before the one that decides it, its
first success or its last frame. Agent and objects go as the model has them, as in a ranking.

Legend: N replays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.navigation.sub_tasks import stops_before
from worldsim.judge.gates import Check, RolloutGate
from worldsim.judge.judge import Float, Judge, ObservedFrame
from worldsim.judge.report import DepthBand, ImaginedReport, Verdicts
from worldsim.judge.sampling import REPORTED, JudgeConfig, Rows, episodes_in
from worldsim.judge.sub_tasks import all_closed, left_at
from worldsim.models.world_model import WorldModel
from worldsim.sampling.replay import replay_recorded
from worldsim.sampling.sampler import default_steps
from worldsim.sampling.stream import Stream

MOST_BANDS = 6
"""Depths are split into no more bands, wider ones where episodes are long."""

GRACE = 3
"""Steps that go on after a recorded success. A recording ends there, a policy in imagination goes
on: that imagination succeeds some frames later is no error of a verdict."""

TOGETHER = 64
"""Replays side by side."""


@dataclass(frozen=True)
class Replay:
    """One stretch of a recording.

    Attributes:
        begin: row of its first frame.
        depth: steps from there to the frame that decides it.
        success: whether that is a success.
        whole: whether it begins with its episode.
    """

    begin: int
    depth: int
    success: bool
    whole: bool

    def steps(self, hold: int) -> int:
        """How far it is imagined, for a verdict that takes `hold` frames."""
        return self.depth + (GRACE + hold - 1 if self.success else 0)


def band_width(depths: list[int], least: int) -> int:
    """Steps of a band, such that `MOST_BANDS` of them hold the greatest of `depths`."""
    return max(least, -(-max(depths, default=0) // MOST_BANDS))


def decided_episodes(
    data: CachedDataset, most: int, seed: int, by_stops: bool = False
) -> list[Replay]:
    """Whole held-out episodes, at most `most` of each outcome, drawn at random.

    One that begins in success is left out: it has nothing to decide. So is one without a stop for
    each sub-task where a judge decides by these (`by_stops`).
    """
    found: dict[bool, list[Replay]] = {True: [], False: []}
    for episode in episodes_in(data, (REPORTED,)):
        begin, end = int(data.episode_start[episode]), int(data.episode_start[episode + 1])
        success = np.asarray(data.success[begin:end]).astype(bool)
        if end - begin < 2 or success[0] or (by_stops and not all_closed(data, episode)):
            continue
        won = bool(success.any())
        depth = int(np.argmax(success)) if won else end - begin - 1
        found[won].append(Replay(begin, depth, won, whole=True))
    rng, chosen = np.random.default_rng(seed), []
    for replays in found.values():
        kept = np.sort(rng.permutation(len(replays))[:most])
        chosen += [replays[i] for i in kept]
    return chosen


def reads_instructions(judge: Judge) -> bool:
    """Whether a judge must be told what is asked; one that does not say need not."""
    return bool(getattr(judge, "reads_instructions", False))


def later_replays(whole: list[Replay], width: int, seed: int) -> list[Replay]:
    """Each episode once more for every band that it reaches beside its own, at a random depth."""
    rng, found = np.random.default_rng(seed), []
    for replay in whole:
        for first in range(1, replay.depth - (replay.depth - 1) % width, width):
            depth = first + int(rng.integers(width))
            begin = replay.begin + replay.depth - depth
            found.append(Replay(begin, depth, replay.success, whole=False))
    return found


class Measured(NamedTuple):
    """What held-out replays say.

    Attributes:
        report: verdicts against what was recorded.
        readings: of each gate that was given, what it says of every imagined step of every whole
            episode, `[its steps]` or `[its steps, K]`.
    """

    report: ImaginedReport
    readings: list[list[Float]]


def measure_imagined(
    judge: Judge,
    model: WorldModel,
    data: CachedDataset,
    config: JudgeConfig,
    weights: str | None,
    gates: Sequence[RolloutGate] = (),
) -> Measured | None:
    """Count the judge's verdicts on held-out recordings that `model` imagines again.

    Args:
        judge: with its verdict rule.
        model: the world model whose frames it will judge.
        data: the recordings; those of the reported fold are taken.
        config: how many, and how wide bands of depth are.
        weights: fingerprint of the model's weights.
        gates: look at every step of whole episodes.

    Returns:
        The counts, or None where nothing was asked for or there is no held-out episode.
    """
    by_stops = reads_instructions(judge)
    whole = decided_episodes(data, config.replays, config.seed, by_stops)
    if not whole:
        return None
    width = band_width([replay.depth for replay in whole], config.depth_band)
    later = later_replays(whole, width, config.seed)
    if by_stops:  # after a stop nobody knows whether a failure is still to come
        begun = stops_before(data, np.array([replay.begin for replay in later], np.int64)) > 0
        later = [each for each, late in zip(later, begun, strict=True) if each.success or not late]
    replays = whole + later
    decided, readings = _watch(_Watcher(judge, model, data, tuple(gates)), whole)
    said = np.concatenate([decided, _watch(_Watcher(judge, model, data), later)[0]])
    truth = np.array([replay.success for replay in replays])
    depths = np.array([replay.depth for replay in replays])
    bands = []
    for first in range(1, int(depths.max()) + 1, width):
        inside = (depths >= first) & (depths < first + width)
        bands.append(DepthBand(first, first + width - 1, Verdicts.of(truth[inside], said[inside])))
    steps = default_steps(model.config)  # those of `replay_recorded`
    counted = Verdicts.of(truth[: len(whole)], said[: len(whole)])
    report = ImaginedReport(counted, tuple(bands), weights, steps)
    return Measured(report, readings)


def _watch(
    watcher: "_Watcher", replays: list[Replay]
) -> tuple[NDArray[np.bool_], list[list[Float]]]:
    """The judge's verdict on each replay `[N]`, from the frames that follow an action, and the
    readings of gates, without those of the steps that go on after a success."""
    begin = np.array([replay.begin for replay in replays])
    steps = np.array([replay.steps(watcher.judge.rule.hold) for replay in replays])
    said = np.zeros(len(replays), bool)
    readings = [[np.zeros(0, np.float32)] * len(replays) for _ in watcher.gates]
    order = np.argsort(-steps, kind="stable")
    for part in (order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)):
        said[part], found = watcher.read(begin[part], steps[part])
        for ours, each in zip(readings, found, strict=True):
            for place, reading in zip(part, each, strict=True):
                ours[place] = reading[: replays[place].depth]
    return said, readings


@dataclass(frozen=True)
class _Watcher:
    """Who reads imagined frames: the judge, and gates if there are any."""

    judge: Judge
    model: WorldModel
    data: CachedDataset
    gates: tuple[RolloutGate, ...] = ()

    def read(self, begin: Rows, steps: Rows) -> tuple[NDArray[np.bool_], list[list[Float]]]:
        """Verdicts on replays, as a ranking comes to them, and readings of gates."""
        data, agent = self.data, self.model.spec.agent_pos.dim
        tracker = self.judge.tracker(len(begin))
        tracker.begin(left_at(data, begin))
        found: list[list[list[Float]]] = [[[] for _ in begin] for _ in self.gates]
        checks: list[Check] = []

        def before(stream: Stream, actions: Float) -> None:
            checks[:] = [gate.begin(stream, actions) for gate in self.gates]

        replays = replay_recorded(self.model, data, begin, steps, guided=False, before=before)
        for depth, (rows, stream) in enumerate(replays):
            running, asked = np.flatnonzero(steps > depth), tracker.asked
            # The action that led to a frame lies in the row before it.
            action = np.asarray(data.action[rows - 1], np.float32)
            pose = None if stream.pose is None else stream.pose.cpu().numpy()
            agent_pos = stream.world_state[:, :agent].cpu().numpy()
            told = None if asked is None else tuple(asked[place] for place in running)
            shown = ObservedFrame(stream.pixels(), agent_pos, pose, told)
            probability = self.judge.read(shown, action).success_probability
            tracker.update(probability, steps > depth, action)
            for ours, check in zip(found, checks, strict=True):
                for place, reading in zip(running, check(stream, probability), strict=True):
                    ours[place].append(reading)
        readings = [[np.array(each, np.float32) for each in ours] for ours in found]
        return tracker.succeeded, readings
