"""The numbers behind a figure, as a CSV link and as a table for short ones."""

from __future__ import annotations

import csv
import io
from urllib.parse import quote

from mlforhpc.core.result import Cell, Figure

SHORT = 40
COLUMNS = ("panel", "series", "x", "y", "lower", "upper")


def rows(figure: Figure) -> list[list[Cell]]:
    """One row a point: panel, series, x (or its category), y, lower, upper."""
    found: list[list[Cell]] = []
    for index, panel in enumerate(figure.panels):
        for one in panel.series:
            for i, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
                name = panel.categories[int(x)] if panel.categories is not None and 0 <= x < len(panel.categories) else x
                ends = [None if side is None else side[i] for side in (one.lower, one.upper)]
                found.append([panel.title or str(index + 1), one.label, name, y, *ends])
    return found


def csv_link(found: list[list[Cell]]) -> str:
    """A data URI; numbers keep six significant digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([f"{value:.6g}" if isinstance(value, float) else _plain(value) for value in row] for row in found)
    return "data:text/csv;charset=utf-8," + quote(text.getvalue(), safe=",;:()+*/ -._")


def _plain(value: Cell) -> str:
    """A text cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return "" if value is None else str(value)
