"""What a saved surrogate answers: points in, from words or a table; means, intervals and `inside` out, as rows or for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Prediction, Surrogate
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, FloatArray, Space, Value
from mlforhpc.report import numbers
from mlforhpc.store.sheet import Cell, as_number, read_sheet, write_sheet

SHOWN_ELEMENTS = 9
SHOWN_POINTS = 20
INSIDE = "inside the data"
OUTSIDE = "outside the data: do not believe the interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where to ask.

    Attributes:
        x: in physical units (n, d).
        titles, rows: what the points were given with: the parameters, or all columns of their table.
    """

    x: FloatArray
    titles: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


def point_at(space: Space, words: Sequence[str]) -> Points:
    """One point, from "name=value" for each parameter."""
    point: dict[str, Value] = {}
    for word in words:
        name, given, value = (part.strip() for part in word.partition("="))
        if not given or not name or not value:
            raise UsageError(f"A point is spelt --at NAME=VALUE for each of {', '.join(space.names)}; found '{word}'.")
        if name in point:
            raise UsageError(f"Parameter '{name}' was given twice, as {point[name]} and as {value}.")
        point[name] = _value(space, name, value)
    row = space.row(point)
    return Points(x=row[None], titles=space.names, rows=[list(space.point(row).values())])


def points_in(space: Space, path: Path) -> Points:
    """The points of a CSV or Parquet file: a column for each parameter; what else it has goes along."""
    sheet = read_sheet(path)
    columns = {name: sheet.cells(name, "a parameter") for name in space.names}
    x = np.empty((len(sheet), len(space)))
    for i, place in enumerate(sheet.places):
        cells = {name: columns[name][i] for name in space.names}
        lacking = next((name for name, cell in cells.items() if cell is None), None)
        if lacking:
            raise sheet.wrong(lacking, i, "a value")
        point: dict[str, Value] = {name: _value(space, name, cell) for name, cell in cells.items()}
        try:
            x[i] = space.row(point)
        except UsageError as error:
            raise type(error)(f"'{path}', {place}: {error}") from None
    rows = list(zip(*sheet.columns.values(), strict=True))
    return Points(x=x, titles=tuple(sheet.titles), rows=rows)


def _value(space: Space, name: str, cell: Cell) -> Value:
    """A number where one is wanted and can be read; text else, which the space refuses with a sentence."""
    number = as_number(cell)
    return str(cell) if number is None or isinstance(space.parameters.get(name), Choice) else number


def write(path: Path, points: Points, outputs: Sequence[Output], p: Prediction) -> None:
    """A table: what the points were given with, then y, y.lower, y.upper of every number, and whether the point is inside."""
    answers: dict[str, list[Cell]] = {}
    for output in outputs:
        for index in np.ndindex(output.shape):
            name = f"{output.name}[{','.join(map(str, index))}]" if index else output.name
            for part, suffix in ((p.mean, ""), (p.lower, ".lower"), (p.upper, ".upper")):
                answers[f"{name}{suffix}"] = [float(v) for v in part[output.name][(slice(None), *index)]]
    answers["inside"] = ["true" if inside else "false" for inside in p.inside]
    titles = [title if title not in points.titles else f"surrogate.{title}" for title in answers]
    columns = list(answers.values())
    write_sheet(path, [*points.titles, *titles], [[*row, *(column[i] for column in columns)] for i, row in enumerate(points.rows)])


def as_json(surrogate: Surrogate, points: Points, p: Prediction) -> dict[str, Any]:
    """What `--json` prints."""
    answers = [
        {
            "point": surrogate.space.point(x),
            "inside": bool(p.inside[i]),
            "outputs": {
                o.name: {end: part[o.name][i].tolist() for end, part in (("mean", p.mean), ("lower", p.lower), ("upper", p.upper))}
                for o in surrogate.outputs
            },
        }
        for i, x in enumerate(points.x)
    ]
    return {"surrogate": surrogate.version, "coverage": p.coverage, "of": p.of, "joint": p.joint, "answers": answers}


def kind(p: Prediction) -> str:
    """The interval in words: "90 % interval for a run"."""
    return f"{numbers.percent(p.coverage)} {'simultaneous ' if p.joint else ''}interval for {'a run' if p.of == 'run' else 'the mean'}"


def one(outputs: Sequence[Output], p: Prediction, i: int) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Rows (output, answer with its unit, interval) of one point, and a sentence for each array that is not shown whole."""
    rows, sentences = [], []
    for o in outputs:
        unit = "" if o.unit == "1" else f" {o.unit}"
        every = list(np.ndindex(o.shape))
        shown = [every[k] for k in np.unique(np.linspace(0, len(every) - 1, SHOWN_ELEMENTS).astype(int))]
        for index in shown if len(every) > len(shown) else every:
            name = f"{o.name}[{','.join(map(str, index))}]" if index else o.name
            mean, lower, upper = (float(part[o.name][(i, *index)]) for part in (p.mean, p.lower, p.upper))
            value, low, high = (_number(v, mean, upper - lower) for v in (mean, lower, upper))
            rows.append((name, f"{value}{unit}", f"[{low}, {high}]"))
        if len(every) > len(shown):
            sentences.append(f"{o.name} has {len(every)} numbers, {len(shown)} are shown; --json or --output FILE gives all.")
    return rows, sentences


def many(points: Points, outputs: Sequence[Output], space: Space, p: Prediction) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of several points: parameters, numbers with intervals (of arrays their mean), inside."""
    rows = []
    for i, x in enumerate(points.x[:SHOWN_POINTS]):
        cells = [f"{v:.6g}" if isinstance(v, float) else str(v) for v in space.point(x).values()]
        for o in outputs:
            mean, lower, upper = (float(np.mean(part[o.name][i])) for part in (p.mean, p.lower, p.upper))
            value, low, high = (_number(v, mean, upper - lower) for v in (mean, lower, upper))
            cells.append(f"{value}\n[{low}, {high}]" if o.shape == () else f"mean {value}")
        rows.append([*cells, "inside" if p.inside[i] else "OUTSIDE"])
    titles = [name if unit == "1" else f"{name} ({unit})" for name, unit in _units(space, outputs).items()]
    return [*titles, "data"], rows


def _units(space: Space, outputs: Sequence[Output]) -> Mapping[str, str]:
    return {name: p.unit for name, p in space.parameters.items()} | {o.name: o.unit for o in outputs}


def _number(value: float, mean: float, width: float) -> str:
    """With the digits that the interval's width leaves a meaning: two of the width, at least three of the value."""
    digits = 3
    if width > 0 and mean != 0 and math.isfinite(width):
        digits = min(max(3, math.ceil(math.log10(abs(mean) / width)) + 2), 8)
    return numbers.number(value, digits)


Of = Literal["run", "mean"]
