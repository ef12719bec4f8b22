"""Every arm along every route of every scene, scored on what the first visit saw.

Legend: T frames of a walk, R streams of it, L frames of its return, V views, H W pixels.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from worldsim.envs.indoor.env import IndoorNav
from worldsim.errors import UsageError
from worldsim.models.lpips import Lpips
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler
from worldsim.sampling.stream import Stream
from worldsim.spec import DepthKind
from worldsim.validation.revisit.arms import Arm, chosen_arms
from worldsim.validation.revisit.copies import Streamed, copy_latents, copy_pixels
from worldsim.validation.revisit.places import (
    Place,
    RevisitConfig,
    elsewhere,
    facts_of,
    walk_places,
)
from worldsim.validation.revisit.report import ArmCost, RevisitReport, Row
from worldsim.validation.revisit.streams import require_posed, stream_walk
from worldsim.validation.revisit.visibility import carried

OnFilm = Callable[[Place, Arm, Streamed], None]


def measure_revisit(
    model: WorldModel,
    env: IndoorNav,
    sampler: Sampler,
    config: RevisitConfig,
    lpips: Lpips | None = None,
    on_step: Callable[[int], None] | None = None,
    films: int = 0,
    on_film: OnFilm | None = None,
) -> RevisitReport:
    """Stream every walk by every arm.

    Args:
        model: a world model of the env's world.
        env: the simulator.
        sampler: of the streams, frame by frame.
        config: which walks and arms.
        lpips: the network, where there are weights.
        on_step: called with 1 when a walk is planned or streamed.
        films: scenes, the first ones, whose streams are filmed.
        on_film: called with what is filmed.

    Raises:
        UsageError: model and arms do not fit together, or no scene has room for any route.
        SpecMismatchError: model and env describe different worlds.
    """
    model.spec.require_compatible(env.spec_world, "the model", "the env", stateless=True)
    _require(model, sampler)
    places = walk_places(env, config, revisit_gap(model, config), lpips, on_step)
    return measure_places(model, places, sampler, config, on_step, films, on_film)


def measure_places(
    model: WorldModel,
    places: Sequence[Place],
    sampler: Sampler,
    config: RevisitConfig,
    on_step: Callable[[int], None] | None = None,
    films: int = 0,
    on_film: OnFilm | None = None,
) -> RevisitReport:
    """Stream walks that are there already by every arm; see `measure_revisit`.

    Raises:
        UsageError: model and arms do not fit together.
    """
    _require(model, sampler)
    filmed = list(dict.fromkeys(place.walk.scene.number for place in places))[:films]
    runs, left_out = [], {}
    for arm in chosen_arms(config.arms):
        try:
            runs.append(_Run(arm, model, sampler, config, places))
        except UsageError as error:
            left_out[arm.name] = str(error)
            continue
        for index, place in enumerate(places):
            runs[-1].walk(index, on_film if place.walk.scene.number in filmed else None)
            if on_step is not None:
                on_step(1)
    rows = tuple(row for run in runs for row in run.rows)
    facts, costs = tuple(map(facts_of, places)), {run.arm.name: run.cost for run in runs}
    context, gap = model.config.recent + model.config.sink, revisit_gap(model, config)
    return RevisitReport(rows, costs, left_out, facts, config.first_visit, context, gap)


def revisit_gap(model: WorldModel, config: RevisitConfig) -> int:
    """Frames in a row that what returned was out of sight."""
    return config.gap or 2 * (model.config.recent + model.config.sink)


def _require(model: WorldModel, sampler: Sampler) -> None:
    """Refuse what cannot be streamed along a route; see `measure_revisit`."""
    require_posed(model)
    if sampler.kind != "autoregressive" or sampler.chunk != 1:
        raise UsageError(
            f"a revisit streams frame by frame; sampler.kind is {sampler.kind} and sampler.chunk "
            f"{sampler.chunk}, expected autoregressive and 1"
        )


def total_steps(config: RevisitConfig, recorded: bool = False) -> int:
    """How often `on_step` is called, at most; recorded walks are one a scene."""
    walks = config.scenes * (1 if recorded else len(config.routes))
    return walks * (1 + len(chosen_arms(config.arms)))


class _Run:
    """One arm along all walks.

    Raises:
        UsageError: the model cannot have the arm's memory, or there is no other scene for it.
    """

    def __init__(
        self,
        arm: Arm,
        model: WorldModel,
        sampler: Sampler,
        config: RevisitConfig,
        places: Sequence[Place],
    ) -> None:
        self.arm, self.places = arm, places
        self.seeds, self.shown = tuple(range(config.seeds)), config.first_visit == "shown"
        kinds = {place.walk.spec.depth for place in places}
        if arm.told and None in kinds:
            raise UsageError("it is told depth, and the walks have none; record it")
        kind = next(iter(kinds), None)
        self.stream = None if arm.maker == "pixels" else _stream(model, arm, sampler, kind)
        if arm.wrong and elsewhere(places, 0) is None:
            raise UsageError("it needs the memory of a second scene; set scenes=2 or more")
        self.rows: list[Row] = []
        self._seconds: list[float] = []
        self._kept: list[float] = []

    def walk(self, index: int, on_film: OnFilm | None) -> None:
        """Stream a walk and score it."""
        place = self.places[index]
        made = self._made(index, on_film is not None)
        self.rows += _rows(place, self.arm, made)
        self._seconds.append(made.seconds)
        self._kept.append(made.bytes_kept / len(place.walk.pixels))
        if on_film is not None:
            on_film(place, self.arm, made)

    def _made(self, index: int, film: bool) -> Streamed:
        walk = self.places[index].walk
        if self.stream is None:
            return copy_pixels(walk)
        if self.arm.maker == "latents":
            return copy_latents(self.stream.model, walk, self.arm)
        wrong = elsewhere(self.places, index) if self.arm.wrong else None
        return stream_walk(self.stream, walk, self.arm, self.seeds, self.shown, wrong, film)

    @property
    def cost(self) -> ArmCost:
        """What a frame took."""
        return ArmCost(self.arm.words, float(np.mean(self._seconds)), float(np.mean(self._kept)))


def _stream(model: WorldModel, arm: Arm, sampler: Sampler, kind: DepthKind | None) -> Stream:
    """Streams of the model with an arm's memory.

    Raises:
        UsageError: the model cannot have it.
    """
    own = model.config
    twin = copy.deepcopy(model).remembering(own.recent, own.sink, arm.config(own.memory))
    if arm.told and twin.spec.depth is None:
        # A model that learnt without depth is told that of the walks, of their kind.
        twin.spec = replace(twin.spec, depth=kind)
    return Stream.of(twin, sampler)


def _rows(place: Place, arm: Arm, made: Streamed) -> list[Row]:
    """Scores of each stream of a walk."""
    walk, rows = place.walk, []
    for seed in range(made.frames.shape[1]):
        frames = made.frames[:, seed]
        own = carried(torch.from_numpy(frames), place.found, place.geometry).numpy()
        depth = None
        if made.depth is not None:
            depth = made.depth[walk.back :, seed].astype(np.float64)
        tally = place.scored.tally(frames[walk.back :], own, depth)
        rows.append(Row(arm.name, walk.scene.number, walk.route, seed, tally))
    return rows
