"""A store in a folder: an SQLite index with the small records, files for large arrays, a hash over each record.

    index.sqlite  commit.lock  writers.lock  arrays/ab/abcd....npy  parts/<writer>/

Local disk: any number of processes write, one commit at a time. Shared file system: one writer, any number of readers.
"""

from __future__ import annotations

import atexit
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from mlforhpc.core.errors import StoreDamaged, StoreError, UsageError
from mlforhpc.core.record import Record
from mlforhpc.store.arrays import ArrayFiles, sync_folder
from mlforhpc.store.commits import GroupCommit
from mlforhpc.store.encoding import encode
from mlforhpc.store.failures import as_store_error
from mlforhpc.store.filesystem import is_shared
from mlforhpc.store.index import Index, connect, prepare
from mlforhpc.store.locks import CommitLock, WriterLock
from mlforhpc.store.reading import open_for_reading
from mlforhpc.store.verification import damages, verified

_OWN = ("index.sqlite", "commit.lock", "writers.lock", "arrays", "parts")


class FolderStore:
    """Keeps records in a folder; see `mlforhpc.core.store.Store`. Any thread may call; a forked child may not."""

    def __init__(self, folder: Path, index: Index, arrays: ArrayFiles, commits: GroupCommit | None, release: ExitStack) -> None:
        """Called by `open`, which assembles the parts; `release` gives them back."""
        self.folder = folder
        self.index = index
        self._arrays, self._commits, self._release = arrays, commits, release
        atexit.register(self.close)

    @classmethod
    def open(cls, path: str | Path, *, shared: bool | None = None, read_only: bool = False) -> FolderStore:
        """Open a store, or create it.

        Args:
            path: its folder; created unless `read_only`.
            shared: other hosts write to this file system; None asks the file system.
            read_only: create and change nothing; works on a copy and on a folder that cannot be written.

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
                    index, commits, arrays = open_for_reading(folder, release), None, ArrayFiles(folder)
                else:
                    index, commits, arrays = _open_for_writing(folder, shared, release)
            except (OSError, sqlite3.Error) as error:
                raise as_store_error(error, folder, "open") from error
            return cls(folder, index, arrays, commits, release.pop_all())

    def put(self, record: Record) -> Future[None]:
        """Keep it. Arrays above 64 kB are written by the calling thread; the rest waits for nobody.

        A callback of the future runs in the writing thread: it must not wait for another record of this store.
        """
        if self._commits is None:
            raise StoreError(f"The store {self.folder} was opened with read_only=True; open it without to write to it.")
        item = encode(record)
        part = None
        try:
            if item.in_file:
                part = self._arrays.write(item.sha256, item.payload)
                item = replace(item, payload=b"")
        except OSError as error:
            failed: Future[None] = Future()
            failed.set_exception(as_store_error(error, self.folder, "write to"))
            return failed
        return self._commits.submit(item, part)

    def get(self, key: str) -> Record | None:
        try:
            row = self.index.row(key)
        except sqlite3.Error as error:
            raise as_store_error(error, self.folder, f"read record {key} from") from error
        return None if row is None else verified(row, self._arrays, self.folder)

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
                yield verified(row, self._arrays, self.folder)
            after = page[-1].id

    def check(self) -> list[str]:
        """Compare the hash of every record and array file; SQLite's own check sees few flipped bits, and runs as well."""
        return [sentence for _, sentence in damages(self.index, self._arrays, self.folder)]

    def discard_damaged(self) -> list[str]:
        """Remove the damaged records, so that they can be simulated again; their sentences."""
        if self._commits is None:
            raise StoreError(f"The store {self.folder} was opened with read_only=True; open it without to discard from it.")
        found = [(id, sentence) for id, sentence in damages(self.index, self._arrays, self.folder) if id is not None]
        self._commits.remove([id for id, _ in found])
        return [sentence for _, sentence in found]

    def close(self) -> None:
        """Commit what waits and release the files; once is enough."""
        atexit.unregister(self.close)
        self._release.close()

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


def _open_for_writing(folder: Path, shared: bool | None, release: ExitStack) -> tuple[Index, GroupCommit, ArrayFiles]:
    folder.mkdir(parents=True, exist_ok=True)
    shared = is_shared(folder) if shared is None else shared
    writers = WriterLock(folder / "writers.lock", alone=shared)
    release.callback(writers.close)
    lock = CommitLock(folder / "commit.lock")
    release.callback(lock.close)
    arrays = ArrayFiles(folder)
    with lock:
        connection = connect(folder / "index.sqlite")
        release.callback(_close_index, connection, lock)
        prepare(connection, folder, shared=shared)
        arrays.begin(alone=shared)
        release.callback(arrays.end)
        sync_folder(folder)
        sync_folder(folder.parent)
    reader = connect(folder / "index.sqlite", "rw")
    index = Index(reader)
    release.callback(index.close)
    reader.execute("PRAGMA query_only=1")
    commits = GroupCommit(connection, lock, arrays, folder)
    release.callback(commits.close)
    return index, commits, arrays


def _close_index(connection: sqlite3.Connection, lock: CommitLock) -> None:
    """The last writer leaves one plain file behind, which any reader can open in place; others leave it to the last."""
    with lock:
        connection.execute("PRAGMA busy_timeout=0")
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
