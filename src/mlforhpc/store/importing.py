"""Runs that somebody already has, as records: the inverse of `export`, and a way in for any table with one row a run.

    runs.csv:  a, b, y, p0 ... p63      read_runs("runs.csv", outputs=["y", "profile=p0..p63"])

Which columns are outputs is said; the rest are parameters, but for outcome, cost_s, fidelity, seed and reason, which mean what they
mean in an export. A row without outputs is a failed run. The key of a row follows from its content, so that importing it twice adds
nothing; a table that `export` wrote gives the records that it was written from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import ANSWERS, Outcome, Record, key_of
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import Choice, FloatArray, Parameter, Space, Value
from mlforhpc.core.store import Store
from mlforhpc.store.roles import Roles, is_export, roles_of, space_of
from mlforhpc.store.sheet import Sheet, read_sheet

VERSION = "imported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A simulation known by its records alone: it has a space and outputs, and cannot be run."""

    name: str
    version: str
    space: Space
    outputs: tuple[Output, ...]
    settings: Space | None = None
    default_settings: Mapping[str, Value] = field(default_factory=dict)
    references: tuple[str, ...] = ()

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> NoReturn:
        """Refuse: there is nothing to run."""
        raise UsageError(f"'{self.name}' is known by its records alone and cannot be simulated; give its simulation.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs of a table.

    Attributes:
        simulation: name, version, space and outputs of what was run; an output's scale is its standard deviation over the runs.
        records: one a run, in the order of the table; rows that repeat another one in everything are left out.
        notes: what was decided from the data, in sentences.
    """

    simulation: Recorded
    records: tuple[Record, ...]
    notes: tuple[str, ...]


def read_runs(
    path: str | Path,
    *,
    outputs: Sequence[str],
    se: Sequence[str] = (),
    parameters: Sequence[str] | None = None,
    space: Mapping[str, Parameter] | None = None,
    simulation: str | None = None,
    version: str | None = None,
) -> Runs:
    """The runs in a CSV or Parquet file; nothing is written.

    Args:
        path: of the file.
        outputs: "y", a column; "name=p0..p63" or "name=p*" (* stands for a number), an array of columns; "density", the columns
            density[0], density[1], ... of an export.
        se: columns of standard errors in the same words, in the order of `outputs` or as "name=columns"; columns "y.se" are taken
            unasked.
        parameters: columns; None takes all that are nothing else.
        space: parameters whose bounds, unit, logarithm or options are not to be taken from the data.
        simulation, version: what was run; None takes an export's own, else the file's name and "imported".

    Raises:
        UsageError: with file, place, column, what was wanted and what was found.
    """
    sheet = read_sheet(path)
    chosen = _of_one_simulation(sheet, simulation, version)
    roles = roles_of(chosen.sheet, outputs=outputs, se=se, parameters=parameters)
    found, notes = space_of(chosen.sheet, roles, space or {})
    what = Recorded(name=chosen.name, version=chosen.version, space=found, outputs=_outputs(chosen.sheet, roles))
    records, repeated = _records(chosen.sheet, roles, what)
    if repeated:
        notes.append(f"{repeated} rows repeat another one in everything and count once.")
    return Runs(simulation=what, records=records, notes=tuple(notes))


def import_runs(store: Store, runs: Runs) -> int:
    """Keep the records durably; returns how many of them the store did not have."""
    new = [record for record in runs.records if store.get(record.key) is None]
    for future in [store.put(record) for record in new]:
        future.result()
    return len(new)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    sheet: Sheet
    name: str
    version: str


def _of_one_simulation(sheet: Sheet, simulation: str | None, version: str | None) -> _Chosen:
    """Of an export the rows of one simulation and version; of another table all rows."""
    if not is_export(sheet):
        return _Chosen(sheet=sheet, name=simulation or sheet.file.stem, version=version or VERSION)
    rows = list(range(len(sheet)))
    for column, wanted, option in (("simulation", simulation, "--simulation"), ("version", version, "--version")):
        cells = sheet.columns[column]
        known = sorted({str(cells[i]) for i in rows})
        if wanted is None and len(known) > 1:
            raise UsageError(f"'{sheet.file}' holds runs of the {column}s {', '.join(known)}; choose one with {option}.")
        if wanted is not None and wanted not in known:
            raise UsageError(f"'{sheet.file}' holds runs of the {column} {', '.join(known)}, wanted '{wanted}'.")
        rows = [i for i in rows if wanted is None or str(cells[i]) == wanted]
    chosen = Sheet(
        file=sheet.file,
        columns={title: [cells[i] for i in rows] for title, cells in sheet.columns.items()},
        places=[sheet.places[i] for i in rows],
    )
    return _Chosen(sheet=chosen, name=str(chosen.columns["simulation"][0]), version=str(chosen.columns["version"][0]))


def _outputs(sheet: Sheet, roles: Roles) -> tuple[Output, ...]:
    found = []
    for one in roles.outputs:
        y = np.column_stack([sheet.numbers(title) for title in one.titles])  # (n, size)
        y = y[np.isfinite(y).all(axis=1)]
        spread = float(np.sqrt(np.mean((y - y.mean(axis=0)) ** 2))) if len(y) else 0.0
        size = float(np.sqrt(np.mean(y**2))) if len(y) else 0.0
        found.append(Output(name=one.name, shape=one.shape, scale=spread or size or 1.0))
    return tuple(found)


def _records(sheet: Sheet, roles: Roles, simulation: Recorded) -> tuple[tuple[Record, ...], int]:
    """Records without repetition, and how many rows were repetitions."""
    values = {one.name: np.column_stack([sheet.numbers(title) for title in one.titles]) for one in roles.outputs}  # (n, size)
    errors = {one.name: np.column_stack([sheet.numbers(title) for title in one.se_titles]) for one in roles.outputs if one.se_titles}
    for one in roles.outputs:
        if one.name in errors and (errors[one.name] < 0).any():
            row, column = np.argwhere(errors[one.name] < 0)[0]
            raise sheet.wrong(one.se_titles[column], int(row), "a standard error of 0 or more")
    kept: dict[str, tuple[Record, str]] = {}
    for i, place in enumerate(sheet.places):
        record = _record(sheet, roles, simulation, i, {k: v[i] for k, v in values.items()}, {k: v[i] for k, v in errors.items()})
        if record.key not in kept:
            kept[record.key] = (record, place)
        elif not _same(record, kept[record.key][0]):
            raise UsageError(
                f"'{sheet.file}', {place}, asks what {kept[record.key][1]} asks (same parameters, fidelity and seed) and has other "
                "outputs; give repetitions a seed of their own."
            )
    return tuple(record for record, _ in kept.values()), len(sheet) - len(kept)


def _record(
    sheet: Sheet, roles: Roles, simulation: Recorded, i: int, values: Mapping[str, FloatArray], errors: Mapping[str, FloatArray]
) -> Record:
    point = _point(sheet, roles, simulation.space, i)
    fidelity = _special(sheet, roles, "fidelity", i, 1.0)
    if not 0 < fidelity <= 1:
        raise sheet.wrong("fidelity", i, "a fidelity in (0, 1]")
    outcome, reason = _outcome(sheet, roles, i, values)
    shapes = {one.name: one.shape for one in roles.outputs}
    y = Outputs(values={name: v.reshape(shapes[name]) for name, v in values.items()}) if outcome == "ok" else Outputs(values={})
    se = {name: e.reshape(shapes[name]) for name, e in errors.items() if name in y.values and np.isfinite(e).all()}
    content = hashlib.sha256(b"".join([outcome.encode(), *(v.tobytes() for v in (*y.values.values(), *se.values()))])).hexdigest()
    seed = _special(sheet, roles, "seed", i, float(derive(0, content)))
    if seed != int(seed):
        raise sheet.wrong("seed", i, "a whole number")
    return Record(
        key=key_of(simulation, point, settings={}, fidelity=fidelity, seed=int(seed)),
        simulation=simulation.name,
        version=simulation.version,
        parameters=point,
        settings={},
        fidelity=fidelity,
        seed=int(seed),
        outcome=outcome,
        outputs=y.values,
        standard_errors=se,
        reason=reason,
        cost_s=_special(sheet, roles, "cost_s", i, 0.0),
        system=str(sheet.columns["system"][i] or "") if roles.exported else "",
    )


def _point(sheet: Sheet, roles: Roles, space: Space, i: int) -> dict[str, Value]:
    """The row's parameters, inside the space."""
    point: dict[str, Value] = {}
    for name, title in roles.parameters.items():
        cell = sheet.columns[title][i]
        if cell is None:
            way_out = "Fill it in, leave the row out, or name the columns that are parameters with --parameters."
            raise sheet.wrong(title, i, "a value: a parameter of a run is never missing", way_out)
        point[name] = str(cell) if isinstance(space.parameters[name], Choice) else cell
    try:
        return space.point(space.row(point))
    except UsageError as error:
        raise type(error)(f"'{sheet.file}', {sheet.places[i]}: {error}") from None


def _outcome(sheet: Sheet, roles: Roles, i: int, values: Mapping[str, FloatArray]) -> tuple[Outcome, str]:
    """How the run ended, and why if not well: as the table says, and `failed` where an output is missing."""
    stated = str(sheet.columns["outcome"][i] or "ok") if "outcome" in roles.special else "ok"
    known = next((outcome for outcome in ANSWERS if outcome == stated), None)
    if known is None:
        raise sheet.wrong("outcome", i, f"one of {', '.join(ANSWERS)}")
    reason = str(sheet.columns["reason"][i] or "") if "reason" in roles.special else ""
    if known != "ok":
        return known, reason or "The table states no reason."
    for one in roles.outputs:
        bad = np.flatnonzero(~np.isfinite(values[one.name]))
        if len(bad):
            title = one.titles[int(bad[0])]
            return "failed", f"'{title}' is {sheet.columns[title][i] or 'missing'} in {sheet.file.name}."
    return "ok", ""


def _special(sheet: Sheet, roles: Roles, name: str, i: int, default: float) -> float:
    """A number that the table states beside parameters and outputs."""
    if name not in roles.special or sheet.columns[name][i] is None:
        return default
    cell = sheet.columns[name][i]
    try:
        return float(cell)  # type: ignore[arg-type]
    except ValueError:
        raise sheet.wrong(name, i, "a number") from None


def _same(a: Record, b: Record) -> bool:
    return a.outcome == b.outcome and all(np.array_equal(a.outputs[name], b.outputs[name]) for name in a.outputs)
