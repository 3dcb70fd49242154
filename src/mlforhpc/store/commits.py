"""Group commit: one thread takes whatever waits, commits it in one transaction, and only then resolves the futures.

    put -> queue -> [commit lock: BEGIN IMMEDIATE, insert, rename array files, sync their folders, COMMIT (synced)] -> futures

While one group is being synced the next gathers, so the rate grows with the load and a lone record waits for nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlforhpc.core.errors import StoreError
from mlforhpc.store.arrays import ArrayFiles, Part
from mlforhpc.store.budget import Budget
from mlforhpc.store.encoding import Encoded
from mlforhpc.store.failures import as_store_error
from mlforhpc.store.index import insert
from mlforhpc.store.locks import CommitLock

GROUP_RECORDS = 1000
GROUP_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class _Waiting:
    item: Encoded
    part: Part | None
    future: Future[None] = field(default_factory=Future)


class GroupCommit:
    """The one thread of a process that writes to a store."""

    def __init__(self, connection: sqlite3.Connection, lock: CommitLock, arrays: ArrayFiles, budget: Budget, folder: Path) -> None:
        self._connection, self._lock, self._arrays, self._budget, self._folder = connection, lock, arrays, budget, folder
        self._queue: list[_Waiting] = []
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"store {folder.name}", daemon=True)
        self._thread.start()

    def submit(self, item: Encoded, part: Part | None) -> Future[None]:
        """The future of its commit; it cannot be cancelled."""
        waiting = _Waiting(item, part)
        waiting.future.set_running_or_notify_cancel()
        with self._change:
            if self._closing:
                raise StoreError(f"The store {self._folder} is closed; open it again to write to it.")
            self._queue.append(waiting)
            self._change.notify()
        return waiting.future

    def remove(self, ids: list[int]) -> None:
        """Delete rows; waits for the disk. SQLite's own indexes are rebuilt first: they may not fit a damaged row."""
        try:
            with self.alone() as connection, transaction(connection):
                connection.execute("REINDEX")
                connection.executemany("DELETE FROM record WHERE id = ?", [(id,) for id in ids])
        except (OSError, sqlite3.Error) as error:
            raise as_store_error(error, self._folder, "remove records from") from error

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The writing connection, while no other thread or process writes."""
        with self._lock:
            yield self._connection

    def close(self) -> None:
        """Commit what waits and end the thread."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take():
            self._commit(group)

    def _take(self) -> list[_Waiting]:
        """The next group, bounded in records and bytes so that the write-ahead log is too; empty at the end."""
        with self._change:
            self._change.wait_for(lambda: self._queue or self._closing)
            count = total = 0
            for waiting in self._queue[:GROUP_RECORDS]:
                if count and total >= GROUP_BYTES:
                    break
                count, total = count + 1, total + len(waiting.item.payload)
            group = self._queue[:count]
            del self._queue[:count]
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        """Commit a group; if that fails, each record alone, so that none fails because of another."""
        try:
            with self._lock:
                self._transaction(group)
        except Exception as error:
            if len(group) > 1:
                for waiting in group:
                    self._commit([waiting])
                return
            if group[0].part:
                self._arrays.discard(group[0].part)
            group[0].future.set_exception(as_store_error(error, self._folder, "write to"))
            return
        for waiting in group:
            waiting.future.set_result(None)

    def _transaction(self, group: list[_Waiting]) -> None:
        new: list[Part] = []
        repeated: list[Part] = []
        inserted_any = False
        with transaction(self._connection):
            for waiting in group:
                inserted = insert(self._connection, waiting.item)
                inserted_any |= inserted
                if waiting.part:
                    (new if inserted else repeated).append(waiting.part)
            if inserted_any:
                with self._budget.claim(self._connection, new):
                    self._arrays.keep(new)
        self._budget.trim(self._connection)
        for part in repeated:
            self._arrays.discard(part)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Committed and synced at the end, rolled back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
