"""A planner's own stream of a world model: it follows what is seen, and branches into futures.

Legend: N plans, H steps, A action, V view, h w latent, P proprioception, S state, D world state,
R actions between two observations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.cameras.rig import CameraRig
from worldsim.policies.base import FloatArray
from worldsim.policies.planning.distributions import Plans
from worldsim.sampling.observed import observe
from worldsim.sampling.stream import Stream

_PLANNER_NOISE = 0x706C616E


def planner_seed(seed: int) -> int:
    """The seed of a planner's own noise in episodes of a given seed.

    It is apart from that of an imagined world, since a planner that knew it would foresee what is
    chance, and from that of the policy whose plans it starts from.
    """
    key = np.random.SeedSequence((_PLANNER_NOISE, int(seed))).generate_state(1, np.uint64)[0]
    return int(key)


@dataclass(frozen=True, eq=False)
class Look:
    """One observation of one episode.

    Attributes:
        pixels: uint8 `[V, H, W, 3]`, in the order of the model's cameras.
        agent_pos: `[P]`.
        task: instruction.
        rig: calibration, or None if it is not known.
    """

    pixels: NDArray[np.uint8]
    agent_pos: FloatArray
    task: str = ""
    rig: CameraRig | None = None


StateReader = Callable[[Look], FloatArray | None]
"""What is seen of the scene's state, `[S]`; None leaves it to the model's own head."""


@dataclass(frozen=True, eq=False)
class Futures:
    """What a world model imagines of N plans.

    Attributes:
        actions: `[N, H, A]`.
        latents: `[N, H, V, c, h, w]`.
        agent_pos: `[N, H, P]` physical units.
        state: `[N, H, S]` physical units.
        stream: shows them; its rows are the plans.
    """

    actions: Plans
    latents: Tensor
    agent_pos: Tensor
    state: Tensor
    stream: Stream

    @property
    def horizon(self) -> int:
        """H."""
        return int(self.latents.shape[1])

    def pixels(self, step: int) -> NDArray[np.uint8]:
        """Frames uint8 `[N, V, H, W, 3]` after so many actions and one more."""
        return self.stream.show(self.latents[:, step], agent_pos=self.agent_pos[:, step])

    def pose(self, step: int) -> FloatArray | None:
        """Poses `[N, 4, 4]` of the agent; None in worlds that record none."""
        if not self.stream.spec.camera_pose:
            return None
        dynamics = self.stream.model.dynamics
        with torch.inference_mode():
            pose = dynamics.pose(dynamics.join(self.agent_pos[:, step], self.state[:, step]))
        return None if pose is None else pose.cpu().numpy()


def imagine(stream: Stream, plans: Plans) -> Futures:
    """Imagine plans `[N, H, A]` from where a stream of one row stands, which stays there.

    All plans meet the same noise, so that what they differ in is their actions.
    """
    branch = stream.fork()
    branch.select([0] * len(plans))
    branch.push(plans)
    chunks = branch.drain()
    latents, agent_pos, state = (
        torch.cat([getattr(chunk, name) for chunk in chunks], dim=1)
        for name in ("latents", "agent_pos", "state")
    )
    return Futures(plans, latents, agent_pos, state, branch)


def begin(stream: Stream, look: Look, seed: int, env_id: int, read: StateReader) -> Stream:
    """A stream of one row that stands at a first observation, and shares the weights of `stream`.

    Args:
        stream: of the world model.
        look: the observation.
        seed: of the episode.
        env_id: of the episode.
        read: what is seen of the scene.
    """
    state, rig = read(look), None
    if look.rig is not None:
        arranged = look.rig.arranged(stream.spec.camera_names)
        rig = {
            name: np.asarray(getattr(arranged, name))[None]
            for name in ("intrinsics", "extrinsics", "mounted")
        }
    stream.reset(
        look.pixels[None],
        look.agent_pos[None],
        rig,
        env_ids=[env_id],
        seed=planner_seed(seed),
        state=None if state is None else state[None],
    )
    return stream.fork()


def follow(stream: Stream, actions: Sequence[FloatArray], look: Look, read: StateReader) -> None:
    """Go on, in place, to the observation that actions led to.

    Args:
        stream: of one row.
        actions: R of `[A]`; what lies before the last of them nobody saw, so it is imagined.
        look: after the last.
        read: what is seen of the scene.
    """
    for action in actions[:-1]:
        stream.act(action[None])
    last = actions[-1][None]
    observe(stream, last, look.pixels[None], _world_state(stream, look, read(look)))


def _world_state(stream: Stream, look: Look, state: FloatArray | None) -> FloatArray:
    """The world state `[1, D]` of an observation."""
    model = stream.model
    agent = torch.as_tensor(look.agent_pos[None], dtype=torch.float32, device=model.device)
    with torch.inference_mode():
        if state is not None:
            objects = torch.as_tensor(state[None], dtype=torch.float32, device=model.device)
        else:
            frame = torch.as_tensor(look.pixels[None], device=model.device)
            objects = model.read_state(model.encode(frame, agent)[:, None]).state[:, 0]
        return model.dynamics.join(agent, objects).cpu().numpy()
