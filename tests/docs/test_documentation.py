"""What the documentation shows is true: snippets run, commands compose, named files exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldsim.cli.commands import COMMANDS
from worldsim.cli.help import command_help
from worldsim.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXPERIMENTS = ROOT / "docs" / "experiments"
INDEX = EXPERIMENTS / "INDEX.md"
EXPERIMENT_PAGES = sorted(set(EXPERIMENTS.glob("*")) - {INDEX})
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^[#\s]*(?:\w+=\S* )*(?:\S*/)?worldsim\s+(.*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#[^)]*)?\)")
TOOL_COMMAND = re.compile(r"^(?:\w+=\S+ )*(?:worldsim \w+|(?:python|bash) scripts/[\w/]+\.\w+)")
INDEX_ROW = re.compile(
    r"^\| (\d{4}-\d\d-\d\d) \| (.+) \| (.+) \| \[.+\]\((\S+)\) \|$", re.MULTILINE
)
REPOSITORY_PATH = re.compile(r"`((?:worldsim|models|envs|configs|scripts|docs|tests)/[\w./-]*)`")


def fences(page: Path, language: str) -> list[str]:
    return [
        body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language
    ]


def commands_in(text: str) -> Iterator[list[str]]:
    """Words of every `worldsim ...` command; lines ending in a backslash are joined."""
    for line in text.replace("\\\n", " ").splitlines():
        found = COMMAND.match(line)
        if found:
            yield shlex.split(found[1], comments=True)


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    """(where, words) of every command in pages, help texts and headers of experiments."""
    for page in PAGES:
        for body in fences(page, "bash"):
            yield from ((page.name, words) for words in commands_in(body))
    for name in COMMANDS:
        examples = command_help(name).split("examples:")[1].split("\n\n")[0]
        yield from ((f"{name} --help", words) for words in commands_in(examples))
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        comments = "\n".join(
            line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
        )
        joined = comments.replace("\\\n#", " ")
        yield from ((path.name, words) for words in commands_in(joined))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        pytest.param(where, list(words), id=f"{where}: {' '.join(words)}")
        for words, where in {tuple(words): where for where, words in documented_commands()}.items()
    ],
)
def test_documented_command_composes(
    where: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if words in (["--help"], ["--version"]):
        return
    assert main([*words, "--config"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("index", range(len(fences(README, "python"))))
def test_readme_snippet_runs(index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(fences(README, "python")[index], f"README snippet {index}", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page: Path) -> None:
    named = REPOSITORY_PATH.findall(page.read_text(encoding="utf-8"))
    paths = [name for name in named if not re.search(r"-v\d+$", name)]  # env ids are no paths
    assert [name for name in paths if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_index_lists_every_experiment_once_and_newest_first() -> None:
    rows = INDEX_ROW.findall(INDEX.read_text(encoding="utf-8"))
    dates = [date for date, _, _, _ in rows]
    assert sorted(name for _, _, _, name in rows) == [page.name for page in EXPERIMENT_PAGES]
    assert dates == sorted(dates, reverse=True)
    assert [name for date, _, _, name in rows if not name.startswith(f"{date}-")] == []


@pytest.mark.parametrize("page", EXPERIMENT_PAGES, ids=lambda page: page.name)
def test_experiment_page_is_short_and_says_how_it_was_done(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    date, question = re.findall(
        r"^- \*\*(?:Date|Question):\*\* (.+(?:\n  .+)*)", text, re.MULTILINE
    )
    row = next(row for row in INDEX_ROW.findall(INDEX.read_text("utf-8")) if row[3] == page.name)
    assert (date, " ".join(question.split())) == row[:2]

    without_fences = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in without_fences.splitlines() if not line.startswith("|")]
    assert len(" ".join(prose).split()) <= 200

    assert "- **Machine:** " in text
    assert re.findall(r"^## (.+)", text, re.MULTILINE) == ["Command", "Figures", "Conclusion"]
    commands = "".join(fences(page, "bash"))
    assert any(TOOL_COMMAND.match(line) for line in commands.splitlines())
    scripts = re.findall(r"\bscripts/[\w/]+\.\w+", commands)
    assert [name for name in scripts if not (ROOT / name).exists()] == []


def test_each_walk_through_the_code_passes_at_most_five_files() -> None:
    text = README.read_text(encoding="utf-8")
    section = text.split("## Where the code is")[1].split("\n## ")[0]
    walks = [part for part in section.split("\n**") if REPOSITORY_PATH.search(part)]
    assert len(walks) == 2
    for walk in walks:
        files = {name for name in REPOSITORY_PATH.findall(walk) if name.endswith(".py")}
        assert 2 <= len(files) <= 5


def test_readme_is_read_in_five_minutes() -> None:
    """Five minutes at 240 words a minute."""
    assert len(README.read_text(encoding="utf-8").split()) < 1200
