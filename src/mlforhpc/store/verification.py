"""A row becomes a record only if its hashes match; else it is named, and never returned."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap
from pathlib import Path

from mlforhpc.core.errors import StoreDamaged
from mlforhpc.core.record import Record
from mlforhpc.store.arrays import ArrayFiles
from mlforhpc.store.encoding import decode
from mlforhpc.store.index import PAGE_ROWS, Index, Row


def verified(row: Row, arrays: ArrayFiles, folder: Path) -> Record:
    """The record of a row.

    Raises:
        StoreDamaged: naming key, simulation and parameters, and what does not match.
    """
    fields = json.loads(verified_head(row, folder))
    payload = row.payload
    if fields["file"]:
        try:
            payload = arrays.read(fields["sha256"])
        except OSError as error:
            raise _damaged(row, folder, f"its array file cannot be read ({error})") from error
    if not isinstance(payload, bytes | bytearray | mmap) or hashlib.sha256(payload).hexdigest() != fields["sha256"]:
        whose = f"array file {arrays.path(fields['sha256'])} does" if fields["file"] else "numbers do"
        raise _damaged(row, folder, f"its {whose} not match the hash in its description")
    for column in ("key", "simulation", "version", "outcome", "cost_s"):
        if getattr(row, column) != fields[column]:
            raise _damaged(row, folder, f"the index says {column} {getattr(row, column)!r}, the record {fields[column]!r}")
    return decode(fields, payload)


def verified_head(row: Row, folder: Path) -> bytes:
    """The description of a record.

    Raises:
        StoreDamaged: as `verified`.
    """
    if not isinstance(row.head, bytes) or hashlib.sha256(row.head).digest() != row.hash:
        raise _damaged(row, folder, "its description does not match its hash")
    return row.head


def whole(row: Row, index: Index, arrays: ArrayFiles, folder: Path) -> Record | None:
    """The record of a row; None if it was pruned while we read it: rows go first, their array files next.

    Raises:
        StoreDamaged: as `verified`.
    """
    try:
        return verified(row, arrays, folder)
    except StoreDamaged:
        with suppress(sqlite3.DatabaseError):
            again = index.row_at(row.id)
            if again is None or again.key != row.key:
                return None
        raise


def damages(index: Index, arrays: ArrayFiles, folder: Path) -> Iterator[tuple[int | None, str]]:
    """(id, sentence) for each damaged record; id None where the index itself is damaged."""
    for row in _every_row(index):
        if isinstance(row, Row):
            try:
                whole(row, index, arrays, folder)
            except StoreDamaged as error:
                yield row.id, str(error)
        else:
            yield None, f"The store {folder}: {row}"
    try:
        findings = [str(finding) for (finding,) in index.ask("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        findings = [str(error)]
    for finding in findings:
        if finding != "ok":
            yield None, f"The store {folder}: its index 'index.sqlite' is damaged: {finding}. Restore that file from a copy."


def _every_row(index: Index) -> Iterator[Row | str]:
    """All rows; where a page cannot be read, row by row, and a sentence for each unreadable one."""
    try:
        last = int(str(index.ask("SELECT coalesce(max(id), 0) FROM record")[0][0]))
    except sqlite3.DatabaseError as error:
        yield f"its index cannot be read: {error}."
        return
    after = 0
    while after < last:
        try:
            page: list[Row | str] = list(index.page(after))
        except sqlite3.DatabaseError:
            page = [row for id in range(after + 1, after + PAGE_ROWS + 1) if id <= last and (row := _single(index, id)) is not None]
            after += PAGE_ROWS
        else:
            after = max([after + PAGE_ROWS if not page else 0, *(row.id for row in page if isinstance(row, Row))])
        yield from page


def _single(index: Index, id: int) -> Row | str | None:
    try:
        return index.row_at(id)
    except sqlite3.DatabaseError as error:
        return f"row {id} of its index cannot be read: {error}."


def _damaged(row: Row, folder: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"Record {row.key} of simulation '{row.simulation}' ({_asked(row)}) in the store {folder} is damaged: {what}. "
        "FolderStore.discard_damaged() removes it, so that it can be simulated again."
    )


def _asked(row: Row) -> str:
    """Parameters, fidelity and seed, as far as they can still be read."""
    try:
        fields = json.loads(row.head)  # type: ignore[arg-type]
        asked = {**fields["parameters"], "fidelity": fields["fidelity"], "seed": fields["seed"]}
        return ", ".join(f"{name}={value}" for name, value in asked.items())
    except (ValueError, TypeError, KeyError):
        return "parameters unreadable"
