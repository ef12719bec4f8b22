"""Policies of the user's own code, named in a pool as file.py:Name or module:Name."""

from pathlib import Path

import numpy as np
import pytest
from worldsim_testing import nano_spec

from worldsim.errors import UsageError
from worldsim.evaluation.comparison import Comparison
from worldsim.policies.pool import build_policy

CODE = """
import numpy as np

class Away:
    n_action_steps = 2

    def __init__(self, spec, push=0.5):
        self.width, self.push = spec.action.dim, push

    def reset(self, env_ids, seed):
        pass

    def act(self, observation, env_ids):
        return np.full((len(env_ids), 2, self.width), self.push, np.float32)

def nothing():
    return 3
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return path


def test_a_class_of_a_file_becomes_a_policy(code: Path) -> None:
    policy = build_policy(
        nano_spec(), "away", "python", target=f"{code}:Away", arguments={"push": 0.25}
    )
    assert policy.name == "away" and policy.n_action_steps == 2
    policy.reset([0, 1, 2], 0)
    actions = policy.act({"pixels": {}, "agent_pos": np.zeros((3, 1)), "task": [""] * 3}, [0, 1, 2])
    assert actions.shape == (3, 2, nano_spec().action.dim) and (actions == 0.25).all()


def test_a_class_of_a_module_becomes_a_policy() -> None:
    policy = build_policy(
        nano_spec(), "still", "python", target="worldsim.policies.simple:ZeroPolicy"
    )
    assert policy.name == "still"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("Away", "expected file.py:Name"),
        ("{tmp}/none.py:Away", "no policy file"),
        ("no.such.module:Away", "no module"),
        ("{tmp}/mine.py:Awya", "no class or function 'Awya'"),
        ("{tmp}/mine.py:nothing", "no policy; it needs"),
        ("{tmp}/broken.py:Away", "does not run"),
    ],
)
def test_what_is_no_policy_is_refused(target: str, said: str, code: Path) -> None:
    (code.parent / "broken.py").write_text("raise ValueError('half written')")
    with pytest.raises(UsageError, match=said):
        build_policy(nano_spec(), "mine", "python", target=target.format(tmp=code.parent))


def test_results_of_changed_code_are_not_kept(code: Path, tmp_path: Path) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()
    entry = {"kind": "python", "target": f"{code}:Away"}
    comparison = Comparison({"away": entry}, "env", {}, "model", str(judge))
    before = comparison.digest("away", "simulator")
    assert comparison.digest("away", "simulator") == before
    code.write_text(CODE + "\n# other")
    assert comparison.digest("away", "simulator") != before


def test_results_depend_on_weights_and_not_on_what_is_said_of_them(
    code: Path, tmp_path: Path
) -> None:
    model, judge = tmp_path / "model", tmp_path / "judge"
    for folder in (model, judge):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    entry = {"kind": "python", "target": f"{code}:Away"}
    comparison = Comparison({"away": entry}, "env", {}, str(model), str(judge))
    before = comparison.digest("away", "imagination")
    (model / "validation.json").write_text("measured again")
    (model / "README.md").write_text("told better")
    assert comparison.digest("away", "imagination") == before
    (model / "config.json").write_text('{"width": 2}')
    assert comparison.digest("away", "imagination") != before
