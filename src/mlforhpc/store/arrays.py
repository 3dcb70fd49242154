"""Large payloads as files named by their sha256: arrays/ab/abcd....npy, each a flat float64 array for `numpy.load`.

A file is written and synced under parts/<writer>/, and renamed when its record is committed; a name in arrays/ is
therefore always a whole file, and only `prune` deletes one. What a killed writer left in parts/ is swept by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAPS = 128  # each holds a file descriptor, of which a process has 1,024


@dataclass(frozen=True, slots=True)
class Part:
    """A payload on disk that no record refers to yet."""

    path: Path
    target: Path
    size_bytes: int


class ArrayFiles:
    """The array files of one store.

    Args:
        folder: of the store.
        mapped: map files into memory instead of reading them. Not on a file system of several hosts: another one may delete them.
    """

    def __init__(self, folder: Path, *, mapped: bool) -> None:
        self._mapped = mapped
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._arrays = folder / "arrays"
        self._parts = folder / "parts"
        self._mine = self._parts / uuid.uuid4().hex
        self._held: int | None = None

    def path(self, sha256: str) -> Path:
        return self._arrays / sha256[:2] / f"{sha256}.npy"

    def files(self) -> Iterator[Path]:
        """Every file in arrays/."""
        return self._arrays.glob("??/*.npy")

    def total_bytes(self) -> int:
        """Of all files; one that is being deleted does not count."""
        total = 0
        for file in self.files():
            with contextlib.suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def read(self, sha256: str) -> bytearray | mmap.mmap:
        """The file's bytes, unchecked: private pages of the file where it can be mapped (writing to them changes no file)."""
        with self.path(sha256).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if self._mapped and size and len(self._maps) < _MAPS:
                with contextlib.suppress(OSError):  # too many maps in this process, say: then it is read
                    pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
                    self._maps.add(pages)
                    return pages
            content = bytearray(size)
            view, done = memoryview(content), 0
            while done < size and (count := file.readinto(view[done:])):
                done += count
        return content

    def begin(self, *, alone: bool) -> None:
        """Sweep what dead writers left and make room for our own parts; called under the commit lock.

        Args:
            alone: this is the only writer there can be; else a writer that lives is told by the lock on its folder.
        """
        self._parts.mkdir(exist_ok=True)
        self._arrays.mkdir(exist_ok=True)
        for left in self._parts.iterdir():
            if alone or not _is_held(left):
                shutil.rmtree(left)
        self._mine.mkdir()
        if not alone:
            self._held = os.open(self._mine, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._held, fcntl.LOCK_EX)

    def write(self, sha256: str, payload: bytes) -> Part:
        """Write and sync a payload beside its place; a failed write leaves nothing."""
        part = Part(self._mine / uuid.uuid4().hex, self.path(sha256), len(payload))
        try:
            with part.path.open("xb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self.discard(part)
            raise
        return part

    def keep(self, parts: list[Part]) -> None:
        """Rename parts to their places (again, if a first try got half-way) and sync the folders that name them."""
        folders = {part.target.parent for part in parts}
        for folder in folders:
            if not folder.is_dir():
                folder.mkdir()
                sync_folder(self._arrays)
        for part in parts:
            if part.path.exists() or not part.target.exists():
                part.path.replace(part.target)
        for folder in folders:
            sync_folder(folder)

    def discard(self, part: Part) -> None:
        part.path.unlink(missing_ok=True)

    def end(self) -> None:
        """Give our own parts folder back."""
        shutil.rmtree(self._mine, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
            self._held = None


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that the names in it survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_held(folder: Path) -> bool:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
