"""Initial conditions of streams: first frames, proprioception, calibration and known objects.

Legend: N envs, V views, H W pixels, D world state, P proprioception, S state.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from worldsim.data.channels import checked_extras
from worldsim.diffusion.schedule import Schedule
from worldsim.errors import QualityWarning, UsageError
from worldsim.models.conditioners.steps import FrameSteps, RigTensors
from worldsim.models.recall import new_memory, recall, remember
from worldsim.models.world_model import WorldModel
from worldsim.sampling.chunk_sampler import new_sampler_state
from worldsim.sampling.stream_rows import Array, Queue, StatePair, StreamRows


def initial_rows(
    model: WorldModel,
    schedule: Schedule,
    pixels: Array,
    agent_pos: Array,
    rig: Mapping[str, Array] | None,
    keys: Sequence[tuple[int, int]],
    state: Array | None,
    views: Array | None = None,
    extras: Mapping[str, Array] | None = None,
) -> StreamRows:
    """Rows that stand at their first frame.

    Args:
        model: the world model.
        schedule: of the streams.
        pixels: uint8 `[N, V, H, W, 3]`.
        agent_pos: `[N, P]`.
        rig: `intrinsics [N,V,3,3]`, `extrinsics [N,V,4,4]`, `mounted [N,V]`; None if unknown.
        keys: (seed, env id) of each row.
        state: `[N, S]`, NaN where unknown; what is unknown is read off the frames.
        views: `[N, V]` bool, False where a camera is missing; None has them all.
        extras: optional channels of the first frames, see `Stream.reset`.

    Raises:
        UsageError: shapes do not fit the model's spec.
    """
    frames, agent = _check(model, pixels, agent_pos)
    count, device = len(frames), frames.device
    told = checked_extras(extras or {}, model.spec, "stream", count)
    known = {name: torch.from_numpy(rows).to(device) for name, rows in told.items()}
    view_mask = _seen(model, views, count)
    latents = model.encode(frames, agent) * view_mask[:, 0, :, None, None, None]
    world_state = model.dynamics.join(agent, _known_state(model, latents, view_mask, state))
    calibration = _calibration(model, rig, world_state, known.get("camera_pose"))
    none, first = world_state.new_zeros(count, 1, model.spec.action.dim), world_state[:, None]
    steps = FrameSteps(none, none[..., 0], first, first, view_mask, calibration)
    memory = new_memory(model, count) if model.remembers else None
    view = None if memory is None else recall(model, memory, steps)
    cond = model.condition_frames(steps, view)
    sampling = new_sampler_state(model, schedule, latents[:, None], cond, keys, uncommitted=1)
    if memory is not None:
        depth = model.turned_depth(known.get("depth"), world_state)
        depth = None if depth is None else depth[:, None]
        one = torch.ones(count, dtype=torch.long, device=device)
        remember(model, memory, steps, latents[:, None], one, depth)
    empty = world_state.new_zeros(count, 0, world_state.shape[1])
    queue = Queue(none[:, :0], empty, empty, none[:, :0, :1], np.zeros(count, dtype=np.int64))
    pushed, shown = (StatePair(world_state.clone(), world_state.clone()) for _ in range(2))
    return StreamRows(sampling, queue, pushed, shown, calibration, view_mask, memory)


def _calibration(
    model: WorldModel,
    rig: Mapping[str, Array] | None,
    world_state: Tensor,
    camera_pose: Tensor | None,
) -> RigTensors:
    """Calibration of N rows in `world_state` `[N, D]`; poses `[N, V, 4, 4]` that are told go before
    the rig's."""
    device = world_state.device
    batch = {name: torch.as_tensor(value, device=device) for name, value in (rig or {}).items()}
    calibration = model.rig({"agent_pos": world_state[:, None], **batch})
    if model.facing is not None:
        model.facing.require_upright(calibration.extrinsics[calibration.known > 0])
    if camera_pose is None:
        return calibration
    return calibration.posed(camera_pose, model.dynamics.pose(world_state))


def _check(model: WorldModel, pixels: Array, agent_pos: Array) -> tuple[Tensor, Tensor]:
    frames = torch.as_tensor(pixels, device=model.device)
    camera = model.spec.cameras[0]
    expected = (model.views, camera.height, camera.width, 3)
    if frames.ndim != 5 or tuple(frames.shape[1:]) != expected:
        raise UsageError(
            f"first frames have shape {tuple(frames.shape)}, expected [N, "
            f"{', '.join(map(str, expected))}] for cameras {model.spec.camera_names}"
        )
    agent = torch.as_tensor(agent_pos, dtype=torch.float32, device=model.device)
    wanted = (len(frames), model.spec.agent_pos.dim)
    if tuple(agent.shape) != wanted:
        raise UsageError(
            f"agent_pos has shape {tuple(agent.shape)}, expected [{wanted[0]}, {wanted[1]}]"
        )
    if not agent.isfinite().all():
        raise UsageError(f"agent_pos must be finite, got {agent.tolist()}")
    return frames, agent


def warn_if_uncalibrated(model: WorldModel, rows: StreamRows) -> bool:
    """Warn (`QualityWarning`) if cameras are unknown to a model that was trained to know them.

    Returns:
        Whether there was something to warn of.
    """
    if not model.config.calibrated or bool(rows.rig.known.all()):
        return False
    warnings.warn(
        "this world model was trained with calibrated cameras and is begun without calibration, "
        "so it cannot tell where in the pictures agent and objects are, and imagines much worse. "
        "Give it: `rig` (a worldsim.cameras.rig.CameraRig, such as a simulator's "
        "env.unwrapped.camera_rig) beside pixels and agent_pos of "
        "reset(options={'initial_state': ...}), Start(rig=...), Stream.reset(rig=...), or data "
        "sets whose episodes tell their rig",
        QualityWarning,
        stacklevel=3,
    )
    return True


def _seen(model: WorldModel, views: Array | None, count: int) -> Tensor:
    """`[N, 1, V]`: 1 where a camera is there."""
    if views is None:
        return torch.ones(count, 1, model.views, device=model.device)
    seen = torch.as_tensor(views, device=model.device)
    if tuple(seen.shape) != (count, model.views) or seen.dtype != torch.bool:
        raise UsageError(
            f"views is {seen.dtype} {tuple(seen.shape)}, expected bool [{count}, {model.views}] "
            f"for cameras {model.spec.camera_names}"
        )
    if not seen.any(dim=1).all():
        raise UsageError("views: a stream needs at least one camera")
    return seen.float()[:, None]


def _known_state(
    model: WorldModel, latents: Tensor, view_mask: Tensor, state: Array | None
) -> Tensor:
    """`[N, S]`: the given entries, the others as read off the frames."""
    shape = (len(latents), model.spec.state.dim)
    given = latents.new_full(shape, torch.nan)
    if state is not None:
        given = torch.as_tensor(state, device=latents.device).float()
    if tuple(given.shape) != shape:
        raise UsageError(
            f"state has shape {tuple(given.shape)}, expected {list(shape)} "
            f"({', '.join(model.spec.state.names)})"
        )
    if given.isinf().any():
        raise UsageError(f"state must be finite, or NaN where it is unknown, got {given.tolist()}")
    if not given.isnan().any():
        return given
    read = model.read_state(latents[:, None], view_mask).state[:, 0]
    return torch.where(given.isnan(), read, given)
