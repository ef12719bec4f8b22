"""What holds for every registered dynamics, conditioner, tokenizer and denoiser.

Shapes, equal results again, saved and loaded, and rows that do not depend on each other. A row of a
registry is tried in the first world in which it can be built. Backbones have a suite of their own
too (`test_denoiser_contract`).
"""

from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from registry_testing import ORDER, ROWS, Case, drawn, room, shaken, table
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import (
    ConditionerList,
    RecalledShape,
    registered_conditioners,
)
from worldsim.models.conditioners.steps import FrameSteps
from worldsim.models.denoisers.base import (
    DENOISERS,
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    build_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.dynamics.base import DYNAMICS, Dynamics, DynamicsConfig, build_dynamics
from worldsim.models.tokenizers.base import TOKENIZERS, Tokenizer, TokenizerConfig, build_tokenizer
from worldsim.models.weights import load_weights, save_weights
from worldsim.models.world_model import WorldModelConfig
from worldsim.rows import take_rows
from worldsim.sampling.context import new_context
from worldsim.spec import END_EFFECTOR
from worldsim.training.run_folder import load_tokenizer, save_tokenizer

WorldModelConfig()  # looks its names up, and so files every row of theirs
CONDITIONERS = registered_conditioners()


def dynamics_in_a_world(name: str) -> tuple[Dynamics, Case]:
    for case in (table(), room()):
        try:
            dynamics = build_dynamics(DynamicsConfig(name, 8, 1), case.spec)
        except UsageError:
            continue
        state = dynamics.join(case.agent, case.objects).flatten(0, 1)
        wide = torch.cat([state - 9.0, state + 9.0])
        dynamics.fit_scales(wide, state, state + 0.1 * drawn(*state.shape))
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
        carried = build_dynamics(DynamicsConfig(dynamics, 8, 1), case.spec)
        try:
            told = RecalledShape(3, 2)
            return ConditionerList((name,), case.spec, carried, told), case, carried
        except UsageError:
            continue
    raise AssertionError(f"no world here in which conditioner {name!r} can be built; add one")


def maps_of(listed: ConditionerList, case: Case, states: Tensor, rows: list[int]) -> Tensor:
    before, views = torch.cat([states[:, :1], states[:, :-1]], dim=1), len(case.spec.cameras)
    known, seen = torch.ones(ROWS, 2), torch.ones(ROWS, 2, views)
    steps = take_rows(FrameSteps(case.action, known, before, states, seen, case.rig), rows)
    size = (4, 4 * case.spec.cameras[0].width // case.spec.cameras[0].height)
    shape = (ROWS, 2, views, 3, *size)
    nothing = MemoryView.null(torch.zeros(shape))
    told = replace(
        nothing,
        render=drawn(*shape),
        coverage=nothing.coverage + 1.0,
        retrieved=drawn(ROWS, 2, 2, *shape[2:]),
        poses=torch.eye(4).expand(ROWS, 2, 2, views, 4, 4),
        mask=torch.ones(ROWS, 2, 2),
        age=torch.ones(ROWS, 2, 2),
    )
    memory = take_rows(told, rows)
    return listed.maps(steps, size, memory)


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


SIZES = ((8, 1), (16, 1), (32, 1), (32, 2))
"""Width and depth of networks; each is tried at the smallest that it can be built at."""


def tokenizer(name: str) -> Tokenizer:
    torch.manual_seed(0)
    for width, depth in SIZES:
        with suppress(UsageError):
            return build_tokenizer(TokenizerConfig(4, width, depth, name)).eval()
    raise AssertionError(f"tokenizer {name!r} can be built at none of {SIZES}; add a size")


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
    loss = network.decode(network.encode(drawn(1, 3, side, side))).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in network.decoder.parameters())


SHAPE = DenoiserShape(2, 4, 4, 8, action_dim=5, state_dim=6, map_channels=3)


def denoiser(name: str) -> Denoiser:
    torch.manual_seed(0)
    for width, depth in SIZES[1:]:
        with suppress(UsageError):
            config = DenoiserConfig(name, width, depth, cond_width=16, head_dim=16)
            network = build_denoiser(config, SHAPE)
            shaken(network)
            return network.eval().requires_grad_(False)
    raise AssertionError(f"denoiser {name!r} can be built at none of {SIZES}; add a size")


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
