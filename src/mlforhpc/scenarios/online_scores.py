"""Predictions that wait for the runs they are compared with: fallbacks', and those of answers that are being audited."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from threading import Condition

import numpy as np

from mlforhpc.core.errors import MLforHPCError
from mlforhpc.core.record import Record
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_fits import Fits
from mlforhpc.scenarios.online_runs import Runs
from mlforhpc.scenarios.online_state import Pending
from mlforhpc.scenarios.online_terms import Look


class Scores:
    """See the file's docstring.

    Attributes:
        closing: runs that end now, without an answer, were cancelled: what waits for them waits for the next session.
    """

    def __init__(self, book: Book, runs: Runs, fits: Fits, lock: Condition) -> None:
        self._book, self._runs, self._fits, self._lock = book, runs, fits, lock
        self._means: dict[int, Mapping[str, FloatArray]] = {}
        self.closing = False

    def remember(self, look: Look, row: int, id: int, *, probability: float, weight: float, answered: bool) -> Pending:
        """Take a prediction in; under the lock."""
        assert look.prediction is not None
        replicas = self._runs.reserve(look.x[row], self._book.replicas(look.tolerance))
        half = look.rho[row] * look.tolerance
        pending = Pending(
            id=id, x=look.x[row].tolist(), half=half, tolerance=look.tolerance, version=look.version, probability=probability,
            weight=weight, replicas=replicas, answered=answered,
        )  # fmt: skip
        self._means[id] = {name: a[row].copy() for name, a in look.prediction.mean.items()}
        self._runs.audits += len(replicas) if answered else 0
        self._book.pend(pending)
        return pending

    def resume(self) -> None:
        """Take up what the last session left; what it had run already comes from the store."""
        for pending in list(self._book.state.pending):
            self._runs.audits += len(pending.replicas) if pending.answered else 0
            self.later(pending)

    def later(self, pending: Pending, *runs: Future[Record]) -> None:
        """Compare the prediction when its runs, of which some are under way already, are there."""
        x = np.array(pending.x)
        futures = [*runs, *(self._runs.start(x, k, "audit") for k in pending.replicas[len(runs) :])]
        left = [len(futures)]

        def ended(_: Future[Record]) -> None:
            with self._lock:
                left[0] -= 1
                if left[0]:
                    return
            self._score(pending, futures)

        for future in futures:
            future.add_done_callback(ended)

    def _score(self, pending: Pending, futures: list[Future[Record]]) -> None:
        runs = [f.result() for f in futures if f.exception() is None]
        if len(runs) < len(futures) and self.closing:
            return
        with self._lock:
            self._runs.audits -= len(pending.replicas) if pending.answered else 0
            if self._book.score(pending, self._predicted(pending), runs):
                self._fits.drift = True
            self._fits.consider()
            self._lock.notify_all()

    def _predicted(self, pending: Pending) -> Mapping[str, FloatArray] | None:
        """What the surrogate had said; after a restart, said again by that version. None if it is no longer there."""
        if pending.id in self._means:
            return self._means.pop(pending.id)
        with suppress(MLforHPCError):
            mean = self._fits.of_version(pending.version).predict(np.array([pending.x]), of="mean").mean
            return {name: a[0] for name, a in mean.items()}
        return None
