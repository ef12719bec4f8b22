"""Modules of the user's own that register parts: named by the command line, and by it alone."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_room_data import write_room_data
from train_testing import train, world_rows
from worldsim_testing import nano_spec

from worldsim.cli.commands import COMMANDS
from worldsim.cli.main import main
from worldsim.collection.behaviours import Behaviour
from worldsim.collection.recorder import CollectionConfig, _recorder
from worldsim.config.compose import compose_config
from worldsim.errors import UsageError
from worldsim.files import read_yaml
from worldsim.judge.judge import JUDGES, load_pretrained_judge, write_judge
from worldsim.judge.report import JudgeReport, VerdictRule
from worldsim.models.conditioners.base import CONDITIONERS
from worldsim.models.world_model import WorldModel
from worldsim.own_imports import import_parts, parts_in_use

ROOT = Path(__file__).resolve().parents[2]

MINE = """
import os
from pathlib import Path

import numpy as np
import torch
from names import CONDITIONER, JUDGE

from worldsim.judge.judge import JUDGES, Judge, Judgement
from worldsim.models.conditioners.base import Conditioner, register_conditioner

with (Path(__file__).parent / "imports").open("a") as file:
    file.write(f"{os.getpid()}\\n")


@register_conditioner(CONDITIONER)
class FirstAction(Conditioner):
    calibrated = False

    def __init__(self, spec, *, objects):
        super().__init__(spec, objects=objects)
        self.channels = ("first_action",)

    def maps(self, step, memory):
        first = step.action[..., 0][:, :, None, None, None, None]
        return torch.tile(first, (1, 1, len(self.spec.cameras), 1, *step.size))


@JUDGES.register(JUDGE)
class Never(Judge):
    def __init__(self, *parts):
        self.spec, self.rule, self.report, self.env = parts

    def read(self, observation, action):
        never = np.zeros(len(observation.pixels), np.float32)
        return Judgement(never, never, np.zeros((len(never), self.spec.state.dim), np.float32))

    def save_pretrained(self, folder):
        raise NotImplementedError

    @classmethod
    def from_folder(cls, folder, parts):
        return cls(*parts)
"""
POLICY = """
import mine
import numpy as np


class Still:
    n_action_steps, action_kinds = 1, ("discrete",)

    def __init__(self, spec):
        self.width, self.judge = spec.action.dim, mine.JUDGE

    def reset(self, env_ids, seed):
        pass

    def act(self, observation, env_ids):
        return np.zeros((len(env_ids), 1, self.width), np.float32)
"""
QUICK = (
    "stage=all",
    "tokenizer.max_steps=1",
    "trainer.max_steps=1",
    "trainer.accumulate=1",
    "plan.length=4",
    "model.dynamics.name=pose",
    "decoder.streams=0",
    "validation.films=0",
    "validation.swap=false",
    "validation.step_counts=[]",
)
REPORT = JudgeReport(0, 0, 0, 0, None, 0.0, 0, 0, "nobody")


@pytest.fixture(scope="module", autouse=True)
def own_registries() -> Iterator[None]:
    """What is registered here is forgotten afterwards."""
    yield
    CONDITIONERS._entries.pop("first_action", None)
    JUDGES._entries.pop("never", None)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of parts, which imports names beside it, and a policy that imports the parts."""
    folder = Path(tmp_path_factory.mktemp("code"))
    (folder / "names.py").write_text('CONDITIONER, JUDGE = "first_action", "never"\n')
    (folder / "policy.py").write_text(POLICY)
    (folder / "mine.py").write_text(MINE)
    return folder / "mine.py"


@pytest.fixture(scope="module")
def run(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is trained with an own conditioner, and lies with an own judge."""
    root = Path(tmp_path_factory.mktemp("own"))
    data = write_room_data(root / "data", episodes=4, steps=6)
    named = (f"parts=[{code}]", "model.conditioners=[first_action]")
    assert train(data, root / "run", *named, *QUICK) == 0
    (root / "run" / "judge").mkdir()
    model = WorldModel.from_pretrained(root / "run")
    judge = JUDGES.get("never")(model.spec, VerdictRule(), REPORT, None)  # type: ignore[call-arg]
    write_judge(root / "run" / "judge", "never", judge)
    return root / "run"


def processes(code: Path) -> list[str]:
    """By which processes the parts were imported, and how often."""
    return (code.parent / "imports").read_text().split()


def rollout(run: Path, code: Path, out: Path, *overrides: str) -> int:
    mine = f"{{kind: python, target: '{code.parent}/policy.py:Still'}}"
    return main(
        [
            "rollout",
            *("env=null", "policy=remote", f"+policy.policies.mine={mine}", "name=mine"),
            *(f"model={run}", "world=imagination", "max_steps=2", "films.starts=0", f"out={out}"),
            *(f"starts.dataset={run.parent / 'data'}", "starts.split=all", "starts.count=2"),
            *overrides,
        ]
    )


def test_a_model_is_trained_with_a_conditioner_of_an_own_module(run: Path, code: Path) -> None:
    assert {row["step"] for row in world_rows(run)} == {1}
    assert read_yaml(run / "config.yaml")["parts"] == [str(code)]
    model = WorldModel.from_pretrained(run)
    assert type(model.conditioners.rows[0]).__name__ == "FirstAction"
    assert model.conditioners.channels[0] == "first_action"


def test_workers_import_them_and_results_depend_on_their_code(
    run: Path, code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named, before = f"parts=[{code}]", processes(code)
    assert rollout(run, code, tmp_path / "out", named, "workers=1") == 0
    assert parts_in_use() == (str(code),)
    assert len(set(processes(code)) - set(before)) == 1, "one worker"
    assert processes(code)[: len(before)] == before and len(processes(code)) == len(before) + 1
    code.write_text(MINE + "\n# Another version.\n")
    assert rollout(run, code, tmp_path / "out", named) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "rolled out again, as the policy, the code of own parts changed" in said


def test_a_worker_that_records_imports_them(code: Path, tmp_path: Path) -> None:
    still = {"still": Behaviour(1.0, "zero")}
    config = CollectionConfig("worldsim/NoSuchEnv-v0", {}, still, 1)
    failed = _recorder(config, tmp_path, None, [str(code.parent / "none.py")])
    assert isinstance(failed, UsageError) and "no parts file" in str(failed)


def test_nothing_but_the_command_imports_them(
    run: Path,
    code: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for registry, name in ((CONDITIONERS, "first_action"), (JUDGES, "never")):
        rest = {key: entry for key, entry in registry._entries.items() if key != name}
        monkeypatch.setattr(registry, "_entries", rest)
    before = processes(code)
    assert rollout(run, code, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert f"add parts=[{code}] to the command" in said and "'first_action'" in said
    with pytest.raises(UsageError, match=rf"unknown judge 'never'.*parts=\[{code}\]"):
        load_pretrained_judge(run / "judge")
    assert processes(code) == before
    # What a stranger's file says is not passed on as something to type.
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace(str(code), "x;reboot"))
    with pytest.raises(UsageError, match=r"add parts=\[FILE.py\] to the command"):
        WorldModel.from_pretrained(run)
    (run / "config.yaml").write_text(text)


def test_the_example_of_the_page_is_a_part(tmp_path: Path) -> None:
    example = (ROOT / "docs" / "own_parts.md").read_text().split("```python\n")[1].split("```")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CONDITIONERS, "_entries", {})
        (tmp_path / "page.py").write_text(example)
        import_parts([str(tmp_path / "page.py")])
        made = CONDITIONERS.get("first_action")(nano_spec(), objects=False)
    action = torch.arange(12.0).reshape(1, 2, 6)
    step = SimpleNamespace(action=action, size=(2, 4))
    maps = made.maps(step, None)  # type: ignore[arg-type]
    assert made.channels == ("first_action",) and maps.shape == (1, 2, 3, 1, 2, 4)
    assert torch.equal(maps.amax((2, 3, 4, 5)), action[..., 0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{tmp}/mine.py", "as in 'parts=[{tmp}/mine.py]'"),
        ("[{tmp}/none.py]", "no parts file {tmp}/none.py"),
        ("[{tmp}/broken.py]", "parts code {tmp}/broken.py does not run: ZeroDivisionError"),
        ("[{tmp}/needy.py]", "no module 'no_such_module' for parts {tmp}/needy.py"),
        ("[no_such_package.parts]", "no module 'no_such_package' for parts no_such_package.parts"),
    ],
)
def test_modules_that_are_none_are_refused(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_module\n")
    given, said = (text.replace("{tmp}", str(tmp_path)) for text in (given, said))
    assert main(["data", "inspect", f"root={tmp_path}", f"parts={given}"]) == 2
    assert said in capsys.readouterr().err


def test_every_command_that_meets_parts_takes_the_key() -> None:
    for name in set(COMMANDS) - {"doctor"}:
        assert compose_config(name, []).parts == []
