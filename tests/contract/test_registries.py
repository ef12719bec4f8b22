"""What holds for every registry, and for every registered projection, judge and episode metric.

Navigation metrics are held to the same in `test_ranked_walks`, on walks that have courses.

Networks are in `test_registered_networks`, memories in `test_memories`, policies in
`test_policy_contract`.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagination_testing import nano_judge
from numpy.typing import NDArray
from registry_testing import ORDER, ROWS, drawn, table
from torch import Tensor
from worldsim_testing import nano_start

from worldsim.cameras.projection import PROJECTIONS, pixel_grid, whole_sphere_intrinsics
from worldsim.data.memory_sampler import MEMORY_SAMPLERS
from worldsim.errors import UsageError
from worldsim.judge.gates import GATES
from worldsim.judge.judge import JUDGES, Judge, ObservedFrame, load_pretrained_judge
from worldsim.judge.stops import StopJudge
from worldsim.memory.base import registered_depths, registered_memories
from worldsim.models.behaviour import BEHAVIOURS
from worldsim.models.conditioners.base import registered_conditioners
from worldsim.models.denoisers.base import DENOISERS
from worldsim.models.dynamics.base import DYNAMICS
from worldsim.models.instructed import GlanceConfig
from worldsim.models.stop_reader import StopReader
from worldsim.models.tokenizers.base import TOKENIZERS
from worldsim.models.world_model import WorldModelConfig
from worldsim.policies.base import POLICIES
from worldsim.policies.planning.costs import PLAN_COSTS
from worldsim.policies.planning.search import SEARCHES
from worldsim.policies.pool import register_policies
from worldsim.registry import Registry
from worldsim.rollout.baselines import BASELINES
from worldsim.rollout.episodes import METRICS, SUCCESS, Episode, RolloutBatch, Trajectory
from worldsim.rollout.results import Job, read_result, write_result
from worldsim.rows import take_rows
from worldsim.spec import EQUIRECTANGULAR, PINHOLE
from worldsim.training.losses.distillation import DISTILLATIONS
from worldsim.training.losses.noise_levels import NOISE_POLICIES
from worldsim.training.losses.objective import LOSS_MASKS
from worldsim.validation.features.extractors import EXTRACTORS
from worldsim.validation.navigation import NAVIGATION_METRICS
from worldsim.validation.navigation.ranked import RANKED
from worldsim.validation.revisit.routes import ROUTES

WorldModelConfig()  # looks its names up, and so files every row of theirs
register_policies()

REGISTRIES: tuple[Registry[Any], ...] = (
    PROJECTIONS,
    registered_conditioners(),
    DENOISERS,
    DYNAMICS,
    TOKENIZERS,
    JUDGES,
    GATES,
    registered_depths(),
    registered_memories(),
    MEMORY_SAMPLERS,
    METRICS,
    NAVIGATION_METRICS,
    BASELINES,
    POLICIES,
    BEHAVIOURS,
    LOSS_MASKS,
    NOISE_POLICIES,
    DISTILLATIONS,
    ROUTES,
    EXTRACTORS,
    SEARCHES,
    PLAN_COSTS,
)
CAMERAS: dict[str, Callable[[int, int], Tensor]] = {
    PINHOLE: lambda height, width: torch.tensor(
        [[width, 0, 0.4 * width], [0, 1.1 * width, 0.6 * height], [0, 0, 1.0]]
    ),
    EQUIRECTANGULAR: whole_sphere_intrinsics,
}
"""K of an image, by projection; a new row names one here."""


def nano_stop_judge() -> StopJudge:
    """In a world where nobody can stop, it has nothing to say."""
    judge = nano_judge()
    views, (height, width) = judge.estimator.config.num_views, judge.estimator.config.image_size
    reader = StopReader(GlanceConfig(views, (height, width), 8, 4), 16).eval()
    return StopJudge(reader, judge.spec, judge.rule, judge.report)


JUDGED: dict[str, Callable[[], Judge]] = {"learned": nano_judge, "stops": nano_stop_judge}
"""A judge of the nano world, by kind; a new row names one here."""


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_an_unknown_name_is_refused_with_the_nearest(registry: Registry[Any]) -> None:
    assert list(registry)
    for name in registry:
        with pytest.raises(UsageError, match=f"unknown {registry.kind} '{name}_'.*Did you mean '"):
            registry.get(f"{name}_")
        with pytest.raises(ValueError, match="registered twice"):
            registry.register(name)(registry.get(name))


@pytest.mark.parametrize("name", sorted(PROJECTIONS))
def test_a_projection_there_and_back(name: str) -> None:
    kind, (height, width) = PROJECTIONS.get(name), (6, 8)
    assert name in CAMERAS, f"projection {name!r} names no intrinsics in CAMERAS; add them"
    intrinsics = CAMERAS[name](height, width).repeat(ROWS, 1, 1)
    turns, _ = torch.linalg.qr(drawn(ROWS, 3, 3))
    turns = turns * turns.det()[:, None, None]
    rays = kind.rays(intrinsics, turns, height, width)
    assert rays.shape == (ROWS, 3, height, width)
    torch.testing.assert_close(rays.norm(dim=1), torch.ones(ROWS, height, width))
    assert torch.equal(kind.rays(intrinsics, turns, height, width), rays)
    torch.testing.assert_close(
        kind.rays(intrinsics[ORDER], turns[ORDER], height, width), rays[ORDER]
    )
    points = torch.einsum("nji,njhw->nhwi", turns, 2.0 * rays)
    pixels, depth = kind.project(points, intrinsics[:, None, None])
    torch.testing.assert_close(
        pixels, pixel_grid(height, width, pixels)[..., :2].expand_as(pixels), atol=1e-3, rtol=0
    )
    metres = {"radial": points.norm(dim=-1), "planar": points[..., 2]}
    torch.testing.assert_close(depth, metres[kind.depth])
    weight = kind.area_weight(height, width)
    assert weight.shape == (height, width) and (weight > 0).all()
    assert weight.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_a_judge_of_rows_that_are_not_each_others(name: str, tmp_path: Path) -> None:
    assert name in JUDGED, f"judge {name!r} names no example in JUDGED; add one"
    judge, start = JUDGED[name](), nano_start(ROWS)
    shown, action = ObservedFrame(start["pixels"], start["agent_pos"]), table().action[:, 0].numpy()
    for led in (None, action):
        said = judge.read(shown, led)
        assert [part.shape for part in said] == [(ROWS,), (ROWS,), (ROWS, judge.spec.state.dim)]
        for part in said[:2]:
            assert ((part >= 0) & (part <= 1)).all()
        some = judge.read(take_rows(shown, ORDER), None if led is None else led[ORDER])
        judge.save_pretrained(tmp_path)
        again = load_pretrained_judge(tmp_path)
        assert (again.spec, again.rule, again.report) == (judge.spec, judge.rule, judge.report)
        for whole, rows, loaded in zip(said, some, again.read(shown, led), strict=True):
            np.testing.assert_allclose(rows, whole[ORDER], atol=1e-5)
            np.testing.assert_array_equal(loaded, whole)


def walked(seed: int, steps: int) -> Trajectory:
    rng = np.random.default_rng(seed)

    def draw(*size: int) -> NDArray[np.float32]:
        return rng.uniform(0, 1, size).astype(np.float32)

    done = np.arange(steps + 1) >= (steps if seed % 2 else steps + 1)
    return Trajectory(draw(steps + 1, 4), draw(steps, 4), done, draw(steps + 1).round(4))


@pytest.mark.parametrize("name", sorted(set(METRICS) - set(RANKED)))
def test_a_metric_of_one_episode_is_the_same_among_others_and_from_disk(
    name: str, tmp_path: Path
) -> None:
    metric = METRICS.get(name)
    walks = (walked(0, 5), walked(1, 3), walked(2, 1), walked(3, 0))
    errors = (None, None, "broke off", None)
    batch = RolloutBatch("p", "imagination", tuple(range(4)), walks, errors, 6, (0, 1))
    values = batch.outcomes(name)
    write_result(tmp_path, Job("p", "imagination"), {}, batch)
    again = read_result(tmp_path, Job("p", "imagination"))
    assert again is not None
    np.testing.assert_allclose(again.outcomes(name), values)
    low, high = metric.bounds
    for start, (walk, error) in enumerate(zip(walks, errors, strict=True)):
        alone = metric(walk, Episode(start, 6, error, (0, 1)))
        np.testing.assert_equal(alone, values[start])
        assert math.isnan(alone) or (
            low <= alone <= high and (not metric.binary or alone in (0, 1))
        )
    assert np.isfinite(values[:2]).all()


@pytest.mark.parametrize("name", sorted(set(METRICS) - set(RANKED)))
def test_a_metric_says_nan_where_an_episode_that_never_began_does_not_tell(name: str) -> None:
    none = np.zeros((0, 4), np.float32)
    never = Trajectory(none, none, np.zeros(0, bool))
    value = METRICS.get(name)(never, Episode(0, None, "broke off"))
    assert (value == 0.0) if name == SUCCESS else math.isnan(value)
