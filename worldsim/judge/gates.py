"""Kinds of gates: what says of every imagined step how far it is to be relied on.

A kind lies in a folder below its judge's: a limit (`worldsim.judge.gate`) and what its errors are
made with. Each was made with the frames of one world model.

Legend: N rows, A action, K readings of a step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from worldsim.judge.gate import FOLDER, INVERSE_DYNAMICS
from worldsim.judge.judge import Judge
from worldsim.judge.resampling import SETTINGS, Resampling, ResamplingGate
from worldsim.models.heads.inverse_dynamics import InverseDynamics
from worldsim.models.weights import WEIGHTS
from worldsim.registry import Registry
from worldsim.sampling.stream import Stream

Float = NDArray[np.float32]
Check = Callable[[Stream, Float], Float]
"""Of the stream after the step and the judge's success probability `[N]` there: the error `[N]`,
or `[N, K]` readings before there is a limit."""

RESAMPLING = "resampling"


class RolloutGate(Protocol):
    """Looks at imagined steps."""

    def begin(self, stream: Stream, actions: Float) -> Check:
        """Before a step under actions `[N, A]`: what will say how far to rely on it."""
        ...

    def fit(self, replays: list[Float]) -> list[Float]:
        """Errors `[T]` of replays of readings `[T]` or `[T, K]`, in what they usually are there."""
        ...

    def save(self, folder: Path) -> None:
        """Write what errors are made with."""
        ...


class InverseDynamicsGate:
    """Whether frames show the actions that were given, by `InverseDynamics`.

    Args:
        network: recovers actions from the latents of two frames.
    """

    def __init__(self, network: InverseDynamics) -> None:
        self.network = network

    def begin(self, stream: Stream, actions: Float) -> Check:
        """See `RolloutGate`."""
        before, limits = stream.newest.float(), stream.spec.action

        @torch.inference_mode()
        def check(moved: Stream, probability: Float) -> Float:
            given = np.clip(np.asarray(actions, np.float32), limits.low, limits.high)
            action = torch.as_tensor(given, dtype=torch.float32, device=before.device)
            error = self.network.error(before, moved.newest.float(), action)
            return np.asarray(error.cpu().numpy(), np.float32)

        return check

    def fit(self, replays: list[Float]) -> list[Float]:
        """See `RolloutGate`; the network knows its spread already."""
        return replays

    def save(self, folder: Path) -> None:
        """See `RolloutGate`."""
        self.network.save_pretrained(folder)


@dataclass(frozen=True)
class GateKind:
    """A row of the registry.

    Attributes:
        folder: below the judge's.
        made_with: file in it that its errors depend on.
        passes: what a rollout does that passes, before "as well as 95% of held-out replays do".
        missing: how to get one.
        load: from its folder, the judge and a device.
    """

    folder: str
    made_with: str
    passes: str
    missing: str
    load: Callable[[Path, Judge, torch.device], RolloutGate]


GATES: Registry[GateKind] = Registry("gate")


def _inverse_dynamics(folder: Path, judge: Judge, device: torch.device) -> RolloutGate:
    return InverseDynamicsGate(InverseDynamics.from_pretrained(folder).to(device))


def _resampling(folder: Path, judge: Judge, device: torch.device) -> RolloutGate:
    scale = Resampling.of_folder(folder)
    return ResamplingGate(judge, scale.draws, scale)


GATES.register(INVERSE_DYNAMICS)(
    GateKind(
        FOLDER,
        WEIGHTS,
        "shows the actions that it was given",
        "judge.gate_steps=600",
        _inverse_dynamics,
    )
)
GATES.register(RESAMPLING)(
    GateKind(
        "gate_resampling",
        SETTINGS,
        "agrees with itself, drawn again,",
        "judge.gate_draws=4",
        _resampling,
    )
)
