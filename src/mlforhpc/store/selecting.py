"""Questions to a store: which records have parameters in these ranges? Answered from the descriptions, page by page.

    every row: its hash compared, its parameters parsed (no numbers are read)  ->  the rows that match: read and verified whole

There is no index over parameters: a page looks at a bounded number of rows instead, so it may be empty and yet not the last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import msgspec

from mlforhpc.core.errors import StoreDamaged, UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.core.record import ANSWERS, Record
from mlforhpc.core.space import Value
from mlforhpc.store.arrays import ArrayFiles
from mlforhpc.store.index import Index
from mlforhpc.store.verification import verified_head, whole

Wanted: TypeAlias = Value | tuple[float | None, float | None]
PAGE_RECORDS = 1_000
LOOKED_AT_ROWS = 20_000
PAGE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the records that were asked for, in the order of their acknowledgement.

    Attributes:
        records: whole ones.
        damaged: a sentence for each record that was met and does not match its hash.
        after: where the next page begins; None = this is the last.
    """

    records: tuple[Record, ...]
    damaged: tuple[str, ...]
    after: int | None


class Conditions(TypedDict, total=False):
    """What is asked of a record: a value is compared, a pair is a range with its ends (None = open).

    where, settings: name -> value or range; a record without that name does not match.
    outcome, version, fidelity: of the record.
    """

    where: Mapping[str, Wanted]
    settings: Mapping[str, Wanted]
    outcome: str
    version: str
    fidelity: float | tuple[float | None, float | None]


class Query:
    """Checked conditions on the records of one simulation."""

    def __init__(self, simulation: str, conditions: Conditions) -> None:
        self.simulation = simulation
        self.where, self.settings = conditions.get("where", {}), conditions.get("settings", {})
        self.outcome, self.version = conditions.get("outcome"), conditions.get("version")
        self.fidelity = conditions.get("fidelity")
        if self.outcome is not None and self.outcome not in ANSWERS:
            raise UsageError(f"A store keeps the outcomes {', '.join(ANSWERS)}, found '{self.outcome}'.")
        for name, wanted in self.where.items():
            _check(f"Parameter '{name}'", wanted)
        for name, wanted in self.settings.items():
            _check(f"Setting '{name}'", wanted)
        if self.fidelity is not None:
            _check("The fidelity", self.fidelity)

    def matches(self, head: bytes) -> bool:
        """Whether a record with this description is asked for."""
        if not self.where and not self.settings and self.fidelity is None:
            return True
        asked = _parsed(head)
        return (
            all(_agrees(asked.parameters.get(name), wanted) for name, wanted in self.where.items())
            and all(_agrees(asked.settings.get(name), wanted) for name, wanted in self.settings.items())
            and (self.fidelity is None or _agrees(asked.fidelity, self.fidelity))
        )


class _Asked(msgspec.Struct):
    """The part of a description that queries look at."""

    parameters: dict[str, Any]
    settings: dict[str, Any]
    fidelity: float


_DECODER = msgspec.json.Decoder(_Asked)


def select(index: Index, arrays: ArrayFiles, folder: Path, query: Query, *, after: int, limit: int, limit_bytes: int) -> Page:
    """One page; see `FolderStore.select`."""
    if not 1 <= limit <= PAGE_RECORDS:
        raise UsageError(f"A page has 1 to {PAGE_RECORDS} records, found limit={limit}.")
    _refuse_unknown(index, query)
    records: list[Record] = []
    damaged: list[str] = []
    looked = size_bytes = 0
    for found in _found(index, folder, query, after):
        looked, after = looked + 1, found.id
        if found.damage:
            damaged.append(found.damage)
        elif found.matches:
            try:
                row = index.row_at(found.id)
                record = None if row is None or row.key != found.key else whole(row, index, arrays, folder)
            except StoreDamaged as error:
                damaged.append(str(error))
            else:
                records += [] if record is None else [record]
                size_bytes += 0 if record is None else _bytes(record)
        if len(records) >= limit or size_bytes >= limit_bytes or looked >= LOOKED_AT_ROWS:
            return Page(records=tuple(records), damaged=tuple(damaged), after=after)
    return Page(records=tuple(records), damaged=tuple(damaged), after=None)


def _bytes(record: Record) -> int:
    return sum(array.nbytes for group in (record.outputs, record.standard_errors) for array in group.values())


def count(index: Index, folder: Path, query: Query) -> int:
    """How many records match; ones with a damaged description do not."""
    _refuse_unknown(index, query)
    return sum(found.matches for found in _found(index, folder, query, 0))


def names(index: Index, simulation: str, group: str, *, every: bool = False) -> dict[str, Value]:
    """Name -> an example, of the parameters or settings in the first and last record of a simulation, or in every one."""
    question = "SELECT head FROM record WHERE simulation = ?"
    ends = (f"{question} ORDER BY id LIMIT 1", f"{question} ORDER BY id DESC LIMIT 1")
    rows = ((head for (head,) in index.ask(end, (simulation,))) for end in ends) if not every else (_every_head(index, simulation),)
    found: dict[str, Value] = {}
    for head in (head for heads in rows for head in heads):
        try:
            found |= getattr(_parsed(head), group)
        except (ValueError, TypeError, KeyError):  # a damaged one
            continue
    return found


@dataclass(frozen=True, slots=True)
class _Found:
    """A row that was looked at."""

    id: int
    key: str
    matches: bool
    damage: str = ""


def _found(index: Index, folder: Path, query: Query, after: int) -> Iterator[_Found]:
    while rows := index.heads(query.simulation, after, outcome=query.outcome, version=query.version):
        for row in rows:
            try:
                yield _Found(row.id, row.key, query.matches(verified_head(row, folder)))
            except StoreDamaged as error:
                yield _Found(row.id, row.key, False, str(error))
        after = rows[-1].id


def _every_head(index: Index, simulation: str) -> Iterator[object]:
    after = 0
    while rows := index.heads(simulation, after):
        yield from (row.head for row in rows)
        after = rows[-1].id


def _refuse_unknown(index: Index, query: Query) -> None:
    """A name that no record of the simulation has is a mistake; where there are no records, there is nothing to compare with."""
    for group, what, asked in (("parameters", "parameter", query.where), ("settings", "setting", query.settings)):
        known = names(index, query.simulation, group) if asked else {}
        if set(asked) - set(known):
            known = names(index, query.simulation, group, every=True)
        unknown = sorted(set(asked) - set(known))
        if unknown and (known or index.heads(query.simulation, 0)):
            raise UsageError(
                f"No record of simulation '{query.simulation}' has a {what} '{unknown[0]}'; they have {', '.join(known) or 'none'}."
                f"{suggestion(unknown[0], known)}"
            )


def _parsed(head: Any) -> _Asked:
    try:
        return _DECODER.decode(head)
    except msgspec.DecodeError:  # Python's JSON knows NaN, which a check may be
        fields = json.loads(head)
        return _Asked(parameters=fields["parameters"], settings=fields["settings"], fidelity=fields["fidelity"])


def _agrees(value: object, wanted: Wanted) -> bool:
    if isinstance(wanted, tuple):
        low, high = wanted
        return isinstance(value, int | float) and (low is None or low <= value) and (high is None or value <= high)
    return value == wanted


def _check(what: str, wanted: Wanted) -> None:
    ends: Iterable[Value | None] = wanted if isinstance(wanted, tuple) else (wanted,)
    if isinstance(wanted, tuple) and (len(wanted) != 2 or any(isinstance(end, str) for end in wanted)):
        raise UsageError(f"{what} takes a value or a range (low, high) of numbers, found {wanted!r}.")
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, float | int | str | None) or (isinstance(end, float) and not math.isfinite(end)):
            raise UsageError(f"{what} is compared with finite numbers or text, found {end!r}.")
    if isinstance(wanted, tuple) and None not in wanted and wanted[0] > wanted[1]:  # type: ignore[operator]
        raise UsageError(f"{what} cannot be at least {wanted[0]} and at most {wanted[1]}; give the smaller number first.")
