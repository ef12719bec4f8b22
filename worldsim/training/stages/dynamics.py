"""Stage `dynamics`: where an action takes the world's state, fitted to what was recorded."""

from typing import Any

from worldsim.models.weights import WEIGHTS, save_weights
from worldsim.training.batches import StepBatches
from worldsim.training.losses.dynamics import DynamicsLoss, StateTable, open_loop_gaps
from worldsim.training.stages.stage import Stage

REPORTED_HORIZONS = (1, 10, 20, 30)
"""Steps after which the error of the dynamics is noted."""


class DynamicsStage(Stage):
    """Writes `dynamics/`."""

    name = "dynamics"

    def make(self) -> dict[str, Any]:
        """Keep the dynamics of what the run builds on, or fit them."""
        config, weights = self.config, self.folder.dynamics / WEIGHTS
        dynamics = self.run.parents.dynamics()
        # What is distilled is how things look, not where they go.
        if config.plan.has_teacher or config.dynamics.keep:
            save_weights(dynamics, weights)
            return {"taken": True}
        table = StateTable(dynamics, self.cache, self.run.training)
        if not dynamics.dim or not len(table.starts):  # nothing to learn: the state stays
            save_weights(dynamics, weights)
            return {"steps": 0}
        if config.start_from is None:
            table.fit_scales(dynamics)
        else:
            table.widen_box(dynamics)
        if not dynamics.learns:
            save_weights(dynamics, weights)
            return {"steps": 0}
        horizon, fit = config.dynamics.horizon, config.dynamics_fit
        batches = StepBatches(
            lambda chosen, _: table.window(table.starts[chosen], horizon),
            len(table.starts),
            fit.batch_size,
            self.seed,
        )
        fitted = self.fit(dynamics, DynamicsLoss(dynamics, config.dynamics), batches, fit)
        save_weights(dynamics, weights)
        gaps = open_loop_gaps(dynamics, self.cache, self.run.held_out, REPORTED_HORIZONS)
        return fitted.facts() | {"held_out_median_m": gaps}
