"""Keys of `configs/doctor.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Annotated

from worldsim.config.limits import between
from worldsim.config.paths import OutputFolder
from worldsim.config.values import Checked


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/doctor.yaml`."""

    out: OutputFolder | None
    matmul_size: Annotated[int, between(1, 16384)]
