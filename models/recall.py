"""How a world model reads and writes the memory of its streams and clips.

Legend: B rows, T frames, V views, c h w latent, H W pixels.
"""

from collections.abc import Callable, Mapping
from functools import reduce

import torch
from torch import Tensor

from worldsim.conventions import to_pixels
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemorySize,
    ShownFrames,
    registered_depths,
    registered_memories,
)
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.world_model import WorldModel


def new_memory(model: WorldModel, rows: int) -> Memory:
    """Empty memories of `rows` streams, as the model's config names them."""
    config, latent = model.config.memory, (model.views, *model.latent_shape)
    size = MemorySize(model.spec, latent, rows, model.device)
    return registered_memories().get(config.name).new(config, size)


def recall(model: WorldModel, memory: Memory, steps: FrameSteps) -> MemoryView:
    """What a memory tells about the frames that `steps` lead to."""
    with torch.autocast(steps.action.device.type, enabled=False):
        return memory.view(frame_cameras(model, steps))


def remember(
    model: WorldModel,
    memory: Memory,
    steps: FrameSteps,
    latents: Tensor,
    count: Tensor,
    depth: Tensor | None = None,
    number: Tensor | None = None,
) -> None:
    """Have a memory take in the frames that `steps` led to, in place; see `ShownFrames`.

    They are the next ones, unless `number` says otherwise. Only a memory that says that it reads
    `depth`, from a source that is the simulator's, is shown it: so no model has it and does not
    say so.
    """
    cameras = frame_cameras(model, steps)
    number = memory.coming(latents.shape[1]) if number is None else number
    if not memory.reads_depth or not registered_depths().get(model.config.memory.depth).privileged:
        depth = None
    told = (latents.detach(), cameras, steps.view_mask, count, number, depth, model.reader)
    # Places of points need full precision whatever the networks run in.
    with torch.autocast(latents.device.type, enabled=False):
        memory.update(ShownFrames(*told))


def recall_clip(
    model: WorldModel,
    memory: Memory,
    steps: FrameSteps,
    latents: Tensor,
    frame_mask: Tensor,
    depth: Tensor | None = None,
) -> tuple[MemoryView, Memory]:
    """What a memory tells about each frame of a recorded clip, once it has seen those before it;
    and the memory that has seen all of them.

    Args:
        model: the world model.
        memory: as it was before the clip; not changed.
        steps: that lead to the T frames.
        latents: `[B, T, V, c, h, w]` recorded.
        frame_mask: `[B, T]` 0 in the padding at the end.
        depth: `[B, T, V, H, W]` where it was recorded.
    """
    memory, views = memory.fork(), []
    for frame in range(latents.shape[1]):
        span = slice(frame, frame + 1)
        step = steps.frames(frame, frame + 1)
        views.append(recall(model, memory, step))
        count, near = frame_mask[:, frame].long(), None if depth is None else depth[:, span]
        remember(model, memory, step, latents[:, span], count, near)
    return reduce(MemoryView.then, views), memory


def recorded_memory(
    model: WorldModel,
    batch: Mapping[str, Tensor],
    view_mask: Tensor,
    blur: Callable[[Tensor], Tensor] | None = None,
) -> Memory:
    """The memory of B clips before they begin: of the frames that a sampler chose, if any.

    Args:
        model: the world model.
        batch: clips with the `memory_` entries of `worldsim.data.clips`.
        view_mask: `[B, V]` 0 for views that are dropped.
        blur: what becomes of remembered latents of unit variance; None leaves them as they are.
    """
    memory = new_memory(model, len(view_mask))
    if "memory_rows" not in batch:
        return memory
    past = {name[7:]: value for name, value in batch.items() if name.startswith("memory_")}
    seen = past["view_mask"].float() * view_mask[:, None]
    state = model.dynamics.join(past["agent_pos"].float(), past["state"].float())
    none = state.new_zeros(*state.shape[:2], model.spec.action.dim)
    pose, rig = past.get("camera_pose"), model.rig({**batch, "view_mask": seen})
    poses = None if pose is None else (pose.float(), pose.float())
    steps = FrameSteps(none, none[..., 0], state, state, seen, rig, poses)
    latents = model.normalizer.normalize("latent", past["latents"].float())
    latents = latents if blur is None else blur(latents)
    latents = latents * seen[..., None, None, None]
    count = past["frame_mask"].sum(1).long()
    depth = model.turned_depth(past.get("depth"), state)
    remember(model, memory, steps, latents, count, depth, past["number"])
    memory.now = batch["start"].clone()
    return memory


def frame_cameras(model: WorldModel, steps: FrameSteps) -> FrameCameras:
    """Cameras of the frames that `steps` lead to, as latents show them and in their cells."""
    # Poses need full precision whatever the networks run in.
    with torch.autocast(steps.action.device.type, enabled=False):
        scaled = steps.rig.scaled(model.latent_shape[1] / model.spec.cameras[0].height)
        poses = steps.cameras(model.dynamics, model.facing)[1]
        return FrameCameras(poses, scaled, steps.rig.known)


def point_colours(model: WorldModel, features: Tensor) -> Tensor:
    """Colours uint8 `[P, 3]` of a map's points: what the tokenizer shows for each one's latent.

    Args:
        model: the world model.
        features: `[P, c]`, such as `PointMemory.save_ply` hands over.
    """
    shown = []
    for first in range(0, len(features), 256):
        some = features[first : first + 256]
        # The middle of a small even image, as far from its borders as may be.
        patch = some[:, None, :, None, None].expand(-1, 1, -1, 4, 4)
        pixels = to_pixels(model.decode_video(patch))[:, 0]
        middle = pixels.shape[1] // 2
        shown.append(pixels[:, middle, middle])
    return torch.cat(shown) if shown else features.new_zeros(0, 3).to(torch.uint8)
