"""Records as a flat table, one row a record: what was asked, how it ended, what it cost, and one column per number.

    key simulation version | parameters | settings | fidelity seed outcome cost_s system reason | g[0] g[0].se g[1] ... | checks

A title that is taken gets its group before it ("settings.seed"). Two passes over the store: titles first, rows next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import Record
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.core.store import Store

Cell: TypeAlias = Value | None
Type: TypeAlias = Literal["float", "int", "str"]
COLUMNS_LIMIT = 20_000
_BEFORE, _BETWEEN = ("key", "simulation", "version"), ("fidelity", "seed", "outcome", "cost_s", "system", "reason")
_TYPES: dict[str, Type] = {"fidelity": "float", "seed": "int", "cost_s": "float"}
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Column:
    """One column: where its values come from, what it is called, what it holds."""

    group: str
    name: str
    title: str
    type: Type


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and, read again from the store at each call, rows of cells."""

    columns: tuple[Column, ...]
    store: Store
    simulation: str | None
    count: int

    def rows(self) -> Iterator[list[Cell]]:
        """One list of cells a record, None where it has no such value."""
        for record in islice(self.store.scan(self.simulation), self.count):
            cells = _cells(record)
            yield [_as(column.type, cells.get((column.group, column.name))) for column in self.columns]


def table(store: Store, simulation: str | None = None) -> Table:
    """The table of all records, or of one simulation's."""
    types: dict[tuple[str, str], Type] = {}
    count = 0
    for record in store.scan(simulation):
        count += 1
        for place, value in _cells(record).items():
            types[place] = _wider(types.get(place), value)
        if len(types) > COLUMNS_LIMIT:
            raise UsageError(
                f"A table of at most {COLUMNS_LIMIT} columns was wanted, and record {record.key} of simulation '{record.simulation}' "
                "brings it above. Export one simulation, or read large arrays with store.scan()."
            )
    types.update({("record", name): _TYPES.get(name, "str") for name in (*_BEFORE, *_BETWEEN) if ("record", name) not in types})
    order = {name: i for i, name in enumerate(("before", "parameters", "settings", "between", "outputs", "checks"))}
    places = sorted(types, key=lambda place: order[_section(*place)])
    return Table(_titled(places, types), store, simulation, count)


def _cells(record: Record) -> dict[tuple[str, str], Cell]:
    """(group, name) -> value, in the order of the columns of their group."""
    cells: dict[tuple[str, str], Cell] = {("record", name): getattr(record, name) for name in (*_BEFORE, *_BETWEEN)}
    cells |= {("parameters", name): value for name, value in record.parameters.items()}
    cells |= {("settings", name): value for name, value in record.settings.items()}
    for name, values in record.outputs.items():
        errors = _flat(f"{name}", record.standard_errors.get(name), ".se")
        for title, value in _flat(name, values, "").items():
            cells["outputs", title] = value
            if f"{title}.se" in errors:
                cells["outputs", f"{title}.se"] = errors[f"{title}.se"]
    return cells | {("checks", name): value for name, value in record.checks.items()}


def _flat(name: str, values: FloatArray | None, suffix: str) -> dict[str, float]:
    """Title -> number: name, name[i] or name[i,j]."""
    if values is None:
        return {}
    if values.size > COLUMNS_LIMIT:
        raise UsageError(
            f"Output '{name}' has {values.size} numbers, and a table takes {COLUMNS_LIMIT} columns. Read it with store.scan() instead."
        )
    titles = (f"{name}[{','.join(map(str, index))}]" if index else name for index in np.ndindex(values.shape))
    return {f"{title}{suffix}": value for title, value in zip(titles, values.ravel().tolist(), strict=True)}


def _section(group: str, name: str) -> str:
    return group if group != "record" else "before" if name in _BEFORE else "between"


def _titled(places: list[tuple[str, str]], types: dict[tuple[str, str], Type]) -> tuple[Column, ...]:
    """The record's own columns keep their names; who comes later and finds a name taken says its group."""
    taken = {name for group, name in places if group == "record"}
    columns = []
    for group, name in places:
        title = name if group == "record" or name not in taken else f"{group}.{name}"
        taken.add(title)
        columns.append(Column(group, name, title, types[group, name]))
    return tuple(columns)


def _wider(known: Type | None, value: Cell) -> Type:
    found: Type = "str" if isinstance(value, str) else "int" if isinstance(value, int) and -_INT64 <= value < _INT64 else "float"
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        found = "str"
    if known is None or known == found:
        return found
    return "str" if "str" in (known, found) else "float"


def _as(type: Type, value: Cell) -> Cell:
    if value is None:
        return None
    return str(value) if type == "str" else float(value) if type == "float" else value
