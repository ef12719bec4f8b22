"""Where a stream says that its cameras stand."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from stream_testing import RIG, random_actions
from worldsim_testing import nano_model, nano_spec, nano_start

from worldsim.diffusion.schedule import autoregressive
from worldsim.sampling.stream import Stream


def posed_stream() -> tuple[Stream, dict[str, Any]]:
    """A stream of a world that records poses of cameras, and a first frame for it."""
    model = nano_model(spec=replace(nano_spec(), camera_pose=True))
    stream, start = Stream(model, autoregressive((1.0, 0.0)), precision="float32"), nano_start(1)
    given = {name: start[name] for name in ("pixels", "agent_pos")}
    return stream, {**given, "rig": {name: start[name] for name in RIG}}


def test_poses_of_cameras_without_calibration_are_not_made_up() -> None:
    stream, start = posed_stream()
    stream.reset(**start)
    known = stream.act(random_actions(1, 1)[:, 0]).camera_pose
    assert known is not None and bool(known.isfinite().all())
    stream.reset(**start | {"rig": None})
    unknown = stream.act(random_actions(1, 1)[:, 0]).camera_pose
    assert unknown is not None and bool(unknown.isnan().all())


def test_half_a_pose_of_a_camera_is_none() -> None:
    stream, start = posed_stream()
    pose = np.tile(np.eye(4, dtype=np.float32), (1, 3, 1, 1))
    pose[0, 0, 0, 3] = np.nan
    stream.reset(**start, extras={"camera_pose": pose})
    told = stream.act(random_actions(1, 1)[:, 0]).camera_pose
    assert told is not None
    torch.testing.assert_close(told[0, 0, 0], torch.from_numpy(start["rig"]["extrinsics"][0, 0]))
    torch.testing.assert_close(told[0, 0, 1], torch.eye(4))
