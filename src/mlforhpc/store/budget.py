"""How many bytes a store takes, and may take: the pages of its index, its log, and the files in arrays/.

    pages x page size, seen from inside the transaction  +  running count of arrays/  <=  budget

The count is a number in `commit.lock`, raised under that lock *before* files come to arrays/: a killed process leaves it too high,
never too low, and whoever opens the store with a budget counts anew. The log is emptied when it would exceed the budget.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.core.errors import OverBudget, UsageError
from mlforhpc.core.sizes import spelt
from mlforhpc.store.arrays import ArrayFiles, Part
from mlforhpc.store.locks import CommitLock


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a store takes on its disk.

    Attributes:
        index_bytes: of `index.sqlite`.
        log_bytes: of the journals beside it.
        array_bytes: of the files in arrays/.
        budget_bytes: that it may take; None = as much as there is.
    """

    index_bytes: int
    log_bytes: int
    array_bytes: int
    budget_bytes: int | None

    @property
    def used_bytes(self) -> int:
        return self.index_bytes + self.log_bytes + self.array_bytes


def usage(folder: Path, array_bytes: int, budget_bytes: int | None) -> Usage:
    """The files' sizes as they are now."""
    logs = sum(_size(folder / f"index.sqlite-{suffix}") for suffix in ("wal", "journal"))
    return Usage(index_bytes=_size(folder / "index.sqlite"), log_bytes=logs, array_bytes=array_bytes, budget_bytes=budget_bytes)


def checked(budget_bytes: int | None) -> int | None:
    """The budget, if it is one."""
    if budget_bytes is not None and (isinstance(budget_bytes, bool) or not isinstance(budget_bytes, int) or budget_bytes < 0):
        raise UsageError(f"A budget is a whole number of bytes, 0 or more, or None for no limit; found {budget_bytes!r}.")
    return budget_bytes


class Budget:
    """The budget of one writer; all but `refuse` is called under the commit lock."""

    def __init__(self, folder: Path, lock: CommitLock, arrays: ArrayFiles, limit_bytes: int | None) -> None:
        self.limit_bytes = limit_bytes
        self._folder, self._lock, self._arrays = folder, lock, arrays

    def recount(self) -> None:
        """Count arrays/ anew, if anybody who writes to this store has a budget."""
        if self.limit_bytes is not None or self._lock.read_count() is not None:
            self._lock.write_count(self._arrays.total_bytes())

    def array_bytes(self) -> int:
        """The running count, or a count if nobody keeps one."""
        count = self._lock.read_count() if self.limit_bytes is not None else None
        return self._arrays.total_bytes() if count is None else count

    def refuse(self, size_bytes: int) -> OverBudget | None:
        """The error for a file that is too large in any case, before it is written."""
        if self.limit_bytes is None:
            return None
        with_it = _size(self._folder / "index.sqlite") + self.array_bytes() + size_bytes
        return self._error(with_it) if with_it > self.limit_bytes else None

    @contextmanager
    def claim(self, connection: sqlite3.Connection, parts: list[Part]) -> Iterator[None]:
        """Room for what the open transaction adds, and for array files that are put in their places meanwhile.

        Raises:
            OverBudget: there is not enough.
        """
        count = self._lock.read_count()
        if count is None:  # nobody who writes to this store has a budget
            yield
            return
        added = {part.target: part.size_bytes for part in parts if not part.target.exists()}
        if self.limit_bytes is not None and (used := pages_bytes(connection) + count + sum(added.values())) > self.limit_bytes:
            raise self._error(used)
        self._lock.write_count(count + sum(added.values()))
        try:
            yield
        except BaseException:
            self._lock.write_count(count + sum(size for target, size in added.items() if target.exists()))
            raise

    def trim(self, connection: sqlite3.Connection) -> None:
        """Empty the log if it takes more than the budget has left; a reader in its way is not waited for."""
        if self.limit_bytes is None:
            return
        log = _size(self._folder / "index.sqlite-wal")
        if log and pages_bytes(connection) + self.array_bytes() + log > self.limit_bytes:
            empty_log(connection)

    def _error(self, used_bytes: int) -> OverBudget:
        return OverBudget(
            f"The store {self._folder} may take {spelt(self.limit_bytes or 0)}, and this record would make it {spelt(used_bytes)}: "
            "it is not kept. Every acknowledged record is; remove some with `mlforhpc store prune`, or open the store with a larger budget."
        )


def pages_bytes(connection: sqlite3.Connection) -> int:
    """Of the index: what the file is once its log is emptied, with what the open transaction adds."""
    return int(connection.execute("PRAGMA page_count").fetchone()[0]) * int(connection.execute("PRAGMA page_size").fetchone()[0])


def empty_log(connection: sqlite3.Connection) -> None:
    """Move the log into the index and cut both to size, unless a reader is in the way."""
    (wait_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout={wait_ms}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
