"""Roll a policy out from given starts, in the simulator or in imagination.

One loop serves both worlds, so that they cannot differ in anything but the world. All episodes
run side by side; those that are over are dropped, and the rest gets cheaper.

Legend: N starts, n rows still running, K actions of a chunk, A action.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge
from worldsim.models.world_model import WorldModel
from worldsim.policies.base import Policy
from worldsim.rollout.acting import GuardedPolicy
from worldsim.rollout.episodes import (
    OPTIONAL,
    RolloutBatch,
    Trajectory,
    join_batches,
)
from worldsim.rollout.worlds import BatchWorld, ImaginedWorld, SimulatorWorld, TimeStep, observe
from worldsim.spec import VectorSpec

Float = NDArray[np.float32]
Rows = NDArray[np.int64]


def roll_out(
    policy: Policy,
    world: BatchWorld,
    starts: Sequence[Start],
    *,
    max_steps: int,
    seed: int = 0,
    start_ids: Sequence[int] | None = None,
    batch_size: int = 64,
    film: Collection[int] = (),
) -> RolloutBatch:
    """Roll `policy` out from every start, `batch_size` of them at a time.

    Args:
        policy: is reset with the start ids as env ids, so its randomness is the same in both
            worlds and in any batch.
        world: where it acts.
        starts: N starts.
        max_steps: an episode ends after so many actions.
        seed: of the policy's and the imagination's noise.
        start_ids: numbers of the starts, default 0..N-1.
        batch_size: episodes side by side.
        film: ids of the starts whose frames are kept.

    Raises:
        UsageError: max_steps or batch_size below 1, or no starts.
    """
    if max_steps < 1 or batch_size < 1 or not starts:
        raise UsageError(
            f"rollouts need at least one start, max_steps >= 1 and batch_size >= 1; got "
            f"{len(starts)}, {max_steps}, {batch_size}"
        )
    ids = list(range(len(starts))) if start_ids is None else [int(i) for i in start_ids]
    batches = []
    for first in range(0, len(starts), batch_size):
        part = slice(first, first + batch_size)
        log = RolloutLog(policy.name, world, ids[part], film, max_steps)
        _roll_batch(policy, world, starts[part], log, max_steps, seed)
        batches.append(log.batch())
    return join_batches(batches)


def _roll_batch(
    policy: Policy,
    world: BatchWorld,
    starts: Sequence[Start],
    log: "RolloutLog",
    max_steps: int,
    seed: int,
) -> None:
    guarded = GuardedPolicy(policy, world.spec.action)
    live: Rows = np.arange(len(starts))
    error = guarded.reset(log.ids, seed)
    if error:
        log.fail(live, [error] * len(live))
        return
    timestep = world.start(starts, log.ids, seed)
    log.first(timestep)
    chunk = np.zeros((len(live), 0, world.spec.action.dim), np.float32)
    for step in range(max_steps):
        turn = step % guarded.n_action_steps
        if turn == 0:
            shown = observe(timestep, [starts[int(row)] for row in live], world.spec)
            answer = guarded.act(shown, [log.ids[r] for r in live])
            fine = np.array([error is None for error in answer.errors])
            log.fail(live[~fine], [error for error in answer.errors if error])
            live, chunk = _keep(world, fine, live, answer.actions)
            if not len(live):
                return
        timestep = world.step(chunk[:, turn])
        log.step(live, chunk[:, turn], timestep)
        over = timestep.done | (step + 1 == max_steps)
        timestep = timestep.rows(~over)
        live, chunk = _keep(world, ~over, live, chunk)
        if not len(live):
            return


def _keep(
    world: BatchWorld, mask: NDArray[np.bool_], live: Rows, chunk: Float
) -> tuple[Rows, Float]:
    """Drop the rows outside `mask` from the world, the rows and their actions."""
    if not mask.all() and mask.any():
        world.select(np.flatnonzero(mask).tolist())
    return live[mask], chunk[mask]


class RolloutLog:
    """Notes every observation and action of N episodes.

    Args:
        policy: name.
        world: where it acts.
        ids: N start ids.
        film: ids whose frames are kept.
        horizon: most steps of an episode.
    """

    def __init__(
        self,
        policy: str,
        world: BatchWorld,
        ids: Sequence[int],
        film: Collection[int],
        horizon: int,
    ) -> None:
        self.policy, self.world, self.ids, self.horizon = policy, world, list(ids), horizon
        self._filmed = [i in set(film) for i in self.ids]
        self._errors: list[str | None] = [None] * len(self.ids)
        self._frames: list[list[NDArray[np.uint8]]] = [[] for _ in self.ids]
        self._actions: list[list[NDArray[np.float32]]] = [[] for _ in self.ids]
        self._rows: list[dict[str, list[Any]]] = [{} for _ in self.ids]

    def first(self, timestep: TimeStep) -> None:
        """The observation before any action, of all N episodes."""
        self._note(np.arange(len(self.ids)), timestep)

    def step(self, rows: Rows, actions: NDArray[np.float32], timestep: TimeStep) -> None:
        """The observation that followed `actions` `[n, A]` in `rows`."""
        for row, action in zip(rows, actions, strict=True):
            self._actions[row].append(action.copy())
        self._note(rows, timestep)

    def fail(self, rows: Rows, errors: Sequence[str]) -> None:
        """Episodes that broke off count as failed, whatever was reached."""
        for row, error in zip(rows, errors, strict=True):
            self._errors[row] = error

    def batch(self) -> RolloutBatch:
        """Everything noted."""
        return RolloutBatch(
            policy=self.policy,
            world=self.world.kind,
            start_ids=tuple(self.ids),
            trajectories=tuple(self._trajectory(row) for row in range(len(self.ids))),
            errors=tuple(self._errors),
            horizon=self.horizon,
            position=position_columns(self.world.spec.agent_pos),
            films={i: np.stack(f) for i, f in zip(self.ids, self._frames, strict=True) if f},
        )

    def _note(self, rows: Rows, timestep: TimeStep) -> None:
        for position, row in enumerate(rows):
            for name in ("agent_pos", "success", *OPTIONAL):
                values = getattr(timestep, name)
                if values is not None:
                    self._rows[row].setdefault(name, []).append(values[position].copy())
            if self._filmed[row]:
                self._frames[row].append(timestep.pixels[position].copy())

    def _trajectory(self, row: int) -> Trajectory:
        spec, noted = self.world.spec, {k: np.stack(v) for k, v in self._rows[row].items()}
        actions, watched = self._actions[row], self.world.judge is not None
        if not noted:  # the policy could not even be reset
            nothing = np.zeros(0, np.float32)
            noted = {"agent_pos": np.zeros((0, spec.agent_pos.dim), np.float32)}
            noted |= {"success": nothing.astype(bool)}
            noted |= {"progress": nothing} if self.world.tells_progress else {}
            noted |= {"probability": nothing, "judged": nothing.astype(bool)} if watched else {}
        empty = np.zeros((0, spec.action.dim), np.float32)
        return Trajectory(action=np.stack(actions) if actions else empty, **noted)


def position_columns(agent_pos: VectorSpec) -> tuple[int, ...]:
    """Columns of the first point that `agent_pos` names: entries `x`, `y`, `z` in metres, with one
    prefix or none; empty if there are none."""
    metres = [agent_pos.names[i] for i in agent_pos.indices_in_metres()]
    prefix = next((n[:-1] for n in metres if n in "xyz" or n[-2:] in ("_x", "_y", "_z")), None)
    if prefix is None:
        return ()
    names = [name for name in metres if name[:-1] == prefix and name[-1] in "xyz"]
    return agent_pos.indices(*names) or ()


def rollout_simulator(
    policy: Policy,
    env_id: str,
    starts: Sequence[Start],
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
    max_steps: int | None = None,
    **options: Any,
) -> RolloutBatch:
    """Roll `policy` out in the simulator, in this process; see `roll_out` for the options.

    Args:
        policy: the policy.
        env_id: a registered simulator env.
        starts: need seeds (and factors); their first frames are rendered again.
        env_kwargs: for the env's constructor.
        judge: if given, it watches the true frames too.
        max_steps: None takes the env's own horizon.

    Raises:
        UsageError: a start has no seed.
    """
    if any(start.seed is None for start in starts):
        raise UsageError("a start without seed cannot be repeated in the simulator")
    world = SimulatorWorld(env_id, env_kwargs, judge)
    try:
        return roll_out(
            policy, world, starts, max_steps=max_steps or world.max_episode_steps, **options
        )
    finally:
        world.close()


def rollout_imagination(
    policy: Policy,
    model: WorldModel,
    judge: Judge,
    starts: Sequence[Start],
    *,
    sampling_steps: int | None = None,
    max_steps: int = 50,
    **options: Any,
) -> RolloutBatch:
    """Roll `policy` out in imagination; see `roll_out` for the options.

    Args:
        policy: the policy.
        model: the world model.
        judge: decides success.
        starts: where episodes begin.
        sampling_steps: denoising steps a frame; None takes the model's own.
        max_steps: an episode ends after so many actions.

    Raises:
        SpecMismatchError: model and judge describe different worlds.
    """
    engine = ImaginationEngine(model, judge, sampling_steps)
    return roll_out(policy, ImaginedWorld(engine), starts, max_steps=max_steps, **options)
