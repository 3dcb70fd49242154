"""Shared arrays on hosts that do not see the driver's folder: each file travels once to each host, when a task first needs it.

A file keeps its path, so that a reference means the same everywhere. The driver lends what lies in its scratch folder,
and nothing else.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from mlforhpc.core.scratch import LOCK
from mlforhpc.engines._messages import Heard, Piece, Wanted

_PIECE_BYTES = 4 << 20
_FETCH_S = 600.0


def pieces(folder: Path, path: str) -> Iterator[Piece]:
    """The driver's side: a file of its folder, cut; of anything else, only the end."""
    file = Path(path)
    if file.parent == folder and file.suffix == ".npy" and file.is_file():
        with file.open("rb") as opened:
            while data := opened.read(_PIECE_BYTES):
                yield Piece(path, data)
    yield Piece(path, b"")


class Borrowed:
    """The worker's side.

    Args:
        folder: the driver's scratch folder, by name.
        say: sends to the driver.

    Attributes:
        near: the driver's folder is visible here; nothing need travel, and large results can go through it.
    """

    def __init__(self, folder: Path, say: Callable[[Heard], None]) -> None:
        self._folder = folder
        self._say = say
        self.near = (folder / LOCK).exists()
        self._there: dict[str, threading.Event] = {}
        self._made = False

    def fetch(self, path: str) -> None:
        """Have a shared file here, or let the task say that it is missing."""
        if self.near or Path(path).exists():
            return
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700, parents=True)
            self._made = True
        with (self._folder / "borrowing").open("w") as lock:  # one worker of this host fetches
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not Path(path).exists():
                self._there[path] = threading.Event()
                self._say(Wanted(path))
                self._there[path].wait(_FETCH_S)

    def take(self, piece: Piece) -> None:
        """A piece has arrived."""
        part = Path(piece.path + ".part")
        if piece.data:
            with part.open("ab") as file:
                file.write(piece.data)
            return
        if part.exists():
            part.rename(piece.path)
        self.wake(piece.path)

    def forget(self, path: str) -> None:
        """It is not shared any more."""
        if not self.near:
            Path(path).unlink(missing_ok=True)

    def wake(self, path: str) -> None:
        """Nobody need wait for this file any longer."""
        waiting = self._there.pop(path, None)
        if waiting is not None:
            waiting.set()

    def leave(self) -> None:
        """The driver is gone."""
        for path in list(self._there):
            self.wake(path)
        if self._made:
            shutil.rmtree(self._folder, ignore_errors=True)
