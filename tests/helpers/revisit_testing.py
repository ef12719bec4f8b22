"""Walks through apartments and the toy room, and a nano model of apartments, for tests."""

from functools import cache

import numpy as np
import torch
from toy_room import Walker, seen

from worldsim.cameras.projection import PROJECTIONS, whole_sphere_intrinsics
from worldsim.envs import make
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.episode import space_of
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.spec import EQUIRECTANGULAR
from worldsim.validation.revisit.routes import Planner, Route, plan_route
from worldsim.validation.revisit.visibility import Geometry
from worldsim.validation.revisit.walk import Walk, walk_route

SIZE, GAP, MOST = 16, 8, 200


def apartment(size: int = SIZE, **keys: object) -> IndoorNav:
    """An env without a time limit that matters."""
    made = make("worldsim/IndoorNav-v0", image_size=size, max_episode_steps=5000, **keys)
    env = made.unwrapped
    assert isinstance(env, IndoorNav)
    return env


def planned(env: IndoorNav, name: str, scene: int, seed: int = 0) -> tuple[Planner, Route | None]:
    """A route through a scene."""
    env.reset(seed=0, options={"scene": scene})
    rng = np.random.default_rng(seed)
    held = env.journey.scene
    planner = Planner(held, space_of(held, env._body.radius), rng, (0.3, 0.6))
    return planner, plan_route(name, planner)


def walked(name: str, scene: int = 1_000_000, size: int = SIZE, **keys: object) -> Walk:
    """A route, walked."""
    env = apartment(size, **keys)
    route = planned(env, name, scene)[1]
    assert route is not None
    return walk_route(env, route, GAP, MOST)


@cache
def nano_indoor_model(
    memory: str = "none", depth: bool = True, derotate: bool = False
) -> WorldModel:
    """A random model of apartments that carries the agent's pose alone."""
    from worldsim.memory.base import MemoryConfig

    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig("stnet", width=16, depth=1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8, depth=depth),
        DynamicsConfig("pose", width=16, depth=1),
        MemoryConfig(memory, retrieved=2),
        recent=3,
        conditioners=("rays",),
        derotate=derotate,
    )
    model = WorldModel(config, apartment().spec_world)
    with torch.no_grad():
        # Layers that begin at zero are shaken, so that every path counts.
        for parameter in model.denoiser.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.05)
    return model.eval().requires_grad_(False)


def toy_geometry(walkers: list[Walker]) -> Geometry:
    """What the toy room's camera saw."""
    depth = torch.stack([torch.from_numpy(seen(walker)[1]) for walker in walkers])[:, None]
    poses = torch.stack([torch.from_numpy(walker.pose) for walker in walkers])[:, None]
    intrinsics = whole_sphere_intrinsics(*depth.shape[2:])[None]
    return Geometry.of(depth, "radial", intrinsics, poses, (PROJECTIONS.get(EQUIRECTANGULAR),))


def toy_pictures(walkers: list[Walker]) -> torch.Tensor:
    """uint8 `[T, 1, H, W, 3]`."""
    return torch.stack([torch.from_numpy(seen(walker)[0]) for walker in walkers])[:, None]
