"""Importing is quick, and works where optional packages are absent."""

import json
import resource
import subprocess
import sys

import pytest

from worldsim.cli.commands import COMMANDS
from worldsim.errors import EXTRAS

MODULES = ("worldsim", "worldsim.cli.main", "worldsim.spec", "worldsim.policies.base")
LONGEST_SECONDS = 2.0

BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(EXTRAS)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_quick() -> None:
    """Processor seconds, the best of three, since the machine may be busy."""
    times = []
    for _ in range(3):
        start = processor_seconds_of_children()
        run_python("import worldsim")
        times.append(processor_seconds_of_children() - start)
    assert min(times) < LONGEST_SECONDS


def test_registering_our_envs_imports_neither_torch_nor_mujoco() -> None:
    said = run_python(
        "import sys, gymnasium, worldsim.envs\n"
        "print([name for name in ('torch', 'mujoco', 'cv2') if name in sys.modules])\n"
        "gymnasium.pprint_registry()"
    )
    heavy, listed = said.split("\n", 1)
    assert heavy == "[]"
    assert "===== worldsim =====" in listed and "worldsim/Imagination-v0" in listed


def test_an_id_that_names_its_module_needs_no_import_of_ours() -> None:
    """gymnasium has loaded no plug-ins since 1.0: `module:id` is its way to find an env."""
    said = run_python(
        "import gymnasium\n"
        "env = gymnasium.make('worldsim.envs:worldsim/TabletopPush-v0', image_size=16)\n"
        "print(env.reset(seed=0)[0]['pixels']['wrist'].shape)"
    )
    assert said.splitlines()[-1] == "(16, 16, 3)"


def processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_of_every_command_imports_no_torch() -> None:
    loaded = run_python(
        "import sys, json\n"
        "from worldsim.cli.help import command_help, overview\n"
        "overview()\n"
        "heavy = {}\n"
        f"for name in {sorted(COMMANDS)}:\n"
        "    command_help(name)\n"
        "    heavy[name] = [m for m in ('torch', 'mujoco', 'av', 'scipy') if m in sys.modules]\n"
        "print(json.dumps(heavy))"
    )
    assert json.loads(loaded) == {name: [] for name in COMMANDS}


@pytest.mark.parametrize("module", [*MODULES, *(f"worldsim.cli.{name}" for name in COMMANDS)])
def test_imports_without_optional_packages(module: str) -> None:
    run_python(BLOCKED + f"import {module}")
