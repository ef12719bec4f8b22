"""Policies of the user's own code, named in a pool as file.py:Name or module:Name."""

import sys
from pathlib import Path

import numpy as np
import pytest
from worldsim_testing import nano_spec

from worldsim.errors import UsageError
from worldsim.policies.pool import build_policy
from worldsim.rollout.eval_config import EvalConfig

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
    eval_config = EvalConfig({"away": entry}, "env", {}, "model", str(judge))
    before = eval_config.parts("away", "simulator")
    assert eval_config.parts("away", "simulator") == before
    code.write_text(CODE + "\n# other")
    assert eval_config.parts("away", "simulator") != before


def test_results_depend_on_weights_and_not_on_what_is_said_of_them(
    code: Path, tmp_path: Path
) -> None:
    model, judge = tmp_path / "model", tmp_path / "judge"
    for folder in (model, judge):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    entry = {"kind": "python", "target": f"{code}:Away"}
    eval_config = EvalConfig({"away": entry}, "env", {}, str(model), str(judge))
    before = eval_config.parts("away", "imagination")
    (model / "validation.json").write_text("measured again")
    (model / "README.md").write_text("told better")
    assert eval_config.parts("away", "imagination") == before
    (model / "config.json").write_text('{"width": 2}')
    assert eval_config.parts("away", "imagination") != before


SIBLINGS = {
    "away.py": """
import numpy as np
import lib.net
from helpers import WIDTH

class Away:
    n_action_steps = 1

    def reset(self, env_ids, seed):
        pass

    def act(self, observation, env_ids):
        import late
        from lib import net
        assert net is lib.net
        values = (WIDTH, late.VALUE, net.SUM, 0, 0)
        return np.tile(np.float32(values), (len(env_ids), 1, 1))
""",
    "helpers.py": "from common import VALUE\nWIDTH = VALUE",
    "late.py": "import common\nVALUE = 10 * common.VALUE",
    "lib/__init__.py": "from . import net",
    "lib/net.py": "import common\nfrom helpers import WIDTH\nSUM = common.VALUE + WIDTH",
}


def test_modules_beside_a_policy_file_are_its_own(tmp_path: Path) -> None:
    """Two folders hold modules of the same names; one imports some of them only when it acts."""
    for number, name in enumerate(("one", "two"), start=1):
        for file, text in {**SIBLINGS, "common.py": f"VALUE = {number}"}.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
    before = list(sys.path)
    policies = [
        build_policy(nano_spec(), name, "python", target=f"{tmp_path / name}/away.py:Away")
        for name in ("one", "two")
    ]
    observation = {"pixels": {}, "agent_pos": np.zeros((1, 1)), "task": [""]}
    for number, policy in enumerate(policies, start=1):
        action = policy.act(observation, [0])[0, 0]
        assert action[:3].tolist() == [number, 10 * number, 2 * number]
    assert sys.path == before and not {"helpers", "common", "late"} & set(sys.modules)


def test_a_policy_file_is_read_anew_with_what_it_imports(code: Path) -> None:
    code.write_text("from push import PUSH\n" + CODE.replace("push=0.5", "push=PUSH"))
    helper = code.parent / "push.py"
    pushes = []
    for push in (0.25, 0.125):
        helper.write_text(f"PUSH = {push}\n" + "#" * int(100 * push))
        pushes.append(build_policy(nano_spec(), "away", "python", target=f"{code}:Away").push)  # type: ignore[attr-defined]
    assert pushes == [0.25, 0.125]


def test_code_beside_a_policy_file_hides_nothing_that_is_installed(code: Path) -> None:
    for name in ("worldsim", "torch"):  # a checkout, and a folder without code
        (code.parent / name).mkdir()
    (code.parent / "worldsim" / "__init__.py").write_text("raise ValueError('a second one')")
    code.write_text("import torch, worldsim.spec\nassert torch.zeros(1) == 0\n" + CODE)
    build_policy(nano_spec(), "away", "python", target=f"{code}:Away")
