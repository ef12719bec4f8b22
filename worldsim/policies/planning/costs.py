"""What a planner calls cheap: costs of imagined futures, apart from model and search.

Registered ones are named in a planner's config. A new one derives from `PlanCost` and is filed in
`PLAN_COSTS`. None of them sees anything that the model did not imagine or a judge did not read.

Legend: N plans, H steps, V view, H W pixels, P proprioception, S state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.config.limits import Count, Weight
from worldsim.errors import UsageError
from worldsim.judge.judge import Judge, ObservedFrame
from worldsim.judge.report import SIGNIFICANCE, chance_p_value
from worldsim.models.world_model import WorldModel
from worldsim.policies.planning.futures import Futures
from worldsim.registry import Registry
from worldsim.spec import EE_POSITION

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CostParts:
    """What costs are made from.

    Attributes:
        model: the planner's world model.
        judge: of the same world, or None where none was found.
        name: of the planner, for messages.
    """

    model: WorldModel
    judge: Judge | None
    name: str


class PlanCost:
    """Base of all costs. A constructor takes `parts`, then options of the config.

    Args:
        parts: model and judge.
    """

    def __init__(self, parts: CostParts) -> None:
        self.parts = parts

    def __call__(self, futures: Futures, task: str) -> Float:
        """Costs `[N]` of futures under an instruction; less is better."""
        raise NotImplementedError


PLAN_COSTS: Registry[type[PlanCost]] = Registry("planning cost")


def frames_to_read(horizon: int, every: int) -> list[int]:
    """Numbers of the frames that are read, counted back from the last one, in order."""
    return list(range(horizon - 1, -1, -every))[::-1]


@PLAN_COSTS.register("judge")
class JudgeCost(PlanCost):
    """What a judge reads off imagined frames: mean progress, and the greatest chance of success.

    Args:
        parts: with a judge.
        success: weight of success beside progress.
        every: one of so many frames is read; the last one always is.

    Raises:
        UsageError: there is no judge, it must not be used, or it reads nothing to plan by.
    """

    def __init__(self, parts: CostParts, success: Weight = 1.0, every: Count = 5) -> None:
        super().__init__(parts)
        self._judge = usable_judge(parts)
        self._success, self._every = success, int(every)
        if not success and not self._judge.report.reads_progress:
            raise UsageError(
                f"policy {parts.name!r}: this judge learnt no progress, so cost.success=0 leaves "
                "nothing to plan by; give it a weight"
            )

    def __call__(self, futures: Futures, task: str) -> Float:
        """See `PlanCost`."""
        progress, probability = [], []
        for step in frames_to_read(futures.horizon, self._every):
            agent_pos = futures.agent_pos[:, step].cpu().numpy()
            asked = (task,) * len(agent_pos)
            shown = ObservedFrame(futures.pixels(step), agent_pos, futures.pose(step), asked)
            said = self._judge.read(shown, futures.actions[:, step])
            progress.append(said.progress)
            probability.append(said.success_probability)
        reached = np.mean(progress, axis=0, dtype=np.float64)
        return np.asarray(-(reached + self._success * np.max(probability, axis=0)))


def usable_judge(parts: CostParts) -> Judge:
    """The judge of a planner.

    Raises:
        UsageError: there is none, it judges stops alone, or its measured verdicts are no better
            than chance, for which a ranking would refuse it too.
    """
    judge, other = parts.judge, "or plan by another cost (cost.name=pose or goal_image)"
    if judge is None:
        raise UsageError(
            f"policy {parts.name!r}: cost judge needs a judge and none lies with the model; give "
            f"judge=FOLDER, {other}"
        )
    if judge.reads_instructions:
        raise UsageError(
            f"policy {parts.name!r}: this judge reads stops alone, so it tells nothing of the way "
            f"to them; give a judge of frames, {other}"
        )
    counts = judge.report.where_used
    p_value = chance_p_value(counts)
    if p_value is None or p_value >= SIGNIFICANCE:
        raise UsageError(
            f"policy {parts.name!r}: the judge is refused, since it is not shown to be better than "
            f"chance: right on {counts.true_positives} of {counts.positives} successes and "
            f"{counts.true_negatives} of {counts.negatives} failures; train it further, {other}"
        )
    return judge


When = Literal["last", "mean"]


def along(costs: Tensor, when: When) -> Float:
    """Costs `[N, H]` of frames to costs `[N]` of plans."""
    chosen = costs[:, -1] if when == "last" else costs.mean(dim=1)
    return chosen.double().cpu().numpy()


@PLAN_COSTS.register("pose")
class PoseCost(PlanCost):
    """Distance of named numbers from where they should be, such as a hand from a place.

    Args:
        parts: with a model.
        entries: names in `agent_pos` or in the state; the end effector's place by default.
        target: as many numbers, in the entries' units, or names of other entries.
        when: `mean` of all frames, or the `last` one.

    Raises:
        UsageError: an entry is unknown, or the target has another length.
    """

    def __init__(
        self,
        parts: CostParts,
        target: Sequence[float | str],
        entries: Sequence[str] = EE_POSITION,
        when: When = "mean",
    ) -> None:
        super().__init__(parts)
        spec = parts.model.spec
        self._known = spec.agent_pos.names + spec.state.names
        if not entries or len(target) != len(entries):
            raise UsageError(
                f"policy {parts.name!r}: cost.target has {len(target)} values {list(target)} for "
                f"the {len(entries)} entries {list(entries)}; give one for each"
            )
        self._entries = [self._place(name) for name in entries]
        self._target = [self._place(v) if isinstance(v, str) else float(v) for v in target]
        self._when = when

    def _place(self, name: str) -> int:
        if name not in self._known:
            raise UsageError(
                f"policy {self.parts.name!r}: there is no entry {name!r} to plan by; known: "
                f"{', '.join(self._known)}"
            )
        return self._known.index(name)

    def __call__(self, futures: Futures, task: str) -> Float:
        """See `PlanCost`."""
        values = torch.cat([futures.agent_pos, futures.state], dim=-1)
        wanted = [
            values[..., each] if isinstance(each, int) else torch.full_like(values[..., 0], each)
            for each in self._target
        ]
        apart = values[..., self._entries] - torch.stack(wanted, dim=-1)
        return along(apart.norm(dim=-1), self._when)
