"""Low-rank adapters (LoRA) beside a published network: what is trained, kept, and refused."""

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_published_denoisers import (
    BATCH,
    CONFIGS,
    FRAMES,
    PART,
    SHAPE,
    THEIRS,
    clip,
    ours,
    trained,
)

from worldsim.config.compose import build
from worldsim.errors import MissingExtraError, UsageError
from worldsim.models.denoisers.base import build_denoiser
from worldsim.models.published import PublishedConfig
from worldsim.models.weights import load_weights, save_weights


def test_without_peft_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def absent(name: str, *args: Any, **words: Any) -> Any:
        if name.split(".")[0] == "peft":
            raise ModuleNotFoundError("No module named 'peft'", name="peft")
        return plain(name, *args, **words)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'worldsim\[lora\]'"):
        published = PublishedConfig(weights="weights", rank=2)
        build_denoiser(replace(CONFIGS["wan"], published=published), SHAPE)


def test_adapters_and_parts_are_not_asked_for_together_nor_of_a_random_network() -> None:
    with pytest.raises(UsageError, match="published.rank=4 trains adapters alone"):
        PublishedConfig("weights", rank=4, trained=("attn1",))
    for asked in ({"rank": 4}, {"trained": ("attn1",)}):
        with pytest.raises(UsageError, match="without published.weights it is random"):
            build(PublishedConfig, asked)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_adapters_begin_at_nothing_and_are_trained_alone(name: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    THEIRS[name]().save_pretrained(tmp_path / PART[name])
    (x, cond), sigma = clip(), torch.full((BATCH, FRAMES), 0.6)
    plain, adapted = ours(name, tmp_path), ours(name, tmp_path, rank=2)
    told = plain.get_submodule("conditioner").state_dict()
    adapted.get_submodule("conditioner").load_state_dict(told)
    with torch.no_grad():
        torch.testing.assert_close(adapted(x, sigma, cond), plain(x, sigma, cond))
    adapted.freeze()
    of_theirs = {each for each in trained(adapted) if each.startswith("net.")}
    assert of_theirs and all("lora_" in each for each in of_theirs)
    before = {each: weight.clone() for each, weight in adapted.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # one of an adapter's two layers is zero, and so the other's gradient
        optimiser.zero_grad()
        adapted(x, sigma, cond).square().mean().backward()
        optimiser.step()
    moved = {
        each for each, weight in adapted.state_dict().items() if (weight != before[each]).any()
    }
    of_net = {each for each in moved if each.startswith("net.")}
    assert of_net <= of_theirs and {each.split("lora_")[1][0] for each in of_net} == {"A", "B"}
    save_weights(adapted, tmp_path / "weights")
    twin = build_denoiser(adapted.config, SHAPE).eval()
    load_weights(twin, tmp_path / "weights")
    with torch.no_grad():
        assert torch.equal(twin(x, sigma, cond), adapted(x, sigma, cond))
