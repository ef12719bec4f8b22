"""Models that read events off frames, and heads that say what a test wants."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from worldsim_testing import nano_model, nano_spec

from worldsim.models.heads.events import EventHead
from worldsim.models.world_model import WorldModel


def head_of(model: WorldModel) -> EventHead:
    assert model.event_head is not None
    return model.event_head


def last_of(model: WorldModel) -> nn.Linear:
    last = head_of(model).out[-1]
    assert isinstance(last, nn.Linear)
    return last


def shaken(model: WorldModel) -> WorldModel:
    """The model, whose event head is no longer undecided."""
    torch.manual_seed(1)
    last = last_of(model)
    with torch.no_grad():
        last.weight.normal_(std=3.0)
        last.bias.normal_()
    return model.eval().requires_grad_(False)


def decided(model: WorldModel, said: Sequence[bool]) -> WorldModel:
    """The model, whose event head always says these events and no others."""
    last = last_of(model)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([9.0 if each else -9.0 for each in said]))
    return model.eval().requires_grad_(False)


def event_model(*events: str) -> WorldModel:
    """The nano model of a world that tells these events, and reads them; see `shaken`."""
    plain, spec = nano_model(), replace(nano_spec(), events=events)
    model = WorldModel(replace(plain.config, head=replace(plain.config.head, events=True)), spec)
    model.load_state_dict(plain.state_dict(), strict=False)
    return shaken(model)
