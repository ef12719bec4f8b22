"""Named blocks of simulator seeds: starts to develop on, to test judges on, and to be scored on.

`configs/start_blocks/default.yaml` says which seeds each block has. Whatever was looked at while a
model was made says little of it afterwards, so the blocks share no seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import pairwise

from omegaconf import OmegaConf

from worldsim.config.limits import Count, Seed
from worldsim.config.values import Checked
from worldsim.errors import UsageError, unknown_name
from worldsim.rollout.eval_config import DEVELOPMENT, RELEASE, StartPlan


@dataclass(frozen=True)
class SeedBlock(Checked):
    """Consecutive seeds.

    Attributes:
        first: the first of them.
        size: how many there are.
    """

    first: Seed
    size: Count

    @property
    def seeds(self) -> range:
        """All of them."""
        return range(self.first, self.first + self.size)


@dataclass(frozen=True)
class StartBlocks:
    """Blocks by name.

    Attributes:
        blocks: no two of them share a seed.
    """

    blocks: Mapping[str, SeedBlock]

    def __post_init__(self) -> None:
        ordered = sorted(self.blocks.items(), key=lambda item: item[1].first)
        for (name, before), (other, after) in pairwise(ordered):
            if after.first < before.seeds.stop:
                raise UsageError(
                    f"start_blocks: {name} ends with seed {before.seeds.stop - 1} and {other} "
                    f"begins with {after.first}; no two blocks may share a seed"
                )

    @staticmethod
    def configured() -> "StartBlocks":
        """Those that the package's configs name."""
        path = files("worldsim.configs").joinpath("start_blocks", "default.yaml")
        found = OmegaConf.create(path.read_text(encoding="utf-8"))
        return StartBlocks({str(name): SeedBlock(**block) for name, block in found.items()})

    def place(self, plan: StartPlan) -> StartPlan:
        """A plan with the seeds of the block that it names; without block or seed, of development.

        Raises:
            UsageError: there is no such block, it is too small, the plan names seeds as well, or
                its own seeds reach into the release block.
        """
        if plan.block is not None and (plan.seed is not None or plan.dataset is not None):
            other = "starts.seed" if plan.seed is not None else "starts.dataset"
            raise UsageError(
                f"starts.block={plan.block} and {other} both say what the starts are; give one"
            )
        if plan.seed is not None:
            self._keep_out(plan)
            return plan
        name = plan.block or DEVELOPMENT
        if name not in self.blocks:
            raise unknown_name("block in starts.block", name, self.blocks)
        block = self.blocks[name]
        if plan.dataset is None and plan.count > block.size:
            raise UsageError(
                f"starts.count is {plan.count}; the block {name} has {block.size} starts"
            )
        return replace(plan, seed=block.first, block=name if plan.dataset is None else None)

    def _keep_out(self, plan: StartPlan) -> None:
        """Refuse seeds of one's own that are release seeds."""
        release = self.blocks.get(RELEASE)
        found = [seed for seed in plan.seeds if release and seed in release.seeds]
        if found and plan.dataset is None:
            raise UsageError(
                f"starts.seed reaches into the block release (seed {found[0]}), which is kept for "
                "one run of what ships; take other seeds"
            )

    def develops(self, plan: StartPlan) -> bool:
        """Whether any of a plan's seeds is in the development block."""
        block = self.blocks.get(DEVELOPMENT)
        return block is not None and any(seed in block.seeds for seed in plan.seeds)
