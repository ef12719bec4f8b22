"""A nano world model with random weights, and first frames for it, shared by tests."""

from functools import cache

import numpy as np
import torch

from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.spec import (
    EE_POSITION,
    EE_ROTATION_6D,
    ActionSpec,
    CameraSpec,
    VectorSpec,
    WorldSpec,
)

SIZE = 32
LEAST_WIDTH = {"svd": 32}
CAMERAS = ("exterior_1", "exterior_2", "wrist")


def nano_spec() -> WorldSpec:
    """The tabletop's conventions at a quarter of its pixels."""
    return WorldSpec(
        fps=10,
        cameras=tuple(CameraSpec(name, SIZE, SIZE) for name in CAMERAS),
        action=ActionSpec(
            names=("dx", "dy", "dz", "dyaw", "grip"),
            low=(-1.0,) * 5,
            high=(1.0,) * 5,
            units=("m", "m", "m", "rad", "1"),
            scale=(0.03, 0.03, 0.03, 0.2, 1.0),
            mode="delta",
            frame="world",
        ),
        agent_pos=VectorSpec(
            EE_POSITION + EE_ROTATION_6D + ("gripper_width",), ("m",) * 3 + ("1",) * 6 + ("m",)
        ),
        state=VectorSpec(("object_x", "object_y"), ("m", "m")),
    )


@cache
def nano_model(backbone: str = "stnet", spec: WorldSpec | None = None) -> WorldModel:
    """A random model whose zero-initialised layers are shaken, so that every path counts."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig(backbone, LEAST_WIDTH.get(backbone, 16), 1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8),
        DynamicsConfig("contact", width=16, depth=1),
        recent=3,
    )
    model = WorldModel(config, spec or nano_spec())
    with torch.no_grad():
        for part in (model.denoiser, model.dynamics):
            for parameter in part.parameters():
                if parameter.abs().max() == 0:
                    parameter.normal_(std=0.05)
        model.dynamics.step_size.fill_(0.01)
    return model.eval().requires_grad_(False)


def nano_start(count: int) -> dict[str, np.ndarray]:
    """First frames `[N, V, H, W, 3]`, hands and calibration; row i depends on i alone."""
    rows = [np.random.default_rng(i) for i in range(count)]
    intrinsics = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1]], np.float32)
    down = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    fixed, riding = down.copy(), down.copy()
    fixed[2, 3], riding[2, 3] = 0.6, 0.1
    hand = np.array([0, 0, 0.1, 1, 0, 0, 0, 1, 0, 0.04], np.float32)
    views = len(CAMERAS)
    return {
        "pixels": np.stack(
            [r.integers(0, 255, (views, SIZE, SIZE, 3), dtype=np.uint8) for r in rows]
        ),
        "agent_pos": np.stack([hand + np.float32(0.01 * i) for i in range(count)]),
        "intrinsics": np.tile(intrinsics, (count, views, 1, 1)),
        "extrinsics": np.tile(np.stack([fixed, fixed, riding]), (count, 1, 1, 1)),
        "mounted": np.tile(np.array([False, False, True]), (count, 1)),
    }
