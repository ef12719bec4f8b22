"""A world model and a judge stepping N imagined envs at once; the env classes are thin over it.

Legend: N envs, V view, H, W pixels, P proprioception, S state, A action, E events.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from worldsim.envs.imagination.start import Start, begin_stream, first_shown, stack_states
from worldsim.errors import QualityWarning, UsageError
from worldsim.judge.gates import RolloutGate
from worldsim.judge.judge import Judge, Judgement, ObservedFrame
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Acceleration, Sampler, default_steps
from worldsim.sampling.stream import Stream

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ImaginedObservation:
    """What N imagined envs show after a reset or a step.

    Attributes:
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]`, where the model's dynamics put the hand.
        judgement: the judge's reading of `pixels`.
        success: `[N]` verdicts so far; once given they stay.
        reward: `[N]`.
        over: `[N]` whether the episode has ended, by success or with its last sub-task.
        pose: `[N, 4, 4]` of the agent in the world; None in worlds that record no poses.
        gate_error: `[N]` how little to rely on the step, see `worldsim.judge.gates`; NaN in first
            observations, None where nobody looks.
        stages: `[N, 2]` sub-tasks left and met; None where the judge knows none.
        events: `[N, E]` 0 or 1, those of the world that the model's head reads off the step; none
            in first observations, which no step led to. None without such a head.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    judgement: Judgement
    success: Bool
    reward: Float
    over: Bool
    pose: Float | None = None
    gate_error: Float | None = None
    stages: Float | None = None
    events: Float | None = None


class ImaginationEngine:
    """N imagined envs in lock step: one call of the model and one of the judge for all.

    The reward of a step is the change of the judge's progress, plus `success_bonus` on the step
    that brings the verdict of success; the bonus alone where the judge's recordings told no
    progress (see `reward_terms`). The first frame of an episode is never a success, as in
    the simulator, where success can only follow an action.

    Args:
        model: the world model.
        judge: must know the same world.
        sampling_steps: denoising steps a frame, 1 to 8; None takes the model's own, see
            `worldsim.sampling.sampler.default_steps`.
        success_bonus: see above.
        acceleration: how the model's passes are run; see `worldsim.sampling.sampler`.
        gate: says of every step how far to rely on it, if given.

    Raises:
        SpecMismatchError: model and judge describe different worlds.
        UsageError: sampling_steps outside 1 to 8.
    """

    def __init__(
        self,
        model: WorldModel,
        judge: Judge,
        sampling_steps: int | None = None,
        success_bonus: float = 1.0,
        acceleration: Acceleration = "none",
        gate: RolloutGate | None = None,
    ) -> None:
        steps = default_steps(model.config) if sampling_steps is None else sampling_steps
        if not 1 <= steps <= 8:
            raise UsageError(f"sampling_steps is {steps}; expected 1 to 8")
        model.spec.require_compatible(judge.spec, "the world model", "the judge", stateless=True)
        self.spec = model.spec
        self.judge, self.gate = judge, gate
        self.success_bonus = success_bonus
        self.stream = Stream.of(model, Sampler.of(model, steps, acceleration))
        self._tracker = judge.tracker(0)
        self._progress: Float = np.zeros(0, np.float32)

    @property
    def num_envs(self) -> int:
        """N."""
        return len(self._progress)

    @property
    def reward_terms(self) -> tuple[str, ...]:
        """What the reward is the sum of: `progress_change` (if the judge reads progress) and
        `success_bonus` (if there is one)."""
        bonus = ("success_bonus",) if self.success_bonus else ()
        return ("progress_change", *bonus) if self.judge.report.reads_progress else bonus

    def warn_of_sparse_reward(self) -> None:
        """Warn (`QualityWarning`) if nothing is paid on the way to success."""
        if "progress_change" in self.reward_terms:
            return
        warnings.warn(
            "this judge learnt from recordings without progress, so the imagined reward is the "
            f"success bonus alone: {self.success_bonus:g} in the step that brings success, 0 in "
            "every other. For a reward on the way, record a column `progress` or `next.progress` "
            "and train the judge again, or make one of your own from info['state']",
            QualityWarning,
            stacklevel=4,
        )

    def start(
        self,
        starts: Sequence[Start],
        env_ids: Sequence[int],
        seed: int = 0,
        rows: Indices | None = None,
    ) -> ImaginedObservation:
        """Begin N episodes, dropping any that ran, or new ones in some rows.

        Args:
            starts: first observations; where one does not know its state, the judge's reading of
                its frames stands for it.
            env_ids: a number for each; noise depends on (seed, number, step) only.
            seed: of the noise.
            rows: where they begin while the other rows go on; None begins all anew.

        Returns:
            The first observations, of `starts` only.
        """
        shown = first_shown(self.stream, starts)
        judgement = self.judge.read(shown, None)
        state = stack_states(starts, judgement.state, self.spec)
        places = None if rows is None else rows.tolist()
        begin_stream(self.stream, starts, state, env_ids, seed, places)
        if rows is None:
            self._tracker = self.judge.tracker(len(starts))
            self._progress = judgement.progress.copy()
        else:
            self._progress[rows] = judgement.progress
        self._tracker.begin([start.task for start in starts], rows)
        zero, pose = np.zeros(len(starts), np.float32), self._pose()
        if pose is not None and rows is not None:
            pose = pose[rows]
        error = None if self.gate is None else np.full_like(zero, np.nan)
        seen = shown.pixels, shown.agent_pos, judgement
        never, stages = zero.astype(bool), self._tracker.stages
        if stages is not None and rows is not None:
            stages = stages[rows]
        told = self.stream.model.event_head is not None
        events = np.zeros((len(starts), len(self.spec.events)), np.float32) if told else None
        return ImaginedObservation(*seen, never, zero, never, pose, error, stages, events)

    def _pose(self) -> Float | None:
        pose = self.stream.pose
        return None if pose is None else pose.cpu().numpy()

    def step(self, actions: Float) -> ImaginedObservation:
        """Advance all N envs by one frame.

        Args:
            actions: `[N, A]`, normalised; clipped to the spec's limits.

        Raises:
            UsageError: wrong shape, or not finite.
        """
        check = None if self.gate is None else self.gate.begin(self.stream, actions)
        frame = self.stream.act(actions)
        pixels = self.stream.pixels()
        agent_pos = frame.agent_pos[:, 0].cpu().numpy()
        pose = self._pose()
        shown = ObservedFrame(pixels, agent_pos, pose, self._tracker.asked)
        judgement = self.judge.read(shown, np.asarray(actions, np.float32))
        error = None if check is None else check(self.stream, judgement.success_probability)
        before = self._tracker.succeeded
        success = self._tracker.update(judgement.success_probability, actions=actions)
        reward = judgement.progress - self._progress + self.success_bonus * (success & ~before)
        self._progress = judgement.progress.copy()
        reward = reward.astype(np.float32)
        said = pixels, agent_pos, judgement, success, reward, self._tracker.over
        events = None if frame.events is None else happened(frame.events[:, 0])
        return ImaginedObservation(*said, pose, error, self._tracker.stages, events)

    def select(self, rows: Indices) -> None:
        """Keep only `rows`; the others cost nothing from now on and change nothing in these."""
        self.stream.select(rows.tolist())
        self._tracker.select(rows)
        self._progress = self._progress[rows]


def happened(probability: Tensor) -> Float:
    """Events as a simulator tells them, 0 or 1, of their probabilities of the same shape."""
    return (probability > 0.5).float().cpu().numpy()
