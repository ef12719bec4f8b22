"""Every option of every command refuses what it cannot be, before any work and by its own name."""

import math
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

import worldsim.cli.settings.check as check_module
from worldsim.cli.commands import COMMANDS
from worldsim.cli.main import main
from worldsim.cli.settings.check import check_options, check_values
from worldsim.config.compose import compose_config
from worldsim.errors import DataError, UsageError

Path_ = tuple[str | int, ...]
NEEDED = {
    "collect": ["out={tmp}/out"],
    "train": ["out={tmp}/out", "dataset={tmp}"],
    "rank": ["out={tmp}/out"],
    "rollout": ["out={tmp}/out", "name=zero"],
    "drift": ["out={tmp}/out", "dataset={tmp}"],
    "play": ["out={tmp}/out"],
    "export": ["out={tmp}/out", "source={tmp}"],
    "data": ["root={tmp}"],
    "scene": ["out={tmp}/out"],
    "doctor": [],
    "revisit": ["out={tmp}/out", "model=shipped/push"],
}
OTHER_GROUPS = [
    ("collect", ["env=fetch_push"]),
    ("rank", ["env=gymnasium", "env.id=Pusher-v5", "policy=openpi_droid"]),
    ("rollout", ["env=null", "policy=remote", "name=remote"]),
    (
        "train",
        [
            "plan=dmd",
            "start_from=shipped/push",
            "trainer=gpu",
            "trainer.accelerator=cpu",
            "policy_training=reach",
            "judge=long",
        ],
    ),
]
WRONG: dict[type, list[Any]] = {
    bool: [None, "abc", 1, "", 1.5, [], {}],
    int: [None, -1, 1.5, math.nan, 10**30, "abc", "", True, [], {}, math.inf],
    float: [None, -1.0, math.nan, math.inf, "abc", "", True, [], {}, -math.inf],
    str: [None, "", [], {}, True, math.nan],
    list: [None, "abc", {}, "", 3, True],
    dict: [None, "abc", [], "", 3, True],
    type(None): [True, "", -1, [], 10**30, math.nan],
}
MAY_BE_NULL: set[Any] = {"null_policy", "episode", "source_kwargs", "images", "state", "workers"}
MAY_BE_NULL |= {"task", ("env",), ("env", "id")}
MAY_BE_NULL |= {("policy_training", kind) for kind in ("perception", "behaviour", "walking")}
"""Null means something here though the file holds a value."""
MAY_BE_EMPTY = {"summary", "start_from", "perception", "prompt", "task"}


MAY_BE_NONE = {"factors", "state", "proprioception"}
"""Keys of an env that take an empty list."""


def composed(command: str, tmp: Path, *more: str) -> DictConfig:
    return compose_config(command, [*(w.format(tmp=tmp) for w in NEEDED[command]), *more])


def places(node: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """(path, value) of every node below the root."""
    if path:
        yield path, node
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(value, (*path, name))


def changed(plain: Any, path: Path_, value: Any) -> Any:
    copy = deepcopy(plain)
    node = copy
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return copy


def wrong_values(path: Path_, present: Any, place: int) -> list[Any]:
    """Values that must be refused: null and the first of another kind, and two more in turn."""
    name = next(str(part) for part in reversed(path) if isinstance(part, str))
    a_camera, a_part = path[:2] == ("env", "cameras"), path[0] == "mixtures" and len(path) == 3
    wrong = [
        value
        for value in WRONG[type(present)]
        if not (value is None and (path in MAY_BE_NULL or name in MAY_BE_NULL or a_part))
        and not (value == "" and name in MAY_BE_EMPTY)
        and not (type(value) is str and a_camera and len(path) == 3)
        and not (value in (1.5, -1, 10**30) and (name.endswith("_s") or a_camera))
        and not (value == [] and path[:1] == ("env",) and name in MAY_BE_NONE)
        and not (value in (1.5, -1) and name == "ground")
    ]
    turn = place % max(len(wrong) - 3, 1)
    return [*wrong[:3], *wrong[3 + turn : 5 + turn]]


def all_commands() -> list[tuple[str, list[str]]]:
    return [(command, []) for command in NEEDED] + OTHER_GROUPS


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, in which nothing may appear."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.rglob("*")) == []


def test_the_table_holds_every_command() -> None:
    assert set(NEEDED) == set(COMMANDS)


@pytest.mark.parametrize(("command", "more"), all_commands())
def test_every_value_is_held_to_its_kind_and_named(
    command: str, more: list[str], empty: Path
) -> None:
    config = composed(command, empty, *more)
    check_options(command, config)
    plain, missed = OmegaConf.to_container(config, resolve=True), []
    for place, (path, present) in enumerate(places(plain)):
        for value in wrong_values(path, present, place):
            try:
                check_values(command, changed(plain, path, value))
                missed.append(f"{path}: {value!r} was taken")
            except UsageError as error:
                names = [part for part in path if isinstance(part, str)]
                if not all(name in str(error) for name in names):
                    missed.append(f"{path}: {value!r} gives {error}")
    assert missed == []


WORK_BEGAN = "work began"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever passes the checks comes to `run`, which says so."""

    def run(config: DictConfig) -> None:
        raise DataError(WORK_BEGAN)

    for command in COMMANDS:
        monkeypatch.setattr(f"worldsim.cli.{command}.run", run)


def told(capsys: pytest.CaptureFixture[str], words: str, tmp: Path) -> tuple[int, str]:
    """Exit code and message of a command with what it needs, and these words."""
    command, *more = words.format(tmp=tmp).split()
    needed = [word.format(tmp=tmp) for word in NEEDED[command]]
    given = {word.split("=")[0] for word in more}
    code = main([command, *(w for w in needed if w.split("=")[0] not in given), *more])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    return code, said


@pytest.mark.parametrize("words", list(NEEDED) + [" ".join([c, *g]) for c, g in OTHER_GROUPS])
def test_what_is_right_begins(
    words: str, no_work: None, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(capsys, words, empty) == (1, f"worldsim: {WORK_BEGAN}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train trainer.batch_size=null", "trainer.batch_size is null; expected a whole number"),
        ("train judge.steps=1.5", "judge.steps is 1.5; expected a whole number"),
        ("train model.recent=0", "model.recent is 0; expected a whole number from 1"),
        (
            "train plan.noise.name=contxt",
            "unknown plan.noise.name 'contxt'. Did you mean 'context'",
        ),
        ("train stage=wrld", "unknown stage 'wrld'. Did you mean 'world'"),
        ("train trainer.precision=16", "unknown trainer.precision '16'"),
        ("train trainer.loggers=[tensorbord]", "Did you mean 'tensorboard'"),
        ("train dataset={tmp}/none", "dataset is '{tmp}/none'; expected the folder of a data set"),
        ("train start_from={tmp}/none/deep", "start_from: "),
        ("train reuse={tmp}", "reuse: "),
        ("train dynamics.mirror=[z]", "unknown dynamics.mirror[0] 'z'"),
        ("train plan.matching.least=0.99", "plan.matching: least is 0.99"),
        ("train plan.rollout.chunk=12", "plan: length is 12; rollout.chunk=12 needs 13 or more"),
        ("train image_size=[32,40]", "32x40"),
        ("train +surprise=1", "unknown key 'surprise'"),
        ("train trainer.betas=[0.9]", "trainer.betas is [0.9]; expected a list of 2"),
        ("train policy_training.behaviour.start_from=nothing", "start_from"),
        ("collect seed=-1", "seed is -1; expected a whole number from 0"),
        ("collect seed=4294967296", "seed is 4294967296; expected"),
        ("collect seed=true", "seed is true; expected a whole number"),
        ("collect out=", "out is ''; expected a folder to write"),
        ("collect mixture=scriptd", "Did you mean 'scripted'"),
        ("collect mixtures.play.play.policy=plai", "unknown mixtures.play.play.policy 'plai'"),
        (
            "collect mixtures.scripted.noisy.dials.noise=[-1,0]",
            "mixtures.scripted.noisy.dials.noise",
        ),
        ("collect +mixtures.scripted.noisy.dials.lag=[0,2]", "dials.lag is 0.74; expected a whole"),
        ("collect +mixtures.scripted.noisy.dials.nois=[0,2]", "Did you mean 'noise'"),
        ("collect env.image_size=4", "env.image_size is 4; expected a whole number from 8"),
        ("collect env.factors=lightning", "env.factors: unknown factor 'lightning'"),
        ("collect +factors.object_siz=[1.0]", "factors: unknown factor 'object_siz'"),
        ("collect +env.camera=1", "unknown key in env 'camera'"),
        ("collect env=null", "env.id"),
        ("rank report.also=[{tmp}/none]", "report.also[0] is '{tmp}/none'; expected a folder"),
        ("rank +policy.policies.expert.speed=2", "policy.policies.expert.speed is 2.0; expected"),
        ("rank policy.policies.bc_1.checkpoint=push/bc_9", "policy.policies.bc_1.checkpoint"),
        ("rank +groups.bc_9=mine", "unknown policy in groups 'bc_9'"),
        ("rank starts.split=vall", "unknown starts.split 'vall'. Did you mean 'val'"),
        ("rank device=cuda:99", "device: "),
        ("rollout name=expertt", "Did you mean 'expert'"),
        ("drift dataset={tmp}/none", "dataset is "),
        ("drift episodes=0", "episodes is 0; expected 1 or more"),
        ("drift sampler.kind=auto", "Known: autoregressive, full_sequence, rolling"),
        ("play sampler.steps=9", "sampler.steps is 9; expected a whole number from 1 to 8"),
        ("play model=shipped/pusch", "model: no shipped model"),
        ("play judge={tmp}", "judge: "),
        ("play host=", "host is ''"),
        ("export speed=0", "speed is 0.0; expected a number above 0"),
        ("export format=avi", "unknown format 'avi'"),
        ("export source={tmp}/none", "source is "),
        ("data action=merge out={tmp}/new roots=[{tmp}]", "roots=[FOLDER,FOLDER]"),
        ("data action=merge out={tmp} roots=[{tmp},{tmp}]", "is there already"),
        ("data action=preview out={tmp}/a.txt", "expected a file of .png, .gif, .mp4"),
        ("doctor matmul_size=0", "matmul_size is 0; expected a whole number from 1"),
    ],
)
def test_what_is_wrong_is_said_before_work_begins(
    words: str, said: str, no_work: None, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = told(capsys, words, empty)
    assert said.format(tmp=empty) in message and code == 2


@pytest.mark.parametrize("command", [name for name in NEEDED if name != "data"])
def test_a_folder_to_write_is_no_file_and_not_in_one(
    command: str, no_work: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    for out in (taken, taken / "below"):
        code, said = told(capsys, f"{command} out={out}", tmp_path)
        assert code == 2 and f"out: {out} cannot be a folder, since {taken} is a file" in said
    assert told(capsys, f"{command} out={tmp_path}/new/folder", tmp_path)[1].endswith("began\n")
    assert list(tmp_path.iterdir()) == [taken]


def test_a_file_in_place_of_a_folder_to_read(
    no_work: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for words in ("train dataset={}", "drift also=[{}]", "data root={}", "play starts.dataset={}"):
        code, said = told(capsys, words.format(file), tmp_path)
        assert code == 2 and f"{file} is a file; expected a folder" in said


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("train trainer.max_steps=1e3", "trainer.max_steps", 1000),
        ("train trainer.max_steps=null trainer.max_time_s=5", "trainer.max_time_s", 5),
        ("rank null_policy=null", "null_policy", None),
        ("rank env=null max_steps=9", "env", None),
        ("collect +factors.object_size=[1.0]", "factors.object_size", [1.0]),
        ("collect mixtures.scripted.play=null", "mixtures.scripted.play", None),
        ("collect out=.", "out", "."),
    ],
)
def test_unusual_but_right(
    words: str, key: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, *more = words.split()
    config = composed(command, tmp_path, *more)
    check_options(command, config)
    assert OmegaConf.select(config, key) == value


@pytest.mark.parametrize("name", ["20261126", "2026_11_26", "007", "1e3", "true", "1.50"])
def test_names_that_look_like_numbers_stay_as_typed(
    name: str, no_work: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    words = [f"dataset={name}", f"out={name}/out", "reuse=shipped/push", "seed=1_0"]
    config = compose_config("train", words)
    check_options("train", config, words)
    assert config.dataset == name and config.seed == 10
    words = ["name=zero", f"out={name}", f"starts.dataset={name}"]
    config = compose_config("rollout", words)
    check_options("rollout", config, words)
    assert config.starts.dataset == name and config.out == name


def test_a_key_without_a_field_is_held_to_the_kind_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command's file may have keys that its settings do not name yet."""
    plain = OmegaConf.to_container(composed("doctor", tmp_path))
    assert isinstance(plain, dict)
    file = OmegaConf.create({**plain, "new": {"count": 3, "names": [], "free": None}})
    monkeypatch.setattr(check_module, "compose_config", lambda name, overrides: file)
    check_values("doctor", {**plain, "new": {"count": 5, "names": ["a"], "free": 1}})
    for wrong in ({"count": 1.5}, {"names": "a"}, {"count": None}, 3):
        with pytest.raises(UsageError, match="new"):
            check_values("doctor", {**plain, "new": wrong})
