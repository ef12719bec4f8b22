"""Imports every backbone, so that their names are registered before one is looked up."""

from worldsim.models.denoiser import DENOISERS, build_denoiser
from worldsim.models.dit import DiT
from worldsim.models.stnet import STNet

__all__ = ["DENOISERS", "DiT", "STNet", "build_denoiser"]
