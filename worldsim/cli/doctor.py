"""`worldsim doctor`: one table of what this machine has, and what to do about what it lacks."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from worldsim.cli.console import finish
from worldsim.cli.doctor_checks import Finding, all_findings
from worldsim.config.compose import build
from worldsim.config.limits import OutputFolder, between
from worldsim.config.values import Checked
from worldsim.errors import WorldsimError
from worldsim.files import write_json

DESCRIPTION = """
Reports Python, torch and its device, bf16, threads, the GL backend with a rendered test frame,
video codecs, optional packages and disk space. Exits with 1 if something required fails.
"""

EXAMPLES = """
worldsim doctor
worldsim doctor out=runs/doctor          # also writes doctor.json
MUJOCO_GL=osmesa worldsim doctor         # try another GL backend
"""

COLOURS = {"OK": "green", "absent": "yellow", "FAIL": "red"}


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/doctor.yaml`."""

    out: OutputFolder | None
    matmul_size: Annotated[int, between(1, 16384)]


def run(config: DictConfig) -> None:
    """Print the findings; write `doctor.json` if `out` is given.

    Raises:
        WorldsimError: a required part does not work; names each.
    """
    settings = build(Settings, config)
    findings = all_findings(settings.matmul_size, settings.out or Path("."))
    width = min(Console().width, 80) if Console().is_terminal else 80
    Console(width=width).print(_table(findings))
    if settings.out is not None:
        path = settings.out / "doctor.json"
        write_json(path, [asdict(finding) for finding in findings])
        finish("findings", path)
    failed = [finding.name for finding in findings if finding.status == "FAIL"]
    if failed:
        raise WorldsimError(f"doctor: {', '.join(failed)} failed; see the table for what to do")


def _table(findings: list[Finding]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for finding in findings:
        status = f"[{COLOURS[finding.status]}]{finding.status}[/]"
        table.add_row(finding.name, status, finding.detail.replace("[", r"\["))
    return table
