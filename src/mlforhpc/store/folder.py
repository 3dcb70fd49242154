"""A store in a folder: an SQLite index with the small records, files for large arrays, a hash over each record.

    index.sqlite  commit.lock  writers.lock  arrays/ab/abcd....npy  parts/<writer>/

Local disk: any number of processes write, one commit at a time. Shared file system: one writer, any number of readers.
"""

from __future__ import annotations

import atexit
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Unpack

from mlforhpc.core.errors import OverBudget, StoreDamaged, StoreError, UsageError
from mlforhpc.core.record import Record
from mlforhpc.store.arrays import ArrayFiles, sync_folder
from mlforhpc.store.budget import Budget, Usage, checked, usage
from mlforhpc.store.commits import GroupCommit
from mlforhpc.store.encoding import encode
from mlforhpc.store.failures import as_store_error
from mlforhpc.store.filesystem import is_shared
from mlforhpc.store.index import Index, connect, prepare
from mlforhpc.store.locks import CommitLock, WriterLock
from mlforhpc.store.pruning import Pruned, Selection, prune
from mlforhpc.store.reading import open_for_reading
from mlforhpc.store.selecting import PAGE_BYTES, Conditions, Page, Query, count, select
from mlforhpc.store.verification import damages, whole

_OWN = ("index.sqlite", "commit.lock", "writers.lock", "arrays", "parts")


@dataclass(frozen=True, slots=True)
class _Writing:
    """What a store has if it was opened for writing."""

    commits: GroupCommit
    budget: Budget


class FolderStore:
    """Keeps records in a folder; see `mlforhpc.core.store.Store`. Any thread may call; a forked child may not."""

    def __init__(self, folder: Path, index: Index, arrays: ArrayFiles, writing: _Writing | None, release: ExitStack) -> None:
        """Called by `open`, which assembles the parts; `release` gives them back."""
        self.folder = folder
        self.index = index
        self._arrays, self._writing, self._release = arrays, writing, release
        atexit.register(self.close)

    @classmethod
    def open(cls, path: str | Path, *, shared: bool | None = None, read_only: bool = False, budget_bytes: int | None = None) -> FolderStore:
        """Open a store, or create it.

        Args:
            path: its folder; created unless `read_only`.
            shared: other hosts write to this file system; None asks the file system.
            read_only: create and change nothing; works on a copy and on a folder that cannot be written.
            budget_bytes: that the store may take on its disk, index, log and array files together: what would make it more is refused
                with `OverBudget`, and nothing is deleted for it. A group that is being committed comes on top for a moment.

        Raises:
            StoreDamaged: it is no store, of a newer schema version, or its index is damaged.
            StoreLocked: it is on a shared file system and has a writer.
            StoreFull, StoreError: it cannot be written.
        """
        folder = Path(path).absolute()
        with ExitStack() as release:
            try:
                _refuse_foreign(folder, read_only=read_only)
                if read_only:
                    index, writing = open_for_reading(folder, release), None
                    arrays = ArrayFiles(folder, mapped=not (is_shared(folder) if shared is None else shared))
                else:
                    index, writing, arrays = _open_for_writing(folder, shared, checked(budget_bytes), release)
            except (OSError, sqlite3.Error) as error:
                raise as_store_error(error, folder, "open") from error
            return cls(folder, index, arrays, writing, release.pop_all())

    def put(self, record: Record) -> Future[None]:
        """Keep it. Arrays above 64 kB are written by the calling thread; the rest waits for nobody.

        A callback of the future runs in the writing thread: it must not wait for another record of this store.
        """
        writing = self._may_write("write to it")
        item = encode(record)
        part = None
        try:
            if item.in_file:
                too_much = writing.budget.refuse(len(item.payload))
                if too_much and self.index.row(item.key) is None:
                    raise too_much
                part = self._arrays.write(item.sha256, item.payload)
                item = replace(item, payload=b"")
        except (OSError, sqlite3.Error, OverBudget) as error:
            failed: Future[None] = Future()
            failed.set_exception(as_store_error(error, self.folder, "write to"))
            return failed
        return writing.commits.submit(item, part)

    def get(self, key: str) -> Record | None:
        try:
            row = self.index.row(key)
        except sqlite3.Error as error:
            raise as_store_error(error, self.folder, f"read record {key} from") from error
        return None if row is None else whole(row, self.index, self._arrays, self.folder)

    def scan(self, simulation: str | None = None) -> Iterator[Record]:
        """All records, in pages of 200 rows: no transaction is open while the caller thinks.

        Raises:
            StoreDamaged: at a damaged record; `check` lists all of them.
        """
        after = 0
        while True:
            try:
                page = self.index.page(after, simulation)
            except sqlite3.Error as error:
                raise as_store_error(error, self.folder, "read") from error
            if not page:
                return
            for row in page:
                if (record := whole(row, self.index, self._arrays, self.folder)) is not None:
                    yield record
            after = page[-1].id

    def select(
        self, simulation: str, *, after: int = 0, limit: int = 200, limit_bytes: int = PAGE_BYTES, **conditions: Unpack[Conditions]
    ) -> Page:
        """One page of the records that meet all conditions; a damaged one is named in it and not returned.

            page = store.select("borehole", where={"rw": (0.05, 0.1), "n": 3})    # a range with its ends (None = open), a value

        Args:
            simulation: of which.
            after: `page.after` of the page before; good until a prune removes the newest records.
            limit: of records, 1 to 1,000. A page ends earlier once it has looked at 20,000 rows: only `page.after is None` says that
                there is no more.
            limit_bytes: of arrays, with which a page ends; the first record may have more.
            conditions: where, settings, outcome, version, fidelity; see `Conditions`.

        Raises:
            UsageError: a name that no record of the simulation has (with a suggestion), a number that is not finite, an empty range.
        """
        with self._reading():
            return select(
                self.index, self._arrays, self.folder, Query(simulation, conditions), after=after, limit=limit, limit_bytes=limit_bytes
            )

    def count(self, simulation: str, **conditions: Unpack[Conditions]) -> int:
        """How many records meet all conditions."""
        with self._reading():
            return count(self.index, self.folder, Query(simulation, conditions))

    def usage(self) -> Usage:
        """What it takes on its disk; quick with a budget, else every array file is looked at."""
        writing = self._writing
        with self._reading():
            array_bytes = self._arrays.total_bytes() if writing is None else writing.budget.array_bytes()
            return usage(self.folder, array_bytes, None if writing is None else writing.budget.limit_bytes)

    def prune(
        self,
        *,
        simulation: str | None = None,
        version: str | None = None,
        outcome: str | None = None,
        old_versions: bool = False,
        down_to_bytes: int | None = None,
        dry_run: bool = True,
    ) -> Pruned:
        """Delete the records that meet all that is said, array files that no record uses any more, and give the space back.

        Args:
            simulation, version, outcome: of the record; None = any.
            old_versions: records of another version than the newest record of their simulation.
            down_to_bytes: the oldest of them, until the store takes no more than this; None = all of them.
            dry_run: only say what would go.

        Raises:
            UsageError: nothing was said.
            StoreDamaged: a record that has an array file is damaged; discard the damaged ones first.
        """
        of = Selection(simulation=simulation, version=version, outcome=outcome, old_versions=old_versions, down_to_bytes=down_to_bytes)
        writing = self._may_write("prune it")
        try:
            return prune(writing.commits, writing.budget, self.index, self._arrays, self.folder, of=of, dry_run=dry_run)
        except (OSError, sqlite3.Error) as error:
            raise as_store_error(error, self.folder, "prune") from error

    def check(self) -> list[str]:
        """Compare the hash of every record and array file; SQLite's own check sees few flipped bits, and runs as well."""
        return [sentence for _, sentence in damages(self.index, self._arrays, self.folder)]

    def discard_damaged(self) -> list[str]:
        """Remove the damaged records, so that they can be simulated again; their sentences."""
        writing = self._may_write("discard from it")
        found = [(id, sentence) for id, sentence in damages(self.index, self._arrays, self.folder) if id is not None]
        writing.commits.remove([id for id, _ in found])
        return [sentence for _, sentence in found]

    def close(self) -> None:
        """Commit what waits and release the files; once is enough."""
        atexit.unregister(self.close)
        self._release.close()

    def _may_write(self, to: str) -> _Writing:
        if self._writing is None:
            raise StoreError(f"The store {self.folder} was opened with read_only=True; open it without to {to}.")
        return self._writing

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise as_store_error(error, self.folder, "read") from error

    def __enter__(self) -> FolderStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _refuse_foreign(folder: Path, *, read_only: bool) -> None:
    """A folder that is there must be empty or a store."""
    if read_only and not (folder / "index.sqlite").exists() and not any(folder.glob("*")):
        raise UsageError(f"There is no store to read at {folder}. Check the path; only opening a store for writing creates one.")
    if folder.exists() and not folder.is_dir():
        raise StoreDamaged(f"A store is a folder, and {folder} is a file. Choose another path.")
    if folder.is_dir() and not (folder / "index.sqlite").exists():
        names = sorted(entry.name for entry in folder.iterdir())
        foreign = [name for name in names if name not in _OWN]
        if foreign:
            below = ", ".join(str(folder / name) for name in names if (folder / name / "index.sqlite").exists())
            way_out = f"Stores lie below it: {below}." if below else "Choose an empty or a new folder."
            raise StoreDamaged(f"{folder} is not a store: it has '{foreign[0]}' and no 'index.sqlite'. {way_out}")
        if any((folder / "arrays").glob("*")) or read_only:
            raise StoreDamaged(f"The store {folder} has lost its 'index.sqlite'. Restore that file from a copy, or choose a new folder.")


def _open_for_writing(
    folder: Path, shared: bool | None, budget_bytes: int | None, release: ExitStack
) -> tuple[Index, _Writing, ArrayFiles]:
    folder.mkdir(parents=True, exist_ok=True)
    shared = is_shared(folder) if shared is None else shared
    writers = WriterLock(folder / "writers.lock", alone=shared)
    release.callback(writers.close)
    lock = CommitLock(folder / "commit.lock")
    release.callback(lock.close)
    arrays = ArrayFiles(folder, mapped=not shared)
    budget = Budget(folder, lock, arrays, budget_bytes)
    with lock:
        connection = connect(folder / "index.sqlite")
        release.callback(_close_index, connection, lock)
        prepare(connection, folder, shared=shared)
        arrays.begin(alone=shared)
        release.callback(arrays.end)
        budget.recount()
        sync_folder(folder)
        sync_folder(folder.parent)
    reader = connect(folder / "index.sqlite", "rw")
    index = Index(reader)
    release.callback(index.close)
    reader.execute("PRAGMA query_only=1")
    commits = GroupCommit(connection, lock, arrays, budget, folder)
    release.callback(commits.close)
    return index, _Writing(commits, budget), arrays


def _close_index(connection: sqlite3.Connection, lock: CommitLock) -> None:
    """The last writer leaves one plain file behind, which any reader can open in place; others leave it to the last."""
    with lock:
        connection.execute("PRAGMA busy_timeout=0")
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
