"""Imports every backbone, so that their names are registered before one is looked up."""

from worldsim.models.denoisers.base import DENOISERS, build_denoiser
from worldsim.models.denoisers.dit import DiT
from worldsim.models.denoisers.stnet import STNet

__all__ = ["DENOISERS", "DiT", "STNet", "build_denoiser"]
