"""Tables of numbers beside films: CSV, NPY, NPZ and Parquet, each column as an array.

Legend: N rows, D numbers of a column.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.records import read_parquet
from worldsim.data.rows import column_array
from worldsim.errors import DataError

SUFFIXES = (".csv", ".npy", ".npz", ".parquet")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file.

    Attributes:
        numbers: {column: `[N, D]`}.
        texts: {column: its first value}.
    """

    numbers: Mapping[str, NDArray[Any]]
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """N."""
        return len(next(iter(self.numbers.values())))


def read_table(path: Path) -> Table:
    """A table by the suffix of its file.

    Raises:
        DataError: it is unreadable, empty, or its columns differ in length.
    """
    readers = {".csv": _csv, ".npy": _numpy, ".npz": _numpy, ".parquet": _parquet}
    table = readers[path.suffix](path)
    lengths = {name: len(values) for name, values in table.numbers.items()}
    if not lengths or not min(lengths.values()):
        raise DataError(f"{path} holds no row of numbers")
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: columns differ in length: {lengths}")
    return table


def _csv(path: Path) -> Table:
    """Columns of a CSV file; without a heading, all of it is the action.

    A column of which any value is no number is text. An empty value is NaN.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not readable CSV ({error})") from error
    if not rows:
        raise DataError(f"{path} is empty")
    heading = not all(map(_is_number, rows[0]))
    names = [name.strip() for name in rows[0]] if heading else []
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}, line {number}: {len(row)} values, expected {len(rows[0])} as in line 1"
            )
    if not heading:
        return Table({"action": np.array([[float(cell) for cell in row] for row in rows])})
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two columns share a name: {names}")
    numbers, texts = {}, {}
    for name, cells in zip(names, zip(*rows[1:], strict=True), strict=False):
        if all(_is_number(cell) or not cell.strip() for cell in cells):
            values = [float(cell) if cell.strip() else np.nan for cell in cells]
            numbers[name] = np.array(values)[:, None]
        elif all(cell.strip().lower() in ("true", "false") for cell in cells):
            values = [cell.strip().lower() == "true" for cell in cells]
            numbers[name] = np.array(values)[:, None]
        else:
            texts[name] = cells[0].strip()
    return Table(numbers, texts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numpy(path: Path) -> Table:
    """An array `[N, D]`, which is the action, or a file of named ones; nothing is unpickled."""
    try:
        loaded = np.load(path, allow_pickle=False)
        named = {"action": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is not a readable array ({error}); save it by numpy.save, as numbers"
        ) from error
    odd = {name: array.dtype for name, array in named.items() if array.dtype.kind not in "fiub"}
    if odd:
        raise DataError(f"{path} should hold numbers, but has {odd}")
    return Table({n: a.reshape(len(a), -1) for n, a in named.items() if a.ndim in (1, 2)})


def _parquet(path: Path) -> Table:
    """Columns of numbers or lists of numbers, and of text."""
    table = read_parquet(path)
    numbers, texts = {}, {}
    for name in table.column_names:
        first = table[name][0].as_py() if len(table) else None
        if isinstance(first, str):
            texts[name] = first
        elif isinstance(first, int | float | bool | list):
            numbers[name] = column_array(table[name], f"{path}, {name}")
    return Table(numbers, texts)
