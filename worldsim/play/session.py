"""One person's drive: a stream of imagination and, beside it, the simulator under the same actions.

Legend: V view, H W pixels, P proprioception, S state, A action.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import stack_views
from worldsim.envs.imagination import DatasetStarts, FrameStarts, SimulatorStarts, Start
from worldsim.envs.imagination.start import stack_rigs, stack_states, stack_views_seen
from worldsim.envs.imagination.starts import StartSource
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.sampling.stream_rows import Chunk

Pixels = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moment:
    """What is shown after one step.

    Attributes:
        step: actions since the start.
        imagined: uint8 `[V, H, W, 3]`.
        agent_pos: `[P]` as imagined.
        state: `[S]` as imagined.
        progress: the judge's, 0 without a judge.
        probability: of success, the judge's.
        success: the judge's verdict so far.
        simulated: uint8 `[V, H, W, 3]`, or None without a simulator.
        simulated_success: whether the simulator says solved.
        milliseconds: spent on imagining, judging, simulating.
    """

    step: int
    imagined: Pixels
    agent_pos: Float
    state: Float
    progress: float
    probability: float
    success: bool
    simulated: Pixels | None
    simulated_success: bool
    milliseconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Frame:
    """A finished frame `[V, H, W, 3]` and where it has hand `[P]` and scene `[S]`."""

    pixels: Pixels
    agent_pos: Float
    state: Float


class PlaySession:
    """Imagines one stream, and steps a simulator along.

    Args:
        model: world model; shared between sessions, never changed.
        judge: says progress and success; None without one.
        starts: where episodes begin. The session closes their simulator, if they have one.
        simulator: driven by the same actions; None without one. The session closes it.
        sampler: how frames are sampled.
    """

    def __init__(
        self,
        model: WorldModel,
        judge: Judge | None,
        starts: StartSource,
        simulator: gymnasium.Env[Any, Any] | None,
        sampler: Sampler,
    ) -> None:
        self.model, self.judge, self.starts, self.simulator = model, judge, starts, simulator
        self.spec = model.spec
        self.sampler = sampler
        self._stream = self._new_stream()
        self._finished: deque[_Frame] = deque()
        self._pushed: deque[Float] = deque()  # actions whose frames are not finished yet
        self._tracker = None if judge is None else judge.tracker(1)
        self.seed, self._step, self.start_task = 0, 0, ""
        self.latest = self.begin(0)

    def begin(self, seed: int) -> Moment:
        """Start an episode anew, in both worlds."""
        start = seeded_start(self.starts, seed)
        pixels, agent_pos = start.pixels[None], start.agent_pos[None]
        probability, progress = 0.0, 0.0
        read = np.zeros((1, self.spec.state.dim), np.float32)
        if self.judge is not None:
            judgement = self.judge.read(ObservedFrame(pixels, agent_pos), None)
            probability = float(judgement.success_probability[0])
            progress = float(judgement.progress[0])
            read = judgement.state
            self._tracker = self.judge.tracker(1)
        state = stack_states([start], read)
        known = state if self.judge is not None or start.state.shape == read[0].shape else None
        rig, views = stack_rigs([start], self.spec.camera_names), stack_views_seen([start])
        self._stream.reset(pixels, agent_pos, rig, [0], seed, state=known, views=views)
        self._finished.clear()
        self._pushed.clear()
        simulated = self._begin_simulator(start, seed)
        self.seed, self._step, self.start_task = seed, 0, start.task
        self.latest = Moment(
            0,
            start.pixels,
            start.agent_pos,
            state[0],
            progress,
            probability,
            False,
            simulated,
            False,
            {},
        )
        return self.latest

    def _begin_simulator(self, start: Start, seed: int) -> Pixels | None:
        if self.simulator is None:
            return None
        options = {"factors": start.factors} if start.factors else {}
        observation, _ = self.simulator.reset(seed=seed, options=options)
        return stack_views(observation["pixels"], self.spec.camera_names)

    def set_sampler(self, sampler: Sampler) -> Moment:
        """Sample otherwise from now on; begins the episode anew."""
        before = self.sampler, self._stream
        self.sampler = sampler
        try:
            self._stream = self._new_stream()
        except UsageError:
            self.sampler, self._stream = before
            raise
        return self.begin(self.seed)

    def _new_stream(self) -> Stream:
        return Stream.of(self.model, self.sampler)

    @property
    def delay(self) -> int:
        """Steps by which frames follow actions: what the sampler must know ahead."""
        return self._stream.schedule.most_in_flight * self._stream.schedule.chunk - 1

    def advance(self, action: Float) -> Moment:
        """One action in both worlds. Until the sampler knows enough actions, the first frame stays.

        Args:
            action: `[A]`, normalised; clipped.

        Raises:
            UsageError: wrong length, or not finite.
        """
        checked = self.spec.action.check(action, "play")
        times = [time.perf_counter()]
        self._stream.push(checked[None, None])
        self._pushed.append(checked)
        while int(self._stream.waiting[0]) > self.delay:
            self._keep(self._stream.step())
        frame = self._finished.popleft() if self._finished else None
        imagined = self.latest.imagined if frame is None else frame.pixels
        times.append(time.perf_counter())
        verdict = self._verdict() if frame is None else self._judge(frame, self._pushed.popleft())
        times.append(time.perf_counter())
        simulated, solved = self._simulate(checked)
        times.append(time.perf_counter())
        self._step += 1
        spent = dict(zip(("imagine", "judge", "simulate"), np.diff(times) * 1e3, strict=True))
        self.latest = Moment(
            self._step,
            imagined,
            self.latest.agent_pos if frame is None else frame.agent_pos,
            self.latest.state if frame is None else frame.state,
            *verdict,
            simulated,
            solved or self.latest.simulated_success,
            spent,
        )
        return self.latest

    def _keep(self, chunk: Chunk | None) -> None:
        """Put by what a pass finished, to be shown a frame a step."""
        if chunk is None:
            return
        for k in range(int(chunk.frames[0])):
            pixels = self._stream.show(chunk.latents[:, k])[0]
            agent_pos, state = (
                x[0, k].float().cpu().numpy() for x in (chunk.agent_pos, chunk.state)
            )
            self._finished.append(_Frame(pixels, agent_pos, state))

    def _verdict(self) -> tuple[float, float, bool]:
        return self.latest.progress, self.latest.probability, self.latest.success

    def _judge(self, frame: _Frame, action: Float) -> tuple[float, float, bool]:
        if self.judge is None or self._tracker is None:
            return 0.0, 0.0, False
        shown = ObservedFrame(frame.pixels[None], frame.agent_pos[None])
        judgement = self.judge.read(shown, action[None])
        success = self._tracker.update(judgement.success_probability)
        probability = float(judgement.success_probability[0])
        return float(judgement.progress[0]), probability, bool(success[0])

    def _simulate(self, action: Float) -> tuple[Pixels | None, bool]:
        if self.simulator is None:
            return None, False
        # Past the env's own end: the person decides when it is over.
        observation, _, _, _, info = self.simulator.step(self.spec.action.command(action))
        return stack_views(observation["pixels"], self.spec.camera_names), bool(info["success"])

    def close(self) -> None:
        """Close the simulators, of the starts and the one driven along."""
        if isinstance(self.starts, SimulatorStarts):
            self.starts.close()
        if self.simulator is not None:
            self.simulator.close()


def seeded_start(starts: StartSource, seed: int) -> Start:
    """The start that a seed names: the simulator's, or an episode or given frame by its number."""
    if isinstance(starts, SimulatorStarts):
        return starts.seeded(seed)
    if isinstance(starts, DatasetStarts):
        return starts.episode(starts.episodes[seed % len(starts.episodes)])
    if isinstance(starts, FrameStarts):
        return starts.starts[seed % len(starts.starts)]
    return starts.draw(np.random.default_rng(seed))
