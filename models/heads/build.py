"""The heads of a world model: what reads proprioception, state, depth, strides and events."""

from typing import NamedTuple

from worldsim.cameras.facing import Facing
from worldsim.errors import UsageError
from worldsim.models.heads.depth import DepthHead
from worldsim.models.heads.events import EventHead
from worldsim.models.heads.state import HeadConfig, StateHead
from worldsim.models.heads.stride import StrideHead
from worldsim.spec import WorldSpec


class Heads(NamedTuple):
    """Attributes:
    state: of proprioception, state, success and progress.
    depth: None where the config has none, as the following ones.
    stride: of how far steps come.
    events: of what happened at a frame.
    """

    state: StateHead
    depth: DepthHead | None
    stride: StrideHead | None
    events: EventHead | None


def build_heads(
    config: HeadConfig, spec: WorldSpec, latent: tuple[int, int, int], facing: Facing | None
) -> Heads:
    """Fresh heads, made in the order of `Heads`, so that one more leaves the others as they are.

    Args:
        config: which there are.
        spec: of the world.
        latent: (c, h, w).
        facing: which views latents show turned to heading zero; None if none.

    Raises:
        UsageError: events are to be read in a world that tells none.
    """
    if config.events and not spec.events:
        raise UsageError(
            "model.head.events=true reads events off frames, and this world tells none; give a "
            "data set whose spec names events, or set model.head.events=false"
        )
    views, width = len(spec.cameras), config.width
    return Heads(
        StateHead(config, views, latent, spec.agent_pos.dim, spec.state.dim),
        DepthHead(width, latent[0], config.finer) if config.depth else None,
        StrideHead(width, latent) if config.stride else None,
        EventHead(width, views, latent, spec.action.dim, len(spec.events), facing)
        if config.events
        else None,
    )
