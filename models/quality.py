"""What a model was measured to reach with so many denoising steps a frame."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.errors import DataError, QualityWarning
from worldsim.files import read_json

QUALITY = "quality.json"
TOLERATED_DB = 0.5
"""How far below its best a number of steps may stay without a warning."""


@dataclass(frozen=True)
class StepQuality:
    """Open-loop quality on held-out episodes.

    Attributes:
        psnr_moving: {steps: PSNR in dB where something moved}, of at least one number of steps.
    """

    psnr_moving: Mapping[int, float]

    @staticmethod
    def measured(folder: Path) -> "StepQuality | None":
        """What lies with a model in its folder; None where nothing was measured."""
        path = folder / QUALITY
        return StepQuality.from_json(read_json(path), str(path)) if path.is_file() else None

    @staticmethod
    def from_json(data: Any, source: str) -> "StepQuality":
        """Read `to_json` output.

        Raises:
            DataError: it is something else.
        """
        try:
            found = {int(steps): float(db) for steps, db in data["psnr_moving"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{source}: expected {{'psnr_moving': {{steps: dB}}}}") from error
        if not found:
            raise DataError(f"{source}: holds no measurement")
        return StepQuality(found)

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return {"psnr_moving": {str(k): round(v, 3) for k, v in self.psnr_moving.items()}}

    def reached(self, steps: int) -> float:
        """dB with `steps`: of the greatest number measured that is not above, else the least."""
        below = [count for count in self.psnr_moving if count <= steps]
        return self.psnr_moving[max(below) if below else min(self.psnr_moving)]

    @property
    def best(self) -> int:
        """The least number of steps that comes within tolerance of the best measured."""
        top = max(self.psnr_moving.values())
        return min(k for k, db in self.psnr_moving.items() if db >= top - TOLERATED_DB)

    def warn_if_short(self, steps: int) -> None:
        """Warn (`QualityWarning`) if `steps` is fewer than the model needs."""
        if steps >= self.best:
            return
        warnings.warn(
            f"{steps} denoising steps a frame are fewer than this model needs: on held-out "
            f"episodes it reached {self.reached(steps):.1f} dB where something moved, "
            f"{self.psnr_moving[self.best]:.1f} dB with {self.best}. Take {self.best} steps, or "
            "distil the model (worldsim train plan=ctm start_from=...)",
            QualityWarning,
            stacklevel=4,
        )
