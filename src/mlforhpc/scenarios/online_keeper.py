"""The one thread of an online scenario: what must not be done while an answer waits, and the state on disk once a second."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_runs import Runs

_SAVE_S = 1.0


class Keeper:
    """See the file's docstring; `lock` guards book and runs, and is told of every change."""

    def __init__(self, name: str, book: Book, runs: Runs, lock: threading.Condition) -> None:
        self._name, self._book, self._runs, self._lock = name, book, runs, lock
        self._jobs: deque[Callable[[], None]] = deque()
        self._working = self._closing = self._unsaved = False
        self._thread = threading.Thread(target=self._keep, name=f"online {name}", daemon=True)

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._jobs) or self._working

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def later(self, job: Callable[[], None]) -> None:
        """Do it in this thread."""
        with self._lock:
            self._jobs.append(job)
            self._lock.notify_all()

    def close(self) -> None:
        """Do what is left, save, and end."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join()

    def _keep(self) -> None:
        saved = time.monotonic()
        while True:
            with self._lock:
                self._working = False
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._jobs or self._closing, _SAVE_S)
                job = self._jobs.popleft() if self._jobs else None
                self._working = job is not None
                if time.monotonic() - saved >= _SAVE_S or self._closing:
                    self._save()
                    saved = time.monotonic()
                if job is None and self._closing:
                    return
            if job is not None:
                job()

    def _save(self) -> None:
        try:
            self._book.state.ledger.busy_s = self._runs.busy_s
            self._book.grown()
            self._book.save()
        except OSError as error:
            self._book.changed = True
            if not self._unsaved:
                self._book.event(f"The state of '{self._name}' cannot be saved ({error.strerror}); it is tried every second.")
            self._unsaved = True
        else:
            self._unsaved = False
