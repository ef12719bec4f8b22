"""The toy room seen in cells of several pixels, whose latents hold these whole."""

from dataclasses import replace

import torch
from room_memory import SIZE, cameras, shown
from torch import Tensor
from toy_room import HEIGHT, WIDTH, Walker

from worldsim.memory.base import FrameCameras, FrameReader, ShownFrames
from worldsim.memory.colours import to_bytes

CELL = 4
LATENT = (1, 3 * CELL**2, HEIGHT // CELL, WIDTH // CELL)


def latents_of(video: Tensor) -> Tensor:
    """Pictures in [-1, 1] `[..., 3, H, W]` as cells that hold them whole."""
    flat = torch.nn.functional.pixel_unshuffle(video.flatten(0, -4), CELL)
    return flat.reshape(*video.shape[:-3], *LATENT[1:])


def pixels_of(latents: Tensor) -> Tensor:
    flat = torch.nn.functional.pixel_shuffle(latents.flatten(0, -4), CELL)
    return to_bytes(flat.reshape(*latents.shape[:-3], *SIZE)).movedim(-3, -1)


READER = FrameReader(pixels_of, latents=latents_of)


def coarse(walkers: list[Walker]) -> FrameCameras:
    at = cameras([walkers])
    scale = torch.diag(torch.tensor([1 / CELL, 1 / CELL, 1.0]))
    return replace(at, intrinsics=scale @ at.intrinsics)


def seen(walkers: list[Walker], first: int = 0) -> ShownFrames:
    """What a walker saw, in cells."""
    frames = shown([walkers], first)
    told = latents_of(2 * frames.latents - 1)
    return replace(frames, latents=told, cameras=coarse(walkers), reader=READER)
