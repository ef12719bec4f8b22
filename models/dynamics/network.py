"""A residual network over states, and the row `agent`, which carries proprioception alone.

Images leave the places of things to a fraction of a latent cell, and small errors of a frame are
read again by the next. What a data set records as numbers is therefore carried along as numbers by
a small network that is fitted to every recorded transition.

Legend: D state, A action, M modes.
"""

import torch
from torch import Tensor, nn

from worldsim.models.blocks import linear, zero_init
from worldsim.models.dynamics.base import Dynamics, DynamicsConfig, register_dynamics
from worldsim.spec import WorldSpec


class StateNetwork(Dynamics):
    """One step of a state, from the last two and the action.

    A row may add `features` to the input and change in `moved` what the output means.

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


@register_dynamics("agent")
class AgentDynamics(StateNetwork):
    """Proprioception alone, as any robot reports it; nothing is known of objects."""

    def __init__(self, config: DynamicsConfig, spec: WorldSpec) -> None:
        super().__init__(config, spec)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
    )
