"""What holds for every row of every registry: shapes, equal results again, saved and loaded, rows
that do not depend on each other, and unknown names.

A row is tried in the first world in which it can be built: an arm over a table, or a room.
Backbones and policies have suites of their own too (`test_denoiser_contract`, and
`test_policy_contract`).
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagination_testing import nano_judge
from numpy.typing import NDArray
from torch import Tensor
from toy_room_data import SPEC as ROOM
from toy_room_data import rig as room_rig
from worldsim_testing import nano_spec, nano_start

from worldsim.cameras.projection import PROJECTIONS, pixel_grid, whole_sphere_intrinsics
from worldsim.errors import UsageError
from worldsim.judge.judge import JUDGES, Judge, ObservedFrame, load_pretrained_judge
from worldsim.memory.view import MemoryView
from worldsim.models.behaviour import BEHAVIOURS
from worldsim.models.conditioners.base import ConditionerList, RigTensors, registered_conditioners
from worldsim.models.denoisers.base import Denoiser, DenoiserConfig, DenoiserShape
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.denoisers.registry import DENOISERS, build_denoiser
from worldsim.models.dynamics.base import DYNAMICS, Dynamics, DynamicsConfig, build_dynamics
from worldsim.models.tokenizers.base import TOKENIZERS, Tokenizer, TokenizerConfig, build_tokenizer
from worldsim.models.weights import load_weights, save_weights
from worldsim.models.world_model import WorldModelConfig
from worldsim.policies.base import POLICIES
from worldsim.policies.pool import register_policies
from worldsim.registry import Registry
from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.metrics import METRICS, SUCCESS
from worldsim.rollout.trajectory import Episode, Trajectory
from worldsim.sampling.context import new_context, take_rows
from worldsim.spec import END_EFFECTOR, EQUIRECTANGULAR, PINHOLE, WorldSpec
from worldsim.training.losses.distillation import DISTILLATIONS
from worldsim.training.losses.noise_levels import NOISE_POLICIES
from worldsim.training.losses.objective import LOSS_MASKS
from worldsim.training.run_folder import load_tokenizer, save_tokenizer

WorldModelConfig()  # looks its names up, and so files every row of theirs
register_policies()

ROWS = 4
ORDER = [2, 0]
"""Some of them, in another order."""
BUILT = {"width": 8, "depth": 1}
CONDITIONERS = registered_conditioners()
REGISTRIES: tuple[Registry[Any], ...] = (
    PROJECTIONS,
    CONDITIONERS,
    DENOISERS,
    DYNAMICS,
    TOKENIZERS,
    JUDGES,
    METRICS,
    POLICIES,
    BEHAVIOURS,
    LOSS_MASKS,
    NOISE_POLICIES,
    DISTILLATIONS,
)
# MEMORY: its registry joins REGISTRIES, and its rows a section below.
CAMERAS: dict[str, Callable[[int, int], Tensor]] = {
    PINHOLE: lambda height, width: torch.tensor(
        [[width, 0, 0.4 * width], [0, 1.1 * width, 0.6 * height], [0, 0, 1.0]]
    ),
    EQUIRECTANGULAR: whole_sphere_intrinsics,
}
"""K of an image, by projection; a new row names one here."""
JUDGED: dict[str, Callable[[], Judge]] = {"learned": nano_judge}
"""A judge of the nano world, by kind; a new row names one here."""


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_an_unknown_name_is_refused_with_the_nearest(registry: Registry[Any]) -> None:
    assert list(registry)
    for name in registry:
        with pytest.raises(UsageError, match=f"unknown {registry.kind} '{name}_'.*Did you mean '"):
            registry.get(f"{name}_")
        with pytest.raises(ValueError, match="registered twice"):
            registry.register(name)(registry.get(name))


@dataclass(frozen=True)
class Case:
    """States and steps of a world, `ROWS` of them, two frames each."""

    spec: WorldSpec
    agent: Tensor
    objects: Tensor
    action: Tensor
    rig: RigTensors


def table() -> Case:
    start = {name: torch.as_tensor(value) for name, value in nano_start(ROWS).items()}
    agent = start["agent_pos"][:, None].repeat(1, 2, 1)
    agent[:, 1, :2] += 0.02
    rig = RigTensors(start["intrinsics"], start["extrinsics"], start["mounted"], torch.ones(ROWS))
    return Case(nano_spec(), agent, drawn(ROWS, 2, 2) * 0.1, drawn(ROWS, 2, 5).clamp(-1, 1), rig)


def room() -> Case:
    yaw, place = 3.0 * drawn(ROWS, 2, 1), drawn(ROWS, 2, 2)
    one = room_rig()
    tiled = (
        torch.as_tensor(array)[None].expand(ROWS, *array.shape)
        for array in (one.intrinsics, one.extrinsics, one.mounted)
    )
    return Case(
        ROOM,
        torch.cat([place, yaw.cos(), yaw.sin()], dim=-1),
        torch.zeros(ROWS, 2, 0),
        torch.eye(4)[torch.tensor([[1, 2], [2, 3], [3, 0], [0, 1]])],
        RigTensors(*tiled, torch.ones(ROWS)),
    )


def drawn(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(sum(size)))


def shaken(network: torch.nn.Module) -> None:
    """No layer stays at zero, so that every path counts."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=rng)


def dynamics_in_a_world(name: str) -> tuple[Dynamics, Case]:
    for case in (table(), room()):
        try:
            dynamics = build_dynamics(DynamicsConfig(name, **BUILT), case.spec)
        except UsageError:
            continue
        state = dynamics.join(case.agent, case.objects).flatten(0, 1)
        dynamics.fit_scales(state, state, state + 0.1 * drawn(*state.shape))
        shaken(dynamics)
        return dynamics.eval().requires_grad_(False), case
    raise AssertionError(f"no world here in which dynamics {name!r} can be built; add one")


@dataclass(frozen=True)
class Steps:
    """A step of every row."""

    previous: Tensor
    state: Tensor
    action: Tensor
    mask: Tensor

    @staticmethod
    def of(dynamics: Dynamics, case: Case) -> "Steps":
        states = dynamics.join(case.agent, case.objects)
        return Steps(states[:, 0], states[:, 1], case.action[:, 1], torch.ones(ROWS))

    def taken(self, dynamics: Dynamics) -> Tensor:
        return dynamics.step(self.previous, self.state, self.action, self.mask)


@pytest.mark.parametrize("name", sorted(DYNAMICS))
def test_a_step_of_dynamics(name: str, tmp_path: Path) -> None:
    dynamics, case = dynamics_in_a_world(name)
    steps = Steps.of(dynamics, case)
    given = deepcopy(steps)
    after = steps.taken(dynamics)
    assert after.shape == (ROWS, dynamics.dim) and after.isfinite().all()
    assert torch.equal(steps.taken(dynamics), after)
    for field, before in vars(given).items():
        assert torch.equal(getattr(steps, field), before), f"a step changed {field}"
    some = take_rows(steps, ORDER).taken(dynamics)
    torch.testing.assert_close(some, after[ORDER])
    save_weights(dynamics, tmp_path / "weights")
    twin = build_dynamics(dynamics.config, case.spec).eval()
    load_weights(twin, tmp_path / "weights")
    assert torch.equal(steps.taken(twin), after)


@pytest.mark.parametrize("name", sorted(DYNAMICS))
def test_dynamics_do_not_see_an_unknown_action(name: str) -> None:
    dynamics, case = dynamics_in_a_world(name)
    unknown = replace(Steps.of(dynamics, case), mask=torch.zeros(ROWS))
    other = replace(unknown, action=1.0 - unknown.action)
    assert torch.equal(unknown.taken(dynamics), other.taken(dynamics))


@pytest.mark.parametrize("name", sorted(DYNAMICS))
def test_what_dynamics_say_of_a_state(name: str) -> None:
    dynamics, case = dynamics_in_a_world(name)
    states = dynamics.join(case.agent, case.objects)
    agent, objects = dynamics.parts(states)
    assert torch.equal(agent, case.agent) and objects.shape[-1] == dynamics.state_dim
    pose = dynamics.pose(states)
    assert (pose is None) == (not dynamics.carriers)
    if pose is not None:
        turn = pose[..., :3, :3]
        torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand_as(turn))
        assert set(dynamics.carriers) <= {END_EFFECTOR, "agent"}
    if dynamics.learns:
        steps = Steps.of(dynamics, case)
        modes, log_probs = dynamics.modes(steps.previous, steps.state, steps.action, steps.mask)
        assert modes.shape == (ROWS, dynamics.config.modes, dynamics.dim)
        torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(ROWS))


def conditioned(name: str) -> tuple[ConditionerList, Case, Dynamics]:
    for case, dynamics in ((table(), "contact"), (room(), "pose")):
        carried = build_dynamics(DynamicsConfig(dynamics, **BUILT), case.spec)
        try:
            return ConditionerList((name,), case.spec, carried), case, carried
        except UsageError:
            continue
    raise AssertionError(f"no world here in which conditioner {name!r} can be built; add one")


def maps_of(listed: ConditionerList, case: Case, states: Tensor, rows: list[int]) -> Tensor:
    rig = RigTensors(*(part[rows] for part in vars(case.rig).values()))
    before = torch.cat([states[:, :1], states[:, :-1]], dim=1)
    size = (4, 4 * case.spec.cameras[0].width // case.spec.cameras[0].height)
    views = len(case.spec.cameras)
    memory = MemoryView.null(torch.zeros(len(rows), 2, views, 3, *size))
    return listed.maps(case.action[rows], (before[rows], states[rows]), rig, size, memory)


@pytest.mark.parametrize("name", sorted(CONDITIONERS))
def test_maps_of_a_conditioner(name: str) -> None:
    listed, case, dynamics = conditioned(name)
    states = dynamics.join(case.agent, case.objects)
    maps = maps_of(listed, case, states, list(range(ROWS)))
    views = len(case.spec.cameras)
    assert maps.shape[:4] == (ROWS, 2, views, len(listed.channels))
    assert maps.isfinite().all() and maps.abs().max() > 0
    again, _, _ = conditioned(name)
    assert again.channels == listed.channels and len(set(listed.channels)) == len(listed.channels)
    assert torch.equal(maps_of(again, case, states, list(range(ROWS))), maps)
    torch.testing.assert_close(maps_of(listed, case, states, ORDER), maps[ORDER])


def test_no_two_conditioners_share_a_channel() -> None:
    channels = [channel for name in CONDITIONERS for channel in conditioned(name)[0].channels]
    assert len(set(channels)) == len(channels)


def tokenizer(name: str) -> Tokenizer:
    torch.manual_seed(0)
    return build_tokenizer(TokenizerConfig(channels=4, name=name, **BUILT)).eval()


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
@torch.no_grad()
def test_a_tokenizer_there_and_back(name: str, tmp_path: Path) -> None:
    network = tokenizer(name)
    side = 4 * network.spatial_factor
    video = drawn(ROWS, 2, 3, 3, side, 2 * side).clamp(-1, 1)
    latents = network.encode(video)
    assert latents.shape == (ROWS, 2, 3, *network.latent_shape(side, 2 * side))
    rebuilt = network.decode(latents)
    assert rebuilt.shape == video.shape and rebuilt.isfinite().all()
    assert torch.equal(network(video), rebuilt)
    some = network.encode(video[ORDER])
    torch.testing.assert_close(some, latents[ORDER], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network.decode(some), rebuilt[ORDER], atol=1e-5, rtol=1e-4)
    save_tokenizer(network, tmp_path / "tokenizer")
    assert torch.equal(load_tokenizer(tmp_path / "tokenizer")(video), rebuilt)
    if network.spatial_factor > 1:
        with pytest.raises(UsageError, match=f"multiple of {network.spatial_factor}"):
            network.encode(video[..., :-1])


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_a_decoder_can_be_trained_further_alone(name: str) -> None:
    network = tokenizer(name)
    network.requires_grad_(False).decoder.requires_grad_(True)
    side = 2 * network.spatial_factor
    network.decode(network.encode(drawn(1, 3, side, side))).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.decoder.parameters())


SHAPE = DenoiserShape(2, 4, 4, 8, action_dim=5, state_dim=6, map_channels=3)


def denoiser(name: str) -> Denoiser:
    torch.manual_seed(0)
    config = DenoiserConfig(name, width=16, depth=1, cond_width=16, head_dim=16)
    network = build_denoiser(config, SHAPE)
    shaken(network)
    return network.eval().requires_grad_(False)


def conditions() -> Conditioning:
    return Conditioning(
        drawn(ROWS, 3, 5),
        torch.ones(ROWS, 3),
        drawn(ROWS, 3, 6),
        drawn(ROWS, 3, 6) + 0.5,
        drawn(ROWS, 3, 2, 3, 4, 8),
        torch.ones(ROWS, 3, 2),
    )


@pytest.mark.parametrize("name", sorted(DENOISERS))
def test_a_denoiser_goes_on_alike_in_any_batch_and_after_loading(name: str, tmp_path: Path) -> None:
    """Two frames are committed, some rows are kept, and the third frame is what it was."""
    network, cond = denoiser(name), conditions()
    x, sigma = drawn(ROWS, 3, 2, 4, 4, 8), torch.full((ROWS, 3), 0.5)

    def gone_on(network: Denoiser, rows: list[int] | None) -> Tensor:
        context = new_context(ROWS, network.context_shape, (2, 4, 4, 8), sink=1, recent=3)
        network(x[:, :2], sigma[:, :2], cond.frames(0, 2), None, context, write=2)
        context.commit(x[:, :2], sigma[:, :2])
        context = context if rows is None else context.select(rows)
        kept = list(range(ROWS)) if rows is None else rows
        place, last = context.count[:, None], take_rows(cond.frames(2, 3), kept)
        out: Tensor = network(x[kept, 2:], sigma[kept, 2:], last, place, context)
        return out

    whole = gone_on(network, None)
    assert whole.shape == (ROWS, 1, 2, 4, 4, 8) and whole.isfinite().all()
    assert torch.equal(gone_on(network, None), whole)
    torch.testing.assert_close(gone_on(network, ORDER), whole[ORDER], atol=1e-5, rtol=1e-4)
    save_weights(network, tmp_path / "weights")
    twin = denoiser(name)
    torch.nn.init.zeros_(next(twin.parameters()))
    load_weights(twin, tmp_path / "weights")
    assert torch.equal(gone_on(twin, None), whole)


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


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_of_one_episode_is_the_same_among_others_and_from_disk(name: str) -> None:
    metric = METRICS.get(name)
    walks = (walked(0, 5), walked(1, 3), walked(2, 1), walked(3, 0))
    errors = (None, None, "broke off", None)
    batch = RolloutBatch("p", "imagination", tuple(range(4)), walks, errors, 6, (0, 1))
    values = batch.outcomes(name)
    again = RolloutBatch.restore(batch.to_json(), batch.arrays()).outcomes(name)
    np.testing.assert_allclose(again, values)
    low, high = metric.bounds
    for start, (walk, error) in enumerate(zip(walks, errors, strict=True)):
        alone = metric(walk, Episode(start, 6, error, (0, 1)))
        np.testing.assert_equal(alone, values[start])
        assert math.isnan(alone) or (
            low <= alone <= high and (not metric.binary or alone in (0, 1))
        )
    assert np.isfinite(values[:2]).all()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_says_nan_where_an_episode_that_never_began_does_not_tell(name: str) -> None:
    none = np.zeros((0, 4), np.float32)
    never = Trajectory(none, none, np.zeros(0, bool))
    value = METRICS.get(name)(never, Episode(0, None, "broke off"))
    assert (value == 0.0) if name == SUCCESS else math.isnan(value)
