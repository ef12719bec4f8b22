"""Backbones of diffusers, tiny and at random, go the way of ours: trained, imagined, ranked."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from diffusers import WanTransformer3DModel
from gymnasium.utils.env_checker import check_env
from imagination_testing import nano_judge, nano_starts
from rank_testing import rank_config, save_nano_run
from train_testing import train, world_rows
from worldsim_testing import nano_model, nano_spec

from worldsim.cli import rank
from worldsim.config.compose import build, compose_config
from worldsim.data.cache import CachedDataset
from worldsim.data.clips import ClipDataset
from worldsim.envs.imagination import FrameStarts
from worldsim.files import read_json
from worldsim.models.published import PublishedConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.training.loss import PlanConfig, WorldModelLoss

BACKBONES = [pytest.param("svd", marks=pytest.mark.slow), "wan"]

NEEDED = ("tokenizer", "latents", "dynamics", "world")
SHORT = [
    "plan.rollout.start=0",
    "plan.rollout.share=0.5",
    "trainer.max_steps=4",
    "trainer.accumulate=1",
    "tokenizer.max_steps=3",
    "decoder.max_steps=2",
    "validation.films=0",
    "validation.step_counts=[]",
]


def nano(name: str, **published: Any) -> WorldModelConfig:
    composed = compose_config("train", ["dataset=x", "out=x", f"model=nano_{name}"])
    config = build(WorldModelConfig, composed.model, "model")
    settings = replace(config.denoiser, published=PublishedConfig(**published))
    return replace(config, denoiser=settings)


@pytest.mark.parametrize("backbone", ["svd", "wan"])
def test_the_loss_falls(backbone: str, square_data: CachedDataset) -> None:
    """Of diffusion forcing, on one batch with the same noise again and again."""
    torch.manual_seed(0)
    model = WorldModel(nano(backbone), square_data.spec).train()
    model.tokenizer.requires_grad_(False)
    batch = ClipDataset(square_data, 2).batch([0, 5])
    latents = model.encode(batch.pop("pixels"))
    by_channel = latents.transpose(0, 3).flatten(1)
    model.normalizer.fit("latent", by_channel.mean(1), by_channel.std(1))
    batch["latents"], batch["micro_step"] = latents, torch.tensor(0)
    plan = replace(compose_plan(), length=2)
    loss = WorldModelLoss(model, plan, 1.0)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    errors = []
    for _ in range(10):
        made = loss(dict(batch), 0.0, torch.Generator().manual_seed(3))
        optimiser.zero_grad()
        made.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        errors.append(float(made.logs["denoise"]))
    assert errors[-1] < 0.8 * errors[0], errors


def compose_plan() -> PlanConfig:
    composed = compose_config("train", ["dataset=x", "out=x", "plan=diffusion_forcing"])
    return build(PlanConfig, composed.plan, "plan")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["svd", "wan"])
def test_all_stages_of_training(backbone: str, data: Path, tmp_path: Path) -> None:
    """Its own rollouts among them, and a decoder trained on what it imagines."""
    out = tmp_path / "run"
    assert train(data, out, f"model=nano_{backbone}", *SHORT) == 0
    rows = world_rows(out)
    assert any("rollout" in row for row in rows) and any("denoise" in row for row in rows)
    model = WorldModel.from_pretrained(out)
    assert model.config.denoiser.name == backbone
    again = tmp_path / "again"
    model.save_pretrained(again)
    other = WorldModel.from_pretrained(again).state_dict()
    assert all(torch.equal(other[name], weight) for name, weight in model.state_dict().items())


def test_training_begins_with_published_weights_and_leaves_what_is_frozen(
    data: Path, tmp_path: Path
) -> None:
    """And goes on without the folder that they came from."""
    torch.manual_seed(4)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2, "text_dim": 32}
    theirs: Any = WanTransformer3DModel(in_channels=4, out_channels=4, ffn_dim=128, **sizes)
    theirs.save_pretrained(tmp_path / "weights" / "transformer")
    published = f"{{weights: {tmp_path}/weights, trained: [attn1]}}"
    words = ["model=nano_wan", f"model.denoiser.published={published}", "validation.films=0"]
    words += ["model.tokenizer={name: autoencoder, channels: 4, width: 8, depth: 1}"]
    words += ["validation.step_counts=[]", "trainer.max_steps=2"]
    for stage in NEEDED:
        assert train(data, tmp_path / "run", *words, f"stage={stage}") == 0
    (tmp_path / "weights" / "transformer" / "config.json").unlink()
    for stage in NEEDED:
        further = (f"start_from={tmp_path}/run", f"stage={stage}")
        assert train(data, tmp_path / "further", *words, *further) == 0
    before = theirs.state_dict()
    for run in ("run", "further"):
        model = WorldModel.from_pretrained(tmp_path / run)
        assert not model.denoiser.predicts_residual
        kept = model.denoiser.get_submodule("net").state_dict()
        assert kept.keys() == before.keys()
        moved = {name for name, weight in kept.items() if not torch.equal(weight, before[name])}
        assert moved and all("attn1" in name for name in moved)
        before = kept


@pytest.mark.parametrize("backbone", BACKBONES)
def test_gymnasium_finds_nothing_to_complain_about(backbone: str) -> None:
    env = gymnasium.make(
        "worldsim/Imagination-v0",
        model=nano_model(backbone),
        judge=nano_judge(),
        starts=FrameStarts(nano_starts(), nano_spec()),
        sampling_steps=1,
        render_mode="rgb_array",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(infinity|-inf|Box observation space).*")
        check_env(env.unwrapped)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_policies_are_ranked_in_it(backbone: str, tmp_path: Path) -> None:
    save_nano_run(tmp_path / "run", backbone)
    words = ("starts.count=2", "max_steps=3", "films.starts=0")
    rank.run(rank_config(tmp_path / "run", tmp_path / "out", *words))
    ranked = read_json(tmp_path / "out" / "ranking.json")
    assert "pearson" in str(ranked)
