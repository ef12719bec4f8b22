"""What a report shows. The rank command fills these; `html_report` draws them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from worldsim.errors import DataError, UsageError
from worldsim.ranking.report import RankingReport
from worldsim.reporting.film import FilmStyle, write_film
from worldsim.rollout.record import RolloutRecord

FilmKind = Literal["success", "failure", "disagreement"]

Curve = tuple[float | None, ...]
"""One value per step after the start; None where it is unknown."""


@dataclass(frozen=True)
class HorizonCurves:
    """Open-loop quality against truth by step, of one camera.

    Attributes:
        camera: its name.
        model: of the imagined frames.
        copy_last: of repeating the last given frame.
        shuffled: of frames imagined under another episode's actions; may be empty.
        metric: what is measured, and its unit.
    """

    camera: str
    model: Curve
    copy_last: Curve
    shuffled: Curve = ()
    metric: str = "PSNR (dB)"


@dataclass(frozen=True)
class Film:
    """A film to embed.

    Attributes:
        title: such as "expert, start 12".
        caption: what to see in it.
        kind: whether truth and judge agree on success, on failure, or disagree.
        mp4: the file's bytes.
    """

    title: str
    caption: str
    kind: FilmKind
    mp4: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.mp4[4:8] != b"ftyp":
            raise UsageError(f"film {self.title!r} is not an MP4 file")

    @staticmethod
    def of(
        record: RolloutRecord, caption: str, kind: FilmKind, style: FilmStyle | None = None
    ) -> "Film":
        """Compose and encode a rollout."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            write_film(path, record, style)
            return Film(record.title, caption, kind, path.read_bytes())

    @staticmethod
    def read(path: Path, title: str, caption: str, kind: FilmKind) -> "Film":
        """A film written before.

        Raises:
            DataError: there is no such file.
        """
        try:
            return Film(title, caption, kind, path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"no such film: {path}") from error


@dataclass(frozen=True)
class Section:
    """One ranking on the page.

    Attributes:
        title: such as "Model trained from scratch".
        ranking: what `rank` returned.
        summary: one or two sentences on the model and the task.
        curves: per-camera quality by horizon.
        films: side by side, in the order to show.
        facts: further {label: value} lines about model, data and time.
        notes: sentences to stand under the curves.
    """

    title: str
    ranking: RankingReport
    summary: str = ""
    curves: tuple[HorizonCurves, ...] = ()
    films: tuple[Film, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """A whole page.

    Attributes:
        title: of the page.
        sections: one or more rankings.
        command: the command line that made it.
        config_hash: of the resolved configuration.
        versions: {package: version}.
        facts: further {label: value} lines about the machine or the run.
    """

    title: str
    sections: tuple[Section, ...]
    command: str = ""
    config_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sections:
            raise UsageError("a report needs at least one ranking")
