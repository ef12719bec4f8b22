"""A world model of one task as the beginning of another's, for the same robot and cameras.

How things look is common to the tasks of one place; which objects the state names is not. Weights
that concern what both worlds know are taken over by name, those of maps by the channel names of the
conditioners. Weights of inputs that the source did not know are zero, so that the new model begins
as the old one. What is read off frames for the first time begins as it was initialised.

Legend: D state, M map channels, S objects.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.events import LAST
from worldsim.models.world_model import WorldModel
from worldsim.spec import WorldSpec

OWN = ("dynamics.", "normalizer.state")
"""What the new world learns from its own data alone."""


def transferred(source: WorldModel, spec: WorldSpec, dynamics: DynamicsConfig) -> WorldModel:
    """A model of the world `spec` that begins with what `source` knows.

    Args:
        source: of a world with the same cameras, actions and proprioception. Its event head is
            left out where the new world tells no events.
        spec: the new world; limits of its actions that were measured are widened to the source's.
        dynamics: sizes of its dynamics, which are fresh.

    Raises:
        SpecMismatchError: robots or cameras differ.
    """
    source.spec.require_same_robot(spec, "the model to transfer from", "the data set")
    limits = source.spec.action.widened(spec.action)
    spec = replace(spec, action=spec.action.limited_as(limits))
    head = replace(source.config.head, events=source.config.head.events and bool(spec.events))
    model = WorldModel(replace(source.config, dynamics=dynamics, head=head), spec)
    old, new = source.state_dict(), model.state_dict()
    inputs, states, readings = (
        (names(source), names(model)) for names in (_input_names, _state_names, _reading_names)
    )
    channels = source.conditioners.channels, model.conditioners.channels
    with torch.no_grad():
        for name, weight in new.items():
            if name.startswith(OWN):
                continue
            if name == "denoiser.enter.weight":
                _take_columns(weight, old[name], *inputs)
            elif name == "denoiser.maps.weight":  # of backbones that take maps by a layer of theirs
                _take_columns(weight, old[name], *channels)
            elif name == "denoiser.conditioner.state.weight":
                _take_columns(weight, old[name], *states)
            elif name.startswith("head.mix.") and weight.shape != old[name].shape:
                _take_rows(weight, old[name], *readings)
            elif name.startswith(f"event_head.{LAST}."):
                _take_rows(weight, old[name], source.spec.events, spec.events)
            else:
                weight.copy_(old[name])
    return model


def _input_names(model: WorldModel) -> list[str]:
    """Channels that the denoiser's first layer takes, in order."""
    frames = 1 + model.config.denoiser.history
    latents = [f"latent_{f}_{c}" for f in range(frames) for c in range(model.latent_shape[0])]
    return [*latents, *model.conditioners.channels]


def _state_names(model: WorldModel) -> list[str]:
    """Entries of a state before the action, then of its motion."""
    objects = model.spec.state.names[: model.dynamics.state_dim]
    state = [*(f"agent_{name}" for name in model.spec.agent_pos.names), *objects]
    return [f"{when}_{name}" for when in ("before", "moved") for name in state]


def _reading_names(model: WorldModel) -> list[str]:
    """What the head reads off a frame."""
    agent = [f"agent_{name}" for name in model.spec.agent_pos.names]
    return [*agent, *model.spec.state.names, "success_logit", "progress_value"]


def _shared(old: Sequence[str], new: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places in `old` and in `new` of the names that are in both."""
    place = {name: index for index, name in enumerate(old)}
    pairs = [(place[name], index) for index, name in enumerate(new) if name in place]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _take_columns(weight: Tensor, source: Tensor, old: Sequence[str], new: Sequence[str]) -> None:
    """Columns of named inputs, several to a name where inputs are patches; others are zero."""
    there, here = _shared(old, new)
    each = weight.shape[1] // len(new)
    wide, narrow = (
        w.view(w.shape[0], len(names), each, *w.shape[2:])
        for w, names in ((weight, new), (source, old))
    )
    wide.zero_()
    wide[:, here] = narrow[:, there]


def _take_rows(weight: Tensor, source: Tensor, old: Sequence[str], new: Sequence[str]) -> None:
    """Rows of named outputs; others stay as they were initialised."""
    there, here = _shared(old, new)
    weight[here] = source[there]
