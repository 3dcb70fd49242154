"""A table in a file, CSV or (extra `parquet`) Parquet, as titled columns; every sentence about it names file, column and place.

CSV: UTF-8, one header line; comma, semicolon or tab, whichever makes most columns. An empty cell, NA, NaN, null
and None are missing.
"""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.names import missing, suggestion
from mlforhpc.core.space import FloatArray, Value

Cell: TypeAlias = Value | None
ABSENT = frozenset(("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Columns of one length.

    Attributes:
        file: where it came from.
        columns: title -> cells; a missing one is None; those of a CSV are text.
        places: where each row stands in the file: "line 2", "row 1".
    """

    file: Path
    columns: Mapping[str, Sequence[Cell]]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def titles(self) -> list[str]:
        return list(self.columns)

    def cells(self, title: str, wanted: str = "a column") -> Sequence[Cell]:
        """The cells of a column; an unknown title gets a suggestion."""
        if title not in self.columns:
            raise UsageError(
                f"'{self.file}' has no column '{title}' ({wanted}); it has {_listed(self.titles)}.{suggestion(title, self.titles)}"
            )
        return self.columns[title]

    def numbers(self, title: str, wanted: str = "a column of numbers") -> FloatArray:
        """The column as numbers (n,), NaN where a cell is missing."""
        values = np.empty(len(self))
        for i, cell in enumerate(self.cells(title, wanted)):
            number = as_number(cell)
            if number is None:
                raise self.wrong(title, i, "a number")
            values[i] = number
        return values

    def are_numbers(self, title: str) -> bool:
        """Whether at least half of the column's cells that are there are numbers: the others are then mistakes, not options."""
        found = [as_number(cell) is not None for cell in self.cells(title) if cell is not None]
        return 2 * sum(found) >= len(found)

    def are_whole(self, title: str) -> bool:
        """Whether every cell is written as a whole number."""
        return all(isinstance(cell, int) or (isinstance(cell, str) and re.fullmatch(r"[-+]?\d+", cell)) for cell in self.cells(title))

    def wrong(self, title: str, row: int, wanted: str, way_out: str = "") -> UsageError:
        """The error for a cell that is not what was wanted."""
        cell = self.columns[title][row]
        found = "nothing" if cell is None else repr(cell)
        return UsageError(f"'{self.file}', {self.places[row]}, column '{title}': wanted {wanted}, found {found}. {way_out}".rstrip())


def read_sheet(path: str | Path) -> Sheet:
    """The table in a file.

    Raises:
        UsageError: no such file, another format, no header, no rows, a title twice, a line that is too short or too long.
        MissingExtra: Parquet without the extra `parquet`.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"A table was to be read from '{file}', but there is no such file.")
    if file.suffix not in (".csv", ".tsv", ".parquet"):
        raise UsageError(f"A table ends with .csv, .tsv or .parquet, found '{file.name}'. Save it as one of these.")
    try:
        titles, rows, places = _parquet(file) if file.suffix == ".parquet" else _csv(file)
    except UnicodeDecodeError as error:
        raise UsageError(f"'{file}' is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
    except (OSError, csv.Error) as error:
        raise UsageError(f"'{file}' cannot be read: {error}.") from None
    if not rows:
        raise UsageError(f"'{file}' has no rows{' below its header' if titles else ''}; a table has one row a run.")
    twice = next((title for title in titles if title and titles.count(title) > 1), None)
    if twice:
        raise UsageError(f"'{file}' has the column '{twice}' twice; rename one of them.")
    return Sheet(file=file, columns={title: [row[j] for row in rows] for j, title in enumerate(titles) if title}, places=places)


def write_sheet(path: str | Path, titles: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a table beside `path`, then rename; .csv or .parquet."""
    file = Path(path)
    part = file.with_name(f".{file.name}.part")
    table = list(rows)
    try:
        if file.suffix == ".csv":
            with part.open("w", newline="", encoding="utf-8") as target:
                csv.writer(target).writerows([titles, *table])
        elif file.suffix == ".parquet":
            arrow, parquet = _arrow("Writing Parquet")
            parquet.write_table(arrow.table({title: [row[j] for row in table] for j, title in enumerate(titles)}), part)
        else:
            raise UsageError(f"A table is written to a file that ends with .csv or .parquet, found '{file.name}'.")
        part.replace(file)
    except OSError as error:
        raise UsageError(f"'{file}' cannot be written ({error.strerror}); choose another place.") from None
    finally:
        part.unlink(missing_ok=True)


def as_number(cell: Cell) -> float | None:
    """The number in a cell, NaN where it is missing, None if it is no number."""
    if cell is None:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def natural(title: str) -> list[tuple[int, float, str]]:
    """Orders "p2" before "p10"."""
    parts = re.split(r"(\d+(?:\.\d+)?)", title)
    return [(1, float(part), "") if i % 2 else (0, 0.0, part) for i, part in enumerate(parts)]


def _csv(file: Path) -> tuple[list[str], list[list[Cell]], list[str]]:
    text = file.read_text(encoding="utf-8-sig")
    first = next(iter(text.splitlines()), "")
    delimiter = max(",;\t", key=lambda d: len(next(csv.reader([first], delimiter=d), [])))
    lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    titles = [title.strip() for title in next(lines, [])]
    rows: list[list[Cell]] = []
    places = []
    begun = lines.line_num
    for row in lines:
        begun, place = lines.line_num, begun + 1
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(titles):
            raise UsageError(f"'{file}', line {place}: wanted {len(titles)} cells as in the header, found {len(row)}.")
        rows.append([_present(cell) for cell in row])
        places.append(f"line {place}")
    return titles, rows, places


def _parquet(file: Path) -> tuple[list[str], list[list[Cell]], list[str]]:
    arrow, parquet = _arrow("Reading Parquet")
    try:
        table = parquet.read_table(file)
    except arrow.ArrowException as error:
        raise UsageError(f"'{file}' cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    columns = [[_plain(value) for value in column.to_pylist()] for column in table.columns]
    rows: list[list[Cell]] = [list(cells) for cells in zip(*columns, strict=True)]
    return list(table.column_names), rows, [f"row {i + 1}" for i in range(len(rows))]


def _arrow(wanting: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise missing(wanting, error.name or "pyarrow") from error


def _present(cell: str) -> str | None:
    text = cell.strip()
    return None if text in ABSENT else text


def _plain(value: object) -> Cell:
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    if isinstance(value, int | float):
        return None if value != value else value
    return _present(str(value))


def _listed(titles: Sequence[str]) -> str:
    return ", ".join(titles[:20]) + (f" and {len(titles) - 20} more" if len(titles) > 20 else "")
