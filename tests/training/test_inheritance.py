"""Sizes of a run that takes over earlier ones: theirs, or a refusal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from train_testing import train
from worldsim_testing import nano_model

from worldsim.config.compose import compose_config, stated_keys
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel, trained_config
from worldsim.training.run_folder import save_tokenizer
from worldsim.training.stages.parents import inherited
from worldsim.training.train_config import TrainConfig, train_config


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on disk that no option of the group `model` describes."""
    folder = Path(tmp_path_factory.mktemp("parent")) / "model"
    model = nano_model()
    WorldModel(
        replace(model.config, recent=5, condition_on_state=False), model.spec
    ).save_pretrained(folder)
    return folder


def composed(*words: str) -> TrainConfig:
    overrides = ["dataset=none", "out=none", *words]
    config = compose_config("train", overrides)
    return train_config(inherited(config, stated_keys(overrides, "model")))


@pytest.mark.parametrize(
    ("words", "stated"),
    [
        ([], set()),
        (["plan=ctm", "seed=1"], set()),
        (["model=small"], {"model"}),
        (
            ["model.condition_on_state=false", "model.dynamics.modes=4"],
            {"model.condition_on_state", "model.dynamics.modes"},
        ),
        (
            ["model.dynamics={scene:false,modes:2}"],
            {"model.dynamics.scene", "model.dynamics.modes"},
        ),
        (["++model.recent=9"], {"model.recent"}),
        (["experiment=pick_place_long"], {"model", "model.dynamics.modes"}),
    ],
)
def test_what_was_said_of_the_model(words: list[str], stated: set[str]) -> None:
    assert stated_keys(words, "model") == stated


def test_unsaid_sizes_are_those_of_the_parent(parent: Path) -> None:
    theirs = trained_config(parent)
    for word in (f"start_from={parent}", f"start_from={parent.parent}"):
        assert composed(word).model == theirs
    default = composed().model
    assert default.recent != theirs.recent and default.denoiser != theirs.denoiser
    further = composed(f"transfer_from={parent}").model
    assert further == replace(theirs, dynamics=default.dynamics)
    assert composed(f"reuse={parent}").model == replace(default, tokenizer=theirs.tokenizer)
    kept = composed(f"reuse={parent}", "dynamics.keep=true").model
    taken = replace(default, tokenizer=theirs.tokenizer)
    assert kept == replace(taken, dynamics=theirs.dynamics)


def test_a_tokenizer_without_a_model_tells_its_sizes(tmp_path: Path) -> None:
    tokenizer = nano_model().tokenizer
    save_tokenizer(tokenizer, tmp_path / "tokenizer")
    assert composed(f"reuse={tmp_path}").model.tokenizer == tokenizer.config
    with pytest.raises(UsageError, match=r"model\.tokenizer\.width"):
        composed(f"reuse={tmp_path}", "model.tokenizer.width=24")


@pytest.mark.parametrize(
    ("option", "words", "named"),
    [
        (
            "start_from",
            ["model.condition_on_state=true"],
            ["model.condition_on_state=true (there false)"],
        ),
        ("start_from", ["model.dynamics.scene=false"], ["model.dynamics.scene"]),
        ("start_from", ["model=small"], ["model.denoiser.width", "model.tokenizer.width"]),
        ("start_from", ["experiment=push_tiny"], ["model.denoiser.width"]),
        ("start_from", ["model.history_sigma=0.1"], ["model.history_sigma"]),
        ("transfer_from", ["model.head.width=9"], ["model.head.width"]),
        ("reuse", ["model.tokenizer.depth=3"], ["model.tokenizer.depth"]),
        ("reuse", ["model.dynamics.modes=3", "dynamics.keep=true"], ["model.dynamics.modes"]),
    ],
)
def test_what_cannot_be_followed_is_refused(
    parent: Path, option: str, words: list[str], named: list[str]
) -> None:
    with pytest.raises(UsageError, match=f"{option}=") as refusal:
        composed(f"{option}={parent}", *words)
    for name in named:
        assert name in str(refusal.value)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("start_from", ["model.recent=9", "model.sink=2"]),
        ("start_from", ["model.memory.name=none", "model.memory.retrieved=2"]),
        ("start_from", ["model.condition_on_state=false"]),
        ("transfer_from", ["model.dynamics.modes=3", "model.recent=9"]),
        ("reuse", ["model=small", "model.tokenizer.width=8", "model.dynamics.modes=3"]),
    ],
)
def test_what_can_be_followed_is(parent: Path, option: str, words: list[str]) -> None:
    if option == "reuse":
        theirs = trained_config(parent).tokenizer
        told = {k: v for k, v in vars(theirs).items() if v is not None}
        words = [*words, *(f"model.tokenizer.{k}={v}" for k, v in told.items())]
    overrides = ["dataset=none", "out=none", f"{option}={parent}", *words]
    config = inherited(compose_config("train", overrides), stated_keys(overrides, "model"))
    for word in words[1:] if option == "reuse" else words:
        key, _, value = word.partition("=")
        assert str(OmegaConf.select(config, key)).lower() == value


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=push_further", "start_from=shipped/push"],
        ["experiment=pick_place_further", "start_from=shipped/pick_place"],
        ["experiment=pick_place_long", "start_from=shipped/pick_place"],
        ["experiment=shuttle_tiny"],
        ["experiment=shuttle_tiny", "start_from=shipped/shuttle", "transfer_from=null"],
        ["experiment=push_plans"],
        ["plan=consistency", "start_from=shipped/push"],
    ],
)
def test_experiments_agree_with_what_they_build_on(words: list[str]) -> None:
    config = composed(*words)
    named = config.start_from or config.transfer_from
    if named is not None:
        theirs = trained_config(named)
        assert (config.model.denoiser, config.model.head) == (theirs.denoiser, theirs.head)


def test_the_command_refuses_before_it_touches_anything(
    parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(tmp_path, out, f"start_from={parent}", "model.condition_on_state=false") == 2
    assert "model.recent" not in (said := capsys.readouterr().err) and "model.denoiser" in said
    assert not out.exists()


def test_a_judge_asks_no_parent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words: Any = (f"start_from={tmp_path / 'gone'}", "stage=judge")
    assert train(tmp_path / "nowhere", tmp_path / "run", *words) == 2
    assert "expected the folder of a data set" in capsys.readouterr().err
