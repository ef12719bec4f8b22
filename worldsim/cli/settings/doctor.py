"""Keys of `configs/doctor.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Annotated

from worldsim.config_limits import between
from worldsim.config_paths import OutputFolder
from worldsim.config_values import Checked


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/doctor.yaml`."""

    out: OutputFolder | None
    matmul_size: Annotated[int, between(1, 16384)]
