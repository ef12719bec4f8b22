"""The two worlds that a policy acts in, behind one face: N episodes side by side.

Legend: N rows still running, V view, H, W pixels, P proprioception, A action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import Observation, split_views, stack_views
from worldsim.envs.imagination.engine import ImaginationEngine, ImaginedObservation
from worldsim.envs.imagination.start import Start
from worldsim.envs.simulator_check import Seen, check_simulator, require_paired
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.rollout.episodes import World
from worldsim.rollout.guided import Guide
from worldsim.spec import WorldSpec

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TimeStep:
    """One frame of the N rows that still run.

    Attributes:
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]`.
        success: `[N]` this world's verdict so far.
        progress: `[N]`, or None where nobody tells it.
        done: `[N]` whether the episode is over.
        probability: `[N]` judge's success probability, or None if no judge watches.
        judged: `[N]` the judge's verdict so far, or None.
        pose: `[N, 4, 4]` of the agent in the world, or None where none is known.
        event: `[N, E]` such as contacts, or None where there are none.
        expert: `[N, A]` the recorded action that led here, or None where no recording is followed.
        gate_error: `[N]` see `ImaginedObservation`, or None.
        stages: `[N, 2]` sub-tasks left and met; None where episodes have none.
    """

    pixels: NDArray[np.uint8]
    agent_pos: Float
    success: Bool
    progress: Float | None
    done: Bool
    probability: Float | None = None
    judged: Bool | None = None
    pose: Float | None = None
    event: Float | None = None
    expert: Float | None = None
    gate_error: Float | None = None
    stages: Float | None = None

    def rows(self, mask: Bool) -> "TimeStep":
        """The rows in `mask` `[N]`."""
        if mask.all():
            return self
        kept: dict[str, Any] = {}
        for field in fields(self):
            array = getattr(self, field.name)
            kept[field.name] = None if array is None else array[mask]
        return TimeStep(**kept)


class BatchWorld(Protocol):
    """Starts N episodes, steps those that still run, drops those that are over.

    Attributes:
        kind: which of the two worlds.
        spec: of what is seen and done there.
        judge: who watches, if anybody.
        tells_progress: whether observations come with progress.
    """

    kind: World
    spec: WorldSpec
    judge: Judge | None
    tells_progress: bool

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        """Begin; the noise of a row depends on (`seed`, its id) only."""
        ...

    def step(self, actions: Float) -> TimeStep:
        """One step of every running row, `[N, A]`."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        ...


def observe(timestep: TimeStep, starts: Sequence[Start], spec: WorldSpec) -> Observation:
    """What a policy is shown: pixels, proprioception, task, calibration; nothing privileged.

    Args:
        timestep: of N rows.
        starts: where their episodes began.
        spec: of the world.
    """
    return {
        "pixels": split_views(timestep.pixels, spec.camera_names),
        "agent_pos": timestep.agent_pos,
        "task": [start.task for start in starts],
        "rig": [start.rig for start in starts],
    }


class ImaginedWorld:
    """Episodes in the imagination of a world model; verdicts are the judge's."""

    kind: World = "imagination"

    def __init__(self, engine: ImaginationEngine) -> None:
        self.engine = engine
        self.spec = engine.spec
        self.judge: Judge | None = engine.judge
        self.tells_progress = engine.judge.report.reads_progress

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        """See `BatchWorld`."""
        return self._timestep(self.engine.start(starts, ids, seed))

    def step(self, actions: Float) -> TimeStep:
        """See `BatchWorld`."""
        return self._timestep(self.engine.step(actions))

    def select(self, rows: Sequence[int]) -> None:
        """See `BatchWorld`."""
        self.engine.select(np.asarray(rows, np.int64))

    def _timestep(self, seen: ImaginedObservation) -> TimeStep:
        return TimeStep(
            pixels=seen.pixels,
            agent_pos=seen.agent_pos,
            success=seen.success,
            progress=seen.judgement.progress if self.tells_progress else None,
            done=seen.over,
            pose=seen.pose,
            probability=seen.judgement.success_probability,
            judged=seen.success,
            gate_error=seen.gate_error,
            event=seen.events,
            stages=seen.stages,
        )


class SimulatorWorld:
    """Episodes in simulator envs of this process; verdicts are the simulator's.

    Args:
        env_id: a registered simulator env.
        kwargs: for its constructor.
        judge: if given, it watches too, so that its error can be told from the model's.
    """

    kind: World = "simulator"
    tells_progress = True

    def __init__(
        self, env_id: str, kwargs: Mapping[str, Any] | None = None, judge: Judge | None = None
    ) -> None:
        self.env_id, self.kwargs, self.judge = env_id, dict(kwargs or {}), judge
        self._idle = [self._make()]
        self.spec: WorldSpec = _unwrapped(self._idle[0]).spec_world
        if judge is not None:
            judge.spec.require_compatible(self.spec, "the judge", env_id, stateless=True)
        self._running: list[gymnasium.Env[Any, Any]] = []
        self._tracker = None if judge is None else judge.tracker(0)

    @property
    def max_episode_steps(self) -> int:
        """The env's own horizon."""
        return int(_unwrapped(self._any).max_episode_steps)

    @property
    def most(self) -> int | None:
        """Episodes that it is best to run side by side at most; None: as many as you like."""
        return getattr(_unwrapped(self._any), "side_by_side", None)

    @property
    def map_guide(self) -> Guide | None:
        """What tells experts of the scene's map, where the env has one."""
        return getattr(_unwrapped(self._any), "map_guide", None)

    @property
    def _any(self) -> gymnasium.Env[Any, Any]:
        if not self._idle and not self._running:
            self._idle.append(self._make())
        return (self._idle or self._running)[0]

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        """See `BatchWorld`; the simulator has no noise of its own, `seed` is unused.

        Raises:
            WorldsimError: the simulator begins elsewhere than a start says.
        """
        self._idle += self._running
        while len(self._idle) < len(starts):
            self._idle.append(self._make())
        self._running = [self._idle.pop() for _ in starts]
        results = [
            env.reset(seed=start.seed, options={"factors": start.factors} if start.factors else {})
            for env, start in zip(self._running, starts, strict=True)
        ]
        seen = [Seen.of(observation, info, self.spec) for observation, info in results]
        require_paired(starts, ids, seen, self.spec, self.env_id)
        if self.judge is not None:
            self._tracker = self.judge.tracker(len(starts))
            self._tracker.begin([start.task for start in starts])
        never = np.zeros(len(starts), bool)
        return self._timestep([r[0] for r in results], [r[1] for r in results], never, None)

    def step(self, actions: Float) -> TimeStep:
        """See `BatchWorld`."""
        commands = map(self.spec.action.command, actions)
        results = [env.step(c) for env, c in zip(self._running, commands, strict=True)]
        done = np.array([bool(r[2]) or bool(r[3]) for r in results])
        return self._timestep([r[0] for r in results], [r[4] for r in results], done, actions)

    def select(self, rows: Sequence[int]) -> None:
        """See `BatchWorld`."""
        kept = [self._running[row] for row in rows]
        self._idle += [env for row, env in enumerate(self._running) if row not in set(rows)]
        self._running = kept
        if self._tracker is not None:
            self._tracker.select(np.asarray(rows, np.int64))

    def check(self) -> None:
        """Refuse a simulator whose episodes cannot be repeated; see `check_simulator`."""
        check_simulator(self._make, self.env_id)

    def close(self) -> None:
        """Close all envs."""
        for env in self._idle + self._running:
            env.close()
        self._idle, self._running = [], []

    def _timestep(
        self,
        observations: list[dict[str, Any]],
        infos: list[dict[str, Any]],
        done: Bool,
        actions: Float | None,
    ) -> TimeStep:
        pixels = np.stack([stack_views(o["pixels"], self.spec.camera_names) for o in observations])
        agent_pos = np.stack([o["agent_pos"] for o in observations]).astype(np.float32)
        pose, first = _told(infos, "pose"), actions is None
        probability = judged = None
        if self.judge is not None and self._tracker is not None:
            shown = ObservedFrame(pixels, agent_pos, pose, self._tracker.asked)
            probability = self.judge.read(shown, actions).success_probability
            judged = self._tracker.succeeded
            if not first:
                judged = self._tracker.update(probability, actions=actions)
        success = np.array([bool(info["success"]) for info in infos])
        return TimeStep(
            pixels=pixels,
            agent_pos=agent_pos,
            success=np.zeros_like(success) if first else success,
            progress=np.array([info["progress"] for info in infos], np.float32),
            done=done,
            probability=probability,
            judged=judged,
            pose=pose,
            event=_told(infos, "events"),
            stages=_told(infos, "stages"),
        )

    def _make(self) -> gymnasium.Env[Any, Any]:
        from worldsim.envs import make

        return make(self.env_id, **self.kwargs)


def _told(infos: list[dict[str, Any]], name: str) -> Float | None:
    """An entry of all N infos `[N, ...]`, or None where a simulator does not tell it."""
    if any(name not in info for info in infos):
        return None
    return np.stack([np.asarray(info[name], np.float32) for info in infos])


def _unwrapped(env: gymnasium.Env[Any, Any]) -> Any:
    return env.unwrapped
