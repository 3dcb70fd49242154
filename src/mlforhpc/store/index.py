"""The index: one SQLite file with a row for each record, in the order of acknowledgement.

    record(id, key, simulation, version, outcome, cost_s, size_bytes, hash, head, payload)

`hash` is sha256(head); `payload` is NULL where the numbers lie in a file (see encoding.py, arrays.py).
On a local disk: WAL, synced at each commit. On a shared file system: rollback journal, whose deletion is synced as well
(synchronous=EXTRA), else a power cut could roll an acknowledged commit back. Source: sqlite.org/wal.html, pragma.html.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

from mlforhpc.core.errors import StoreDamaged, StoreError
from mlforhpc.store.encoding import Encoded

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4D4C4850  # "MLHP"
PAGE_ROWS = 200
_WAIT_S = 30.0

_SCHEMA = (
    "CREATE TABLE record(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, simulation TEXT NOT NULL, version TEXT NOT NULL,"
    " outcome TEXT NOT NULL, cost_s REAL NOT NULL, size_bytes INTEGER NOT NULL, hash BLOB NOT NULL, head BLOB NOT NULL, payload BLOB)",
    "CREATE INDEX by_simulation ON record(simulation)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)
_INSERT = (
    "INSERT INTO record(key, simulation, version, outcome, cost_s, size_bytes, hash, head, payload)"
    " VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(key) DO NOTHING"
)
_SELECT = "SELECT id, key, simulation, version, outcome, cost_s, hash, head, payload FROM record "

_HEADS = _SELECT.replace(" payload ", " NULL ")


class Row(NamedTuple):
    """One row as read: nothing in it is believed before its hash was compared."""

    id: int
    key: str
    simulation: str
    version: str
    outcome: str
    cost_s: float
    hash: object
    head: object
    payload: object


def connect(file: Path, mode: str = "rwc") -> sqlite3.Connection:
    """A connection without implicit transactions, for any thread; damaged text is read, not refused."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=_WAIT_S
    )
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def identify(connection: sqlite3.Connection, folder: Path) -> bool:
    """True if it is a store of ours, False if it is still empty; else `StoreDamaged`."""
    application, version, tables = (
        connection.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if application == 0 and version == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise StoreDamaged(f"{folder} should be a store, but its 'index.sqlite' was written by another program. Choose another folder.")
    if version > SCHEMA_VERSION:
        raise StoreDamaged(
            f"The store {folder} has schema version {version}, and this mlforhpc reads up to {SCHEMA_VERSION}. "
            "Update it with: pip install -U mlforhpc"
        )
    return True


def prepare(connection: sqlite3.Connection, folder: Path, *, shared: bool) -> None:
    """Make it ours if it is empty, and durable: called under the commit lock."""
    known = identify(connection, folder)
    wanted = "delete" if shared else "wal"
    if not known:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # so that `prune` can give space back in short steps; only now possible
    found = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]
    if found != wanted:
        raise StoreError(
            f"The store {folder} needs SQLite's journal mode '{wanted}' and got '{found}': its file system cannot do it. "
            f"Open it with shared={not shared}, or put it elsewhere."
        )
    connection.execute(f"PRAGMA synchronous={'EXTRA' if shared else 'FULL'}")
    if not known:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, item: Encoded) -> bool:
    """Add a row inside the open transaction; False if the key is there already."""
    columns = (item.key, item.simulation, item.version, item.outcome, item.cost_s, item.size_bytes, item.hash, item.head)
    return connection.execute(_INSERT, (*columns, None if item.in_file else item.payload)).rowcount == 1


class Index:
    """Reads of the index: one connection, used by one thread at a time and never across a page."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def row(self, key: str) -> Row | None:
        rows = self._rows(_SELECT + "WHERE key = ?", (key,))
        return rows[0] if rows else None

    def page(self, after: int, simulation: str | None = None, *, limit: int = PAGE_ROWS) -> list[Row]:
        """The next rows after an id, in the order of acknowledgement."""
        if simulation is None:
            return self._rows(_SELECT + "WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
        return self._rows(_SELECT + "WHERE simulation = ? AND id > ? ORDER BY id LIMIT ?", (simulation, after, limit))

    def heads(self, simulation: str, after: int, *, outcome: str | None = None, version: str | None = None) -> list[Row]:
        """As `page`, without the payloads; of one outcome and version."""
        question, values = _HEADS + "WHERE simulation = ? AND id > ?", [simulation, after]
        for column, value in (("outcome", outcome), ("version", version)):
            if value is not None:
                question += f" AND {column} = ?"
                values.append(value)
        return self._rows(f"{question} ORDER BY id LIMIT ?", (*values, PAGE_ROWS))

    def row_at(self, id: int) -> Row | None:
        rows = self._rows(_SELECT + "WHERE id = ?", (id,))
        return rows[0] if rows else None

    def ask(self, question: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """All rows of a short question of one's own."""
        with self._turn:
            return self._connection.execute(question, values).fetchall()

    def close(self) -> None:
        with self._turn:
            self._connection.close()

    def _rows(self, question: str, values: tuple[object, ...]) -> list[Row]:
        with self._turn:
            found = self._connection.execute(question, values).fetchall()
        return [Row(*row) for row in found]
