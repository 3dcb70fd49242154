"""File locks (flock): they end with their process, and waiting for one is fair, which waiting inside SQLite is not.

commit.lock: held for the length of one commit, by each writer in turn; holds the bytes of arrays/ (see budget.py)
writers.lock: held as long as a writer is open: shared by the writers of a local disk, exclusive on a shared file system
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import threading
from pathlib import Path
from types import TracebackType

from mlforhpc.core.errors import StoreError, StoreLocked

_COUNT_DIGITS = 20


class CommitLock:
    """`with lock:` excludes every other process and every other thread of this one."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def read_count(self) -> int | None:
        """The number that the file holds; None if nobody counts."""
        digits = os.pread(self._fd, _COUNT_DIGITS, 0)
        return int(digits) if digits.isdigit() else None

    def write_count(self, count: int) -> None:
        """Change the number; under the lock."""
        os.pwrite(self._fd, f"{count:0{_COUNT_DIGITS}d}".encode(), 0)

    def close(self) -> None:
        os.close(self._fd)


class WriterLock:
    """Says that a writer is open; taken at once or refused with `StoreLocked`."""

    def __init__(self, path: Path, *, alone: bool) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take(path, alone=alone)
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, path: Path, *, alone: bool) -> None:
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 200).decode(errors="replace") or "another process"
            raise StoreLocked(
                f"The store {path.parent} takes one writer on a shared file system, and {holder} writes to it. "
                "Wait until it has ended, put the store on a local disk, or open it with read_only=True."
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                raise StoreError(
                    f"A store needs file locks, and the file system of {path.parent} offers none ({error.strerror}). "
                    "Put the store elsewhere, or ask for the mount option 'flock'."
                ) from None
            raise
        if alone:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"process {os.getpid()} on host {socket.gethostname()}".encode())

    def close(self) -> None:
        os.close(self._fd)
