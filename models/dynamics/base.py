"""The seam behind which dynamics stand: where an action takes what a model carries as numbers.

A model carries proprioception and, where they are tracked, the objects of its world as one state
vector in physical units. Dynamics take it from frame to frame; conditioners draw it. Images leave
the places of things to a fraction of a latent cell, and small errors of a frame are read again by
the next. What a data set records as numbers is therefore carried along as numbers, by a small
network (`StateNetwork`) that is fitted to every recorded transition.

Legend: P proprioception, S objects, D = P + S state (D = P if objects are not tracked), A action,
M modes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from worldsim.cameras.poses import frame_of
from worldsim.config.limits import Count, OneOf, Whole
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.models.blocks import linear, zero_init
from worldsim.registry import Registry
from worldsim.spec import WorldSpec

LEAST_STEP = 1e-3
"""Typical change of an entry, in its standard deviations, below which it counts as fixed."""


@dataclass(frozen=True)
class DynamicsConfig(Checked):
    """One set of sizes for every row of the registry.

    Attributes:
        name: registered dynamics: `contact` (an end effector among objects), `agent`
            (proprioception alone), `pose` (a base that drives in the plane) or `none` (the state
            stays).
        width: hidden channels.
        depth: residual blocks.
        scene: whether `contact` tracks the objects beside proprioception; a data set without any
            has nothing to track. The other rows never track them.
        modes: into how many different ways a step may go, of which the likeliest is taken: an
            object is held or slips, and the mean of both is neither.
    """

    name: Annotated[str, OneOf(lambda: _registered())] = "contact"
    width: Count = 192
    depth: Whole = 2
    scene: bool = True
    modes: Count = 1


class Dynamics(nn.Module):
    """Base of all dynamics: the parts of a state, its normalisation and its box.

    As it stands it is the row `none`: the state stays as it was first observed. A row of its own
    implements `step`. One that is trained also implements `modes` and has parameters.

    Args:
        config: sizes.
        spec: the world.
        objects: how many entries of the world's state are tracked, from its first on.

    Attributes:
        agent_dim: P.
        state_dim: S.
        dim: D.
        frame: which entries are the pose of what carries cameras, by default the first pose that
            proprioception names; None where there is none.
    """

    def __init__(self, config: DynamicsConfig, spec: WorldSpec, objects: int = 0) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        self.agent_dim, self.state_dim = spec.agent_pos.dim, objects
        self.dim = self.agent_dim + self.state_dim
        self.frame = frame_of(spec.agent_pos)
        self.mean: Tensor
        self.std: Tensor
        self.step_size: Tensor
        self.low: Tensor
        self.high: Tensor
        fresh = {"mean": 0.0, "std": 1.0, "step_size": 1.0, "low": -torch.inf, "high": torch.inf}
        for name, value in fresh.items():
            self.register_buffer(name, torch.full((self.dim,), value))

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return self.dim > 0 and any(True for _ in self.parameters())

    def join(self, agent_pos: Tensor, objects: Tensor) -> Tensor:
        """`[..., P]` and `[..., S]` to a state `[..., D]`."""
        return torch.cat([agent_pos, objects[..., : self.state_dim]], dim=-1)

    def parts(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `join`; the second part is empty if objects are not tracked."""
        return state[..., : self.agent_dim], state[..., self.agent_dim :]

    def normalize(self, state: Tensor) -> Tensor:
        """To unit variance over the recorded states."""
        return (state - self.mean) / self.std

    def limited(self, state: Tensor) -> Tensor:
        """A state `[..., D]` moved into the box of recorded states."""
        return torch.maximum(torch.minimum(state, self.high), self.low)

    def step(self, previous: Tensor, state: Tensor, action: Tensor, mask: Tensor) -> Tensor:
        """The state `[..., D]` after an action; by default the state before it.

        Args:
            previous: `[..., D]` one step ago; the same as `state` where that is unknown.
            state: `[..., D]`.
            action: `[..., A]`, normalised as the spec says.
            mask: `[...]` 1 where the action is known.
        """
        return state

    def modes(
        self, previous: Tensor, state: Tensor, action: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States `[..., M, D]` that may come of a step, and their log probabilities `[..., M]`.

        Gradients pass through them, so they are not moved into the box. Arguments as in `step`.
        """
        raise NotImplementedError("dynamics that are trained give the modes of a step")

    def pose(self, state: Tensor) -> Tensor | None:
        """Pose `[..., 4, 4]`, to the world, of what carries cameras; None where none is known."""
        return None if self.frame is None else self.frame.pose(state)

    @property
    def carriers(self) -> tuple[str, ...]:
        """Names of what `pose` is the pose of, as cameras call it; none where it is None."""
        return () if self.frame is None else (self.frame.carrier,)

    def places(self, state: Tensor) -> dict[str, Tensor]:
        """Positions `[..., 3]` in metres by name, whose errors training reports."""
        pose = self.pose(state)
        return {} if pose is None else {"agent": pose[..., :3, 3]}

    def mirror_signs(self, axis: str) -> tuple[list[float], list[float]]:
        """Factors +1 or -1 of D entries of a state and A of an action in a mirror along `axis`.

        Raises:
            UsageError: how this world looks in a mirror is not known.
        """
        raise UsageError(
            f"how dynamics {self.config.name!r} look in a mirror along {axis!r} is not known; "
            "set dynamics.mirror=[]"
        )

    @torch.no_grad()
    def fit_scales(self, states: Tensor, before: Tensor, after: Tensor) -> None:
        """Set the normalisation and the box.

        Args:
            states: `[N, D]` recorded states.
            before: `[R, D]` of transitions.
            after: `[R, D]` of transitions.
        """
        std = states.std(dim=0)
        self.mean.copy_(states.mean(dim=0))
        self.std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))
        self.step_size.copy_(torch.maximum((after - before).std(dim=0), LEAST_STEP * self.std))
        self.low.copy_(states.amin(dim=0))
        self.high.copy_(states.amax(dim=0))

    @torch.no_grad()
    def fit_actions(self, before: Tensor, action: Tensor, after: Tensor) -> None:
        """Set in closed form what recorded actions do, where a row has such a form.

        Args:
            before: `[R, D]` of transitions.
            action: `[R, A]` that was taken.
            after: `[R, D]` of transitions.
        """

    @torch.no_grad()
    def widen_box(self, states: Tensor) -> None:
        """Let the box hold further recorded states `[N, D]`."""
        self.low.copy_(torch.minimum(self.low, states.amin(dim=0)))
        self.high.copy_(torch.maximum(self.high, states.amax(dim=0)))


class StateNetwork(Dynamics):
    """A residual network: one step of a state, from the last two and the action.

    As it stands it is the row `agent`: proprioception alone, as any robot reports it. A row of its
    own may add `features` to the input and change in `moved` what the output means.

    Args:
        config: sizes.
        spec: the world.
        objects: see `Dynamics`.
        features: how many `features` there are.
    """

    def __init__(
        self, config: DynamicsConfig, spec: WorldSpec, objects: int = 0, features: int = 0
    ) -> None:
        super().__init__(config, spec, objects)
        inputs = 2 * self.dim + features + spec.action.dim + 1
        self.straight = zero_init(linear(inputs, self.dim))
        self.enter = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList([_block(config.width) for _ in range(config.depth)])
        self.leave = linear(config.width, config.modes * self.dim)
        if config.modes == 1:
            zero_init(self.leave)
        else:  # nearly nothing: what is equal at first stays equal
            nn.init.normal_(self.leave.weight, std=0.01)
        self.choose = zero_init(nn.Linear(config.width, config.modes)) if config.modes > 1 else None

    def features(self, previous: Tensor, state: Tensor, action: Tensor) -> Tensor:
        """Further inputs `[..., F]` of a step; none by default."""
        return action[..., :0]

    def moved(self, state: Tensor, steps: Tensor, action: Tensor) -> Tensor:
        """`state` moved by the network's output.

        Args:
            state: `[..., M, D]`.
            steps: `[..., M, D]` in typical steps of each entry.
            action: `[..., 1, A]`, zero where it is unknown.
        """
        return state + self.step_size * steps

    def step(self, previous: Tensor, state: Tensor, action: Tensor, mask: Tensor) -> Tensor:
        """The likeliest state after an action, within the box of recorded states.

        Where few recorded actions ran against a limit, the network alone would pass it.
        """
        modes, log_probs = self.modes(previous, state, action, mask)
        likeliest = log_probs.argmax(dim=-1)[..., None, None]
        after = modes.gather(-2, likeliest.expand(*state.shape[:-1], 1, self.dim))[..., 0, :]
        return self.limited(after)

    def modes(
        self, previous: Tensor, state: Tensor, action: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Dynamics.modes`."""
        with torch.autocast(state.device.type, enabled=False):
            known = mask[..., None].float()
            action = action.float() * known
            features = self.features(previous, state, action)
            speed = (state - previous) / self.step_size
            inputs = torch.cat([self.normalize(state), speed, features, action, known], dim=-1)
            hidden = nn.functional.silu(self.enter(inputs))
            for block in self.blocks:
                hidden = hidden + block(hidden)
            steps = self.leave(hidden).unflatten(-1, (self.config.modes, self.dim))
            steps = steps + self.straight(inputs).unsqueeze(-2)
            modes = self.moved(state.unsqueeze(-2).expand_as(steps), steps, action.unsqueeze(-2))
            if self.choose is None:
                return modes, modes.new_zeros(modes.shape[:-1])
            return modes, self.choose(hidden).log_softmax(dim=-1)


DYNAMICS: Registry[Callable[[DynamicsConfig, WorldSpec], Dynamics]] = Registry("dynamics")


def register_dynamics(name: str) -> Callable[[Any], Any]:
    """Class decorator that files dynamics under `name`."""
    return DYNAMICS.register(name)


register_dynamics("none")(Dynamics)
register_dynamics("agent")(StateNetwork)


def _registered() -> Registry[Callable[[DynamicsConfig, WorldSpec], Dynamics]]:
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.models.dynamics.pose
    import worldsim.models.tabletop.contact_dynamics  # noqa: F401

    return DYNAMICS


def build_dynamics(config: DynamicsConfig, spec: WorldSpec) -> Dynamics:
    """Build registered dynamics of a world.

    Raises:
        UsageError: the name is not registered, or the world lacks what these dynamics need.
    """
    return _registered().get(config.name)(config, spec)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
    )
