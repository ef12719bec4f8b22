"""Messages about overrides, against a small tree of configs made for the purpose."""

from pathlib import Path

import pytest

from worldsim.config import groups as config_groups
from worldsim.config.compose import build, compose_config
from worldsim.config.groups import group_options, read_command_file
from worldsim.config.overrides import check_overrides, unknown_key
from worldsim.errors import UsageError

COMMAND = """\
# @package _global_
defaults:
  - model: tiny
  - _self_
  - experiment: null

# Where results go.
out: ???
trainer:
  max_steps: 5   # how long
cameras: [a, b]
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "bake.yaml": COMMAND,
        "model/tiny.yaml": "width: 3\n",
        "model/nano.yaml": "width: 1\n",
        "experiment/first.yaml": "# @package _global_\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(config_groups, "_root", lambda: tmp_path)
    return tmp_path


def message(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        check_overrides("bake", list(overrides))
    return str(caught.value)


def key_message(*overrides: str) -> str:
    from omegaconf import OmegaConf

    base = OmegaConf.create(
        {"model": {"width": 3}, "out": "???", "trainer": {"max_steps": 5}, "cameras": ["a"]}
    )
    error = unknown_key("bake", list(overrides), base)
    assert error is not None
    return str(error)


def test_command_file_is_split_into_groups_keys_and_text(tree: Path) -> None:
    file = read_command_file("bake")
    assert file.groups == {"model": "tiny", "experiment": None}
    assert file.keys == ("out", "trainer", "cameras")
    assert file.text.startswith("# Where results go.") and "defaults" not in file.text
    assert group_options("model") == ("nano", "tiny") and group_options("nothing") == ()


def test_unknown_option_lists_the_group(tree: Path) -> None:
    said = message("model=nan")
    assert "option of 'model'" in said and "Did you mean 'nano'?" in said and "tiny" in said


def test_unknown_experiment_is_refused_and_null_accepted(tree: Path) -> None:
    assert "Did you mean 'first'?" in message("experiment=frist")
    check_overrides("bake", ["experiment=null", "model=nano", "~cameras", "+extra=1"])


def test_misspelt_group_means_the_group(tree: Path) -> None:
    said = key_message("modle=tiny")
    assert "Did you mean 'model'?" in said and "Options of 'model': nano, tiny" in said


def test_misspelt_nested_key_names_its_neighbours(tree: Path) -> None:
    said = key_message("model=nano", "trainer.max_step=9")
    assert "Did you mean 'trainer.max_steps'?" in said


def test_added_keys_and_list_elements_are_not_suspected(tree: Path) -> None:
    from omegaconf import OmegaConf

    base = OmegaConf.create({"cameras": ["a"], "out": None})
    assert unknown_key("bake", ["+new=1", "out=a"], base) is None


def test_real_tree_end_to_end() -> None:
    with pytest.raises(UsageError, match="unknown config key 'matmul_sized'"):
        compose_config("doctor", ["matmul_sized=3"])
    with pytest.raises(UsageError, match="unknown config 'docter'.*Did you mean 'doctor'"):
        compose_config("docter", [])


def test_a_key_named_like_a_group_of_another_command_is_a_plain_key() -> None:
    overrides = ["policy=baselines", "model=runs/a b", "judge=null", "out=x"]
    config = compose_config("rank", overrides)
    assert config.model == "runs/a b" and config.judge is None
    assert compose_config("train", ["model=nano"]).model.denoiser.name == "stnet"


def test_build_names_unknown_and_mistyped_keys() -> None:
    from worldsim.cli.doctor import Settings

    with pytest.raises(UsageError, match="unknown key in node 'oute'. Did you mean 'out'"):
        build(Settings, {"oute": 1, "matmul_size": 3}, "node")
    with pytest.raises(UsageError, match="^node.matmul_size is 0; expected a whole number from 1"):
        build(Settings, {"out": None, "matmul_size": 0}, "node")
    with pytest.raises(UsageError, match="^a.json: matmul_size is 0.5; expected a whole number"):
        build(Settings, {"out": None, "matmul_size": 0.5}, file=Path("a.json"))
    with pytest.raises(UsageError, match="^matmul_size is missing"):
        build(Settings, {"out": None})
