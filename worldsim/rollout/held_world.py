"""A world in which nothing is imagined: the first picture stays, and at most the robot moves.

Legend: N rows still running, P proprioception, S state, A action, D carried state.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.envs.imagination.start import Start, begin_stream, stack_states
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.models.world_model import WorldModel
from worldsim.rollout.episodes import World
from worldsim.rollout.worlds import TimeStep
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream

Float = NDArray[np.float32]


class HeldWorld:
    """Episodes whose pictures are their first ones for ever; verdicts are the judge's.

    Where the robot moves, the world model's dynamics move it: proprioception follows the commands,
    objects that the model carries as numbers stay where they were. No frame is denoised.

    Args:
        kind: name of the world.
        model: whose world it is.
        judge: must know the same world.
        moves: whether the robot moves; else its proprioception stays too.
        tells_stages: whether the judge's word on sub-tasks is told; else metrics go by distances.
    """

    def __init__(
        self, kind: World, model: WorldModel, judge: Judge, moves: bool, tells_stages: bool = True
    ) -> None:
        self.kind, self.spec, self.moves = kind, model.spec, moves
        self._tells_stages = tells_stages
        self.judge: Judge | None = judge
        self._judge = judge
        self.tells_progress = judge.report.reads_progress
        self._model, self._stream = model, Stream.of(model, Sampler.of(model, 1))
        self._tracker = judge.tracker(0)

    def start(self, starts: Sequence[Start], ids: Sequence[int], seed: int) -> TimeStep:
        """See `BatchWorld`; there is no noise, `seed` is unused."""
        self._pixels = np.stack([start.pixels for start in starts])
        agent_pos = np.stack([start.agent_pos for start in starts])
        read = self._judge.read(ObservedFrame(self._pixels, agent_pos), None).state
        begin_stream(self._stream, starts, stack_states(starts, read, self.spec), ids, seed)
        self._state = self._before = self._stream.world_state
        self._tracker = self._judge.tracker(len(starts))
        self._tracker.begin([start.task for start in starts])
        return self._timestep(None)

    @torch.inference_mode()
    def step(self, actions: Float) -> TimeStep:
        """See `BatchWorld`."""
        if self.moves:
            dynamics, device = self._model.dynamics, self._state.device
            taken = torch.as_tensor(self.spec.action.check(actions, self.kind), device=device)
            known = self._state.new_ones(len(taken))
            moved = dynamics.step(self._before, self._state, taken.float(), known)
            agent, objects = dynamics.parts(moved)[0], dynamics.parts(self._state)[1]
            self._before, self._state = self._state, torch.cat([agent, objects], dim=-1)
        return self._timestep(np.asarray(actions, np.float32))

    def select(self, rows: Sequence[int]) -> None:
        """See `BatchWorld`."""
        kept = list(rows)
        self._pixels = self._pixels[kept]
        self._state, self._before = self._state[kept], self._before[kept]
        self._tracker.select(np.asarray(kept, np.int64))

    def _timestep(self, actions: Float | None) -> TimeStep:
        dynamics = self._model.dynamics
        agent_pos = dynamics.parts(self._state)[0].cpu().numpy()
        pose = dynamics.pose(self._state) if self.spec.camera_pose else None
        placed = None if pose is None else pose.cpu().numpy()
        shown = ObservedFrame(self._pixels, agent_pos, placed, self._tracker.asked)
        seen, judged = self._judge.read(shown, actions), self._tracker.succeeded
        if actions is not None:
            judged = self._tracker.update(seen.success_probability, actions=actions)
        return TimeStep(
            pixels=self._pixels,
            agent_pos=agent_pos,
            success=judged,
            progress=seen.progress if self.tells_progress else None,
            done=self._tracker.over,
            probability=seen.success_probability,
            judged=judged,
            pose=placed,
            stages=self._tracker.stages if self._tells_stages else None,
        )
