"""The wheel, built and used away from the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a clean copy of the tracked files, so that no stale build folder leaks in."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        copy_entry(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "-w", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = target.glob("worldsim-*.whl")
    return built


def copy_entry(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_symlink():
        target.symlink_to(origin.readlink())
    elif origin.is_file():
        target.write_bytes(origin.read_bytes())


def expected_files() -> set[str]:
    names = set()
    for top, prefix in (
        ("worldsim", "worldsim"),
        *((name, f"worldsim/{name}") for name in ("models", "envs", "configs")),
    ):
        for path in (ROOT / top).rglob("*"):
            inside = path.relative_to(ROOT / top)
            linked = top == "worldsim" and inside.parts[0] in ("models", "envs", "configs")
            if path.is_file() and not linked and "__pycache__" not in path.parts:
                names.add(f"{prefix}/{inside.as_posix()}")
    return names


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in expected_files() if name not in names} == set()


@pytest.mark.slow
def test_wheel_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Unpacked first on the path, in front of the editable install of this environment."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    named = "worldsim.envs:worldsim/TabletopReach-v0"  # found without an import of ours
    made = f"import gymnasium; gymnasium.make({named!r}).reset(seed=0)"
    where = run("-c", f"{made}; import worldsim.models; print(worldsim.models.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path)
    assert "commands:" in run("-m", "worldsim", "--help")
    assert "matmul_size: 1024" in run("-m", "worldsim", "doctor", "--config")
