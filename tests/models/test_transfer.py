"""A model of another task begins as the one it is transferred from."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_model, nano_spec, nano_start

from worldsim.errors import SpecMismatchError, UsageError
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.transfer import transferred
from worldsim.models.world_model import WorldModel
from worldsim.spec import VectorSpec, WorldSpec
from worldsim.training.train_config import TrainConfig, train_config

FRAMES = 3


def other_world() -> WorldSpec:
    """The nano world with a bead, before the cube, and a lid's angle."""
    state = VectorSpec(
        ("bead_x", "bead_y", "object_x", "object_y", "lid"), ("m", "m", "m", "m", "rad")
    )
    return replace(nano_spec(), state=state)


def conditions(model: WorldModel, state: Tensor) -> Conditioning:
    """Conditions of a short clip in which `state` `[1, T, S]` was recorded."""
    start = {name: torch.as_tensor(value) for name, value in nano_start(1).items()}
    generator = torch.Generator().manual_seed(1)
    action = torch.rand(1, FRAMES, 5, generator=generator) - 0.5
    return model.condition(
        {
            "action": action,
            "action_mask": torch.ones(1, FRAMES),
            "agent_pos": start["agent_pos"][:, None].expand(1, FRAMES, -1),
            "state": state,
            "view_mask": torch.ones(1, FRAMES, model.views),
            "intrinsics": start["intrinsics"],
            "extrinsics": start["extrinsics"],
            "mounted": start["mounted"],
        }
    )


@pytest.mark.parametrize("backbone", ["stnet", "dit", "svd", "wan"])
def test_what_the_source_did_not_know_changes_nothing(backbone: str) -> None:
    source = nano_model(backbone)
    model = transferred(source, other_world(), source.config.dynamics).eval()
    generator = torch.Generator().manual_seed(0)
    cube = 0.05 * torch.rand(1, FRAMES, 2, generator=generator)
    x = torch.randn(1, FRAMES, model.views, *model.latent_shape, generator=generator)
    sigma = torch.tensor([[0.0, 0.4, 1.0]])
    with torch.inference_mode():
        expected = source.denoiser(x, sigma, conditions(source, cube))
        for seed in range(2):
            draws = torch.Generator().manual_seed(seed)
            bead = 0.1 * torch.rand(1, FRAMES, 2, generator=draws)
            lid = torch.rand(1, FRAMES, 1, generator=draws)
            state = torch.cat([bead, cube, lid], dim=-1)
            found = model.denoiser(x, sigma, conditions(model, state))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_shared_readings_are_those_of_the_source() -> None:
    source, spec = nano_model(), other_world()
    model = transferred(source, spec, replace(source.config.dynamics, modes=2)).eval()
    latents = torch.randn(1, 2, model.views, *model.latent_shape)
    with torch.inference_mode():
        ours, theirs = model.head(latents), source.head(latents)
    cube = [spec.state.names.index(name) for name in ("object_x", "object_y")]
    torch.testing.assert_close(ours.state[..., cube], theirs.state)
    torch.testing.assert_close(ours.agent_pos, theirs.agent_pos)
    torch.testing.assert_close(ours.success_logit, theirs.success_logit)
    torch.testing.assert_close(ours.progress, theirs.progress)
    assert ours.state.shape[-1] == 5


def test_other_cameras_are_refused() -> None:
    source, spec = nano_model(), other_world()
    with pytest.raises(SpecMismatchError, match="cameras"):
        transferred(source, replace(spec, cameras=spec.cameras[:2]), source.config.dynamics)


def test_a_run_begins_with_one_model() -> None:
    from worldsim.config.compose import compose_config

    def composed(*words: str) -> TrainConfig:
        return train_config(compose_config("train", ["dataset=none", "out=none", *words]))

    assert composed("transfer_from=shipped/push").transfer_from == "shipped/push"
    with pytest.raises(UsageError, match="one of them"):
        composed("transfer_from=shipped/push", "start_from=shipped/push")
