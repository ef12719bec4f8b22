"""One person's drive: a stream of imagination and, beside it, the simulator under the same actions.

Legend: V view, H W pixels, P proprioception, S state, A action.
"""

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import stack_views
from worldsim.envs.imagination import DatasetStarts, FrameStarts, SimulatorStarts, Start
from worldsim.envs.imagination.start import (
    begin_stream,
    carrier_poses,
    first_shown,
    stack_states,
)
from worldsim.envs.imagination.starts import StartSource
from worldsim.judge.judge import Judge, Judgement, ObservedFrame
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.sampling.stream_rows import Chunk

Pixels = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PlayObservation:
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
    progress: float = 0.0
    probability: float = 0.0
    success: bool = False
    simulated: Pixels | None = None
    simulated_success: bool = False
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def worlds(self) -> Pixels:
        """Frames `[W, V, H, W, 3]`: imagination, then the simulator if there is one."""
        return np.stack([x for x in (self.imagined, self.simulated) if x is not None])


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
        self._stream = Stream.of(model, sampler)
        self._finished: deque[dict[str, Any]] = deque()  # values of a `PlayObservation`
        self._pushed: deque[Float] = deque()  # actions whose frames are not finished yet
        self._tracker = None if judge is None else judge.tracker(1)
        self.seed, self.start_task = 0, ""
        self.latest = self.begin(0)

    def begin(self, seed: int) -> PlayObservation:
        """Start an episode anew, in both worlds."""
        start = seeded_start(self.starts, seed)
        read, verdict = np.zeros((1, self.spec.state.dim), np.float32), {}
        if self.judge is not None:
            judgement = self.judge.read(first_shown(self._stream, [start]), None)
            read, verdict = judgement.state, _reading(judgement)
            self._tracker = self.judge.tracker(1)
            self._tracker.begin([start.task])
        state = stack_states([start], read, self._stream.spec)
        known = self.judge is not None or start.state.shape == read[0].shape
        begin_stream(self._stream, [start], state if known else None, [0], seed)
        self._finished.clear()
        self._pushed.clear()
        simulated = self._begin_simulator(start, seed)
        self.seed, self.start_task = seed, start.task
        self.latest = PlayObservation(
            0, start.pixels, start.agent_pos, state[0], **verdict, simulated=simulated
        )
        return self.latest

    def _begin_simulator(self, start: Start, seed: int) -> Pixels | None:
        if self.simulator is None:
            return None
        options = {"factors": start.factors} if start.factors else {}
        observation, _ = self.simulator.reset(seed=seed, options=options)
        return stack_views(observation["pixels"], self.spec.camera_names)

    def set_sampler(self, sampler: Sampler) -> PlayObservation:
        """Sample otherwise from now on; begins the episode anew."""
        self._stream = Stream.of(self.model, sampler)
        self.sampler = sampler
        return self.begin(self.seed)

    @property
    def delay(self) -> int:
        """Steps by which frames follow actions: what the sampler must know ahead."""
        return self._stream.schedule.most_in_flight * self._stream.schedule.chunk - 1

    def advance(self, action: Float) -> PlayObservation:
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
        shown = self._finished.popleft() if self._finished else {}
        times.append(time.perf_counter())
        if shown:
            shown |= self._judge(shown, self._pushed.popleft())
        times.append(time.perf_counter())
        simulated, solved = self._simulate(checked)
        times.append(time.perf_counter())
        spent = dict(zip(("imagine", "judge", "simulate"), np.diff(times) * 1e3, strict=True))
        self.latest = replace(
            self.latest,
            step=self.latest.step + 1,
            simulated=simulated,
            simulated_success=solved or self.latest.simulated_success,
            milliseconds=spent,
            **shown,
        )
        return self.latest

    def _keep(self, chunk: Chunk | None) -> None:
        """Put by what a pass finished, to be shown a frame a step."""
        if chunk is None:
            return
        for k in range(int(chunk.frames[0])):
            self._finished.append(
                {
                    "imagined": self._stream.show(
                        chunk.latents[:, k], agent_pos=chunk.agent_pos[:, k]
                    )[0],
                    "agent_pos": chunk.agent_pos[0, k].float().cpu().numpy(),
                    "state": chunk.state[0, k].float().cpu().numpy(),
                }
            )

    def _judge(self, shown: dict[str, Any], action: Float) -> dict[str, Any]:
        """The judge's values of the observation that an action led to."""
        if self.judge is None or self._tracker is None:
            return {}
        agent_pos, state = shown["agent_pos"][None], shown["state"][None]
        pose = carrier_poses(self._stream, agent_pos, state)
        frame = ObservedFrame(shown["imagined"][None], agent_pos, pose, self._tracker.asked)
        judgement = self.judge.read(frame, action[None])
        success = self._tracker.update(judgement.success_probability, actions=action[None])
        return {**_reading(judgement), "success": bool(success[0])}

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


def _reading(judgement: Judgement) -> dict[str, Any]:
    """Progress and probability of one frame, as a `PlayObservation` names them."""
    return {
        "progress": float(judgement.progress[0]),
        "probability": float(judgement.success_probability[0]),
    }


def seeded_start(starts: StartSource, seed: int) -> Start:
    """The start that a seed names: the simulator's, or an episode or given frame by its number."""
    if isinstance(starts, SimulatorStarts):
        return starts.seeded(seed)
    if isinstance(starts, DatasetStarts):
        return starts.episode(starts.episodes[seed % len(starts.episodes)])
    if isinstance(starts, FrameStarts):
        return starts.starts[seed % len(starts.starts)]
    return starts.draw(np.random.default_rng(seed))
