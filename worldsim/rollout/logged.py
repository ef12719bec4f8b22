"""Success rates logged on a real robot (or anywhere else), read from a CSV file.

Columns `policy, successes, trials`, or `policy, success_rate` and optionally `trials`.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError, UsageError

Float = NDArray[np.float64]

ROUNDING = 5e-4
"""A logged rate may have been rounded to three decimals."""


@dataclass(frozen=True)
class LoggedRate:
    """One policy's logged success rate in [0, 1]; `trials` is None when it was not written."""

    policy: str
    rate: float
    trials: int | None


@dataclass(frozen=True)
class LoggedRates:
    """Logged success rates by policy."""

    rows: tuple[LoggedRate, ...]

    def of(self, names: tuple[str, ...]) -> tuple[Float, Float]:
        """Rates and trials `[P]` of `names`; NaN trials where unknown.

        Raises:
            UsageError: a policy has no logged rate.
        """
        table = {row.policy: row for row in self.rows}
        missing = [name for name in names if name not in table]
        if missing:
            raise UsageError(
                f"no logged success rate for {', '.join(missing)}; the file has "
                f"{', '.join(sorted(table))}. Add rows for them, or rank logged policies alone: "
                f"only=[{','.join(name for name in names if name in table)}]"
            )
        rows = [table[name] for name in names]
        trials = [math.nan if row.trials is None else row.trials for row in rows]
        return np.array([row.rate for row in rows], np.float64), np.array(trials, np.float64)

    def off_lattice(self) -> tuple[str, ...]:
        """Policies whose rate is no multiple of 1 / trials, so one of the two was misreported."""
        return tuple(
            row.policy
            for row in self.rows
            if row.trials is not None
            and abs(row.rate - round(row.rate * row.trials) / row.trials) > ROUNDING + 1e-12
        )


def read_logged_rates(path: Path) -> LoggedRates:
    """Read a CSV file of logged rates.

    Raises:
        DataError: the file is missing, has other columns, or a row is not a rate; names the row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            _check_columns(columns, path)
            rows = [_row(row, f"{path}:{reader.line_num}") for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    if not rows:
        raise DataError(f"{path} has no rows")
    names = [row.policy for row in rows]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: {', '.join(repeated)} occur in more than one row")
    return LoggedRates(tuple(rows))


def _check_columns(columns: list[str], path: Path) -> None:
    counted = {"policy", "successes", "trials"} <= set(columns)
    rated = {"policy", "success_rate"} <= set(columns)
    if not counted and not rated:
        raise DataError(
            f"{path} has columns {columns}; expected policy,successes,trials or "
            "policy,success_rate[,trials]"
        )


def _row(row: dict[str, str | None], where: str) -> LoggedRate:
    text = {key: (value or "").strip() for key, value in row.items() if isinstance(value, str)}
    policy = text.get("policy", "")
    if not policy:
        raise DataError(f"{where}: the policy has no name")
    trials = _count(text["trials"], where) if text.get("trials") else None
    if trials == 0:
        raise DataError(f"{where}: {policy} has zero trials; leave the row out")
    if text.get("successes"):
        if trials is None:
            raise DataError(f"{where}: {policy} has successes but no trials")
        successes = _count(text["successes"], where)
        if successes > trials:
            raise DataError(f"{where}: {policy} has {successes} successes of {trials} trials")
        return LoggedRate(policy, successes / trials, trials)
    rate = _number(text.get("success_rate", ""), where)
    if not 0 <= rate <= 1:
        raise DataError(
            f"{where}: success_rate {rate} of {policy} is not in [0, 1]; write a share, not percent"
        )
    return LoggedRate(policy, rate, trials)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text!r} is not a number") from error
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is not a finite number")
    return value


def _count(text: str, where: str) -> int:
    value = _number(text, where)
    if value < 0 or value != int(value):
        raise DataError(f"{where}: {text!r} is not a whole number of episodes")
    return int(value)
