"""Opening a store without creating or changing anything, not even the files that SQLite puts beside its own.

SQLite reads a closed index, or one that a writer has open, in place. What is left (a crash, or a copy without the shared
memory file) needs recovery, which writes: that happens on a private copy of the index in the temporary folder.
"""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path

from mlforhpc.core.errors import StoreDamaged
from mlforhpc.store.index import Index, connect, identify


def open_for_reading(folder: Path, release: ExitStack) -> Index:
    """The index of a store; `release` gets what is to be closed."""
    try:
        return _opened(folder / "index.sqlite", "ro&readonly_shm=1", folder, release)
    except sqlite3.OperationalError:
        return _opened(_private_copy(folder, release), "rw", folder, release)


def _opened(file: Path, mode: str, folder: Path, release: ExitStack) -> Index:
    connection = connect(file, mode)
    try:
        if not identify(connection, folder):
            raise StoreDamaged(f"{folder} should be a store, but its 'index.sqlite' is empty. Restore that file from a copy.")
        connection.execute("SELECT max(id) FROM record").fetchone()
    except BaseException:
        connection.close()
        raise
    index = Index(connection)
    release.callback(index.close)
    return index


def _private_copy(folder: Path, release: ExitStack) -> Path:
    """A copy of the index and its journal, taken between two commits."""
    copy = Path(release.enter_context(tempfile.TemporaryDirectory(prefix="mlforhpc-store-")))
    with ExitStack() as locked:
        if (folder / "commit.lock").exists():
            lock = locked.enter_context((folder / "commit.lock").open("rb"))
            fcntl.flock(lock, fcntl.LOCK_SH)
        for suffix in ("", "-wal", "-journal"):
            source = folder / f"index.sqlite{suffix}"
            if source.exists():
                shutil.copyfile(source, copy / source.name)
    return copy / "index.sqlite"
