"""What SQLite and the operating system report, as the store's own errors: what was wanted, what was found, the way out."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from mlforhpc.core.errors import StoreDamaged, StoreError, StoreFull, StoreLocked

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_SPARE_BYTES = 1 << 20


def as_store_error(error: Exception, folder: Path, wanted: str) -> StoreError:
    """The store error behind an exception met while doing `wanted` ("write to", "read")."""
    if isinstance(error, StoreError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0
    number = error.errno if isinstance(error, OSError) else None
    if code == sqlite3.SQLITE_FULL or number in _FULL or (code == sqlite3.SQLITE_IOERR and _is_full(folder)):
        return StoreFull(
            f"Cannot {wanted} the store {folder}: no space is left on its disk ({error}). "
            "Every acknowledged record is kept; free some space and go on."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"Cannot {wanted} the store {folder}: its index 'index.sqlite' is damaged ({error}). "
            "Restore that file from a copy; the files in 'arrays' are not touched by this."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLocked(f"Cannot {wanted} the store {folder}: another program holds its index ({error}). Wait until it has ended.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or number in _UNWRITABLE:
        return StoreError(
            f"Cannot {wanted} the store {folder}: permission was refused ({error}). "
            "Choose another folder, or open it with read_only=True if you only read."
        )
    return StoreError(f"Cannot {wanted} the store {folder}: {type(error).__name__}: {error}. What was acknowledged is kept.")


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _SPARE_BYTES
    except OSError:
        return False
