"""What is walked, and what of each walk's return was seen before.

Legend: T frames of a walk, L frames of its return, V views, H W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch

from worldsim.config.limits import Count, OneOf, Positive, Seed, Whole
from worldsim.config.values import Checked
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.episode import space_of
from worldsim.envs.indoor.scene import scene_number
from worldsim.errors import DataError, UsageError
from worldsim.models.lpips import Lpips
from worldsim.validation.revisit.arms import chosen_arms
from worldsim.validation.revisit.report import WalkFacts
from worldsim.validation.revisit.routes import ROUTES, Planner, plan_route
from worldsim.validation.revisit.scores import Scored
from worldsim.validation.revisit.visibility import Geometry, Regions, regions
from worldsim.validation.revisit.walk import Walk, walk_route

FirstVisit = Literal["shown", "imagined"]


@dataclass(frozen=True)
class RevisitConfig(Checked):
    """Attributes:
    scenes: apartments of the env's split.
    first_scene: number in the split of the first of them.
    routes: registered routes.
    arms: their names; None takes all.
    seeds: streams of each walk that differ in their noise.
    first_visit: whether the simulator shows it, or the model imagines it too.
    gap: frames in a row that what returned was out of sight; None takes twice the context.
    offset_least: metres by which a return is off, at least.
    offset_most: metres, at most.
    near_m: metres from a place of the first visit within which a frame is near it.
    near_deg: degrees from the heading there.
    max_steps: frames of a walk, at most.
    seed: of places.
    """

    scenes: Count = 8
    first_scene: Whole = 0
    routes: tuple[Annotated[str, OneOf(lambda: ROUTES)], ...] = tuple(ROUTES)
    arms: tuple[str, ...] | None = None
    seeds: Count = 3
    first_visit: FirstVisit = "shown"
    gap: Count | None = None
    offset_least: Positive = 0.3
    offset_most: Positive = 0.6
    near_m: Positive = 0.5
    near_deg: Positive = 20.0
    max_steps: Count = 200
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset_most < self.offset_least:
            raise UsageError(
                f"offset_least is {self.offset_least} and offset_most {self.offset_most}; expected "
                "the least first"
            )
        if not self.routes:
            raise UsageError(f"routes is empty; expected some of {', '.join(ROUTES)}")
        chosen_arms(self.arms)


@dataclass(frozen=True, eq=False)
class Place:
    """A walk, and what of its return was seen before.

    Attributes:
        walk: of a route.
        geometry: of the walk.
        found: regions of its return.
        scored: what frames are held against.
    """

    walk: Walk
    geometry: Geometry
    found: Regions
    scored: Scored


def walk_places(
    env: IndoorNav,
    config: RevisitConfig,
    gap: int,
    lpips: Lpips | None,
    on_step: Callable[[int], None] | None,
) -> list[Place]:
    """Walks of all scenes, scene by scene.

    Raises:
        DataError: no scene has room for any route.
    """
    found = []
    for index in range(config.first_scene, config.first_scene + config.scenes):
        number = scene_number(env._split, index)
        env.reset(seed=0, options={"scene": number})
        scene = env.journey.scene
        space = space_of(scene, env._body.radius)
        for order, name in enumerate(config.routes):
            rng = np.random.default_rng([config.seed, number, order])
            offset = (config.offset_least, config.offset_most)
            route = plan_route(name, Planner(scene, space, rng, offset))
            if route is not None:
                walk = walk_route(env, route, gap, config.max_steps)
                found.append(place_of(walk, gap, config, lpips))
            if on_step is not None:
                on_step(1)
    if not found:
        raise DataError(
            f"none of {config.scenes} scenes has room for any of {', '.join(config.routes)}; take "
            "more scenes, or a smaller offset_most"
        )
    return found


def place_of(walk: Walk, gap: int, config: RevisitConfig, lpips: Lpips | None = None) -> Place:
    """What of a walk's return was seen before, and what its frames are held against.

    Args:
        walk: of a route.
        gap: frames in a row that what returned was out of sight.
        config: says when a frame is off the first visit's way, and when it is near.
        lpips: the network, where there are weights.
    """
    geometry = walk.geometry
    found = regions(geometry, walk.back, gap)
    masks = {name: mask.numpy() for name, mask in found.masks().items()}
    aside = walk.offsets()[0] >= config.offset_least
    masks["off_path"] = masks["returned"] & aside[:, None, None, None]
    near = walk.nears(config.near_m, float(np.deg2rad(config.near_deg)))
    masks["near"] = masks["all"] & near[:, None, None, None]
    high, wide = walk.pixels.shape[2:4]
    weight = torch.stack([each.area_weight(high, wide) for each in geometry.projections])
    depth = np.where(walk.depth > 0, walk.depth, np.nan)[walk.back :].astype(np.float64)
    scored = Scored(
        walk.pixels[walk.back :],
        depth,
        masks,
        weight.double().numpy(),
        tuple(each.wrap for each in geometry.projections),
        lpips,
    )
    return Place(walk, geometry, found, scored)


def elsewhere(places: Sequence[Place], index: int) -> Walk | None:
    """A walk of the same route in another scene, or else any walk of another; None without one."""
    walk = places[index].walk
    after = [*places[index + 1 :], *places[:index]]
    others = [p.walk for p in after if p.walk.scene.number != walk.scene.number]
    return next((each for each in others if each.route == walk.route), next(iter(others), None))


def facts_of(place: Place) -> WalkFacts:
    """What is told of a walk."""
    walk, masks = place.walk, place.scored.masks
    offset, turned = walk.offsets()
    return WalkFacts(
        scene=walk.scene.number,
        route=walk.route,
        frames=len(walk.pixels),
        back=walk.back,
        offset_m=float(offset.mean()),
        turned_deg=float(np.rad2deg(turned.mean())),
        shares={name: float(mask.mean()) for name, mask in masks.items()},
    )
