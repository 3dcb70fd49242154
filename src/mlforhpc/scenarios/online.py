"""Scenario `online` (MLaroundHPC, the gated call): the surrogate answers where it is sure, the simulation everywhere else; every answer is
kept, and learning happens by itself as answers accumulate.

    look -> gate -> serve: surrogate | simulation -> record -> score -> learn -> a better surrogate
"At most a share delta of the surrogate's answers is off by more than the tolerance": a gate opens on evidence (`gate`), a coin audits
answers (`broken_share`), so what was promised is measured while it is used. Source of the architecture: Fox & Jha, Learning Everywhere,
2019, doi 10.1109/eScience.2019.00057.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import StoreError, TaskError, UsageError
from mlforhpc.core.learner import Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.scenarios.gated import Answer, of_run
from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_fits import Fits
from mlforhpc.scenarios.online_keeper import Keeper
from mlforhpc.scenarios.online_runs import Asked, Runs
from mlforhpc.scenarios.online_scores import Scores
from mlforhpc.scenarios.online_status import snapshot
from mlforhpc.scenarios.online_terms import Busy, Look, Status, Terms
from mlforhpc.scenarios.relative import HalfWidths

__all__ = ["Answer", "Busy", "Look", "Online", "Status", "Terms"]

Source: TypeAlias = Literal["auto", "simulation", "surrogate"]
_TIMED = 64
"""One lookup in so many is timed."""
_DRIFT = 0.05
"""Weight of a request in the share that the surrogate was not sure of."""


class Online:
    """See the file's docstring; any thread may call.

    Attributes:
        simulation, terms, folder: as given.
    """

    def __init__(self, broker: Broker, simulation: Simulation, *, folder: str | Path, terms: Terms = Terms()) -> None:
        """Go on where the folder stopped, with all runs that the broker's store has.

        Args:
            broker: where simulations and fits run; its store keeps the answers.
            simulation: what is asked for.
            folder: of surrogates and state; made if it is not there.
            terms: what is promised, and what may be spent.

        Raises:
            UsageError: bad terms, or no such learner.
            StoreDamaged: the state cannot be read.
        """
        self.simulation, self.terms, self.folder = simulation, terms, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._broker = broker
        self._lock = threading.Condition(threading.RLock())
        self._book = Book(simulation, terms, self.folder, self._decide)
        self._runs = Runs(broker, simulation, terms, self._lock, self._ran)
        self._keeper = Keeper(simulation.name, self._book, self._runs, self._lock)
        self._fits = Fits(broker, simulation, terms, self.folder, book=self._book, lock=self._lock, later=self._keeper.later)
        self._scores = Scores(self._book, self._runs, self._fits, self._lock)
        self._unsure, self._looks = 0.0, 0
        self._half_widths = HalfWidths(simulation.outputs)
        self._recall()
        self._keeper.start()
        self._scores.resume()
        with self._lock:
            self._fits.consider()

    @property
    def surrogate(self) -> Surrogate | None:
        """What answers now."""
        live = self._fits.live
        return None if live is None else live.surrogate

    # asking

    def look(self, x: FloatArray, tolerance: float | None = None) -> Look:
        """What the surrogate says at points x (n, d) in physical units; changes nothing.

        Raises:
            OutOfBounds, UsageError: a point outside the space, or a tolerance that cannot be promised.
        """
        granted = self._book.tolerance(tolerance)
        live = self._fits.live
        if live is None:
            x = self.simulation.space.check(x)
            n = len(x)
            return Look(x, granted, None, [inf] * n, [False] * n, "")
        self._looks += 1
        timed = self._looks % _TIMED == 0
        began = time.perf_counter() if timed else 0.0
        p = live.surrogate.predict(x, of="mean")
        limit = self._book.limit(granted)
        if len(x) == 1:
            one = self._half_widths.one(p) / granted
            rho, sure = [one], [one <= limit and bool(p.inside[0])]
        else:
            of_all = self._half_widths(p) / granted  # (n,)
            rho, sure = of_all.tolist(), ((of_all <= limit) & p.inside).tolist()
        if timed and len(x) == 1:
            ledger = self._book.state.ledger
            ledger.lookup_s, ledger.lookups = ledger.lookup_s + time.perf_counter() - began, ledger.lookups + 1
        return Look(x, granted, p, rho, sure, live.version)

    def serve(self, look: Look, source: Source = "auto") -> Mapping[int, Future[Answer]]:
        """Let the surrogate answer the rows it is sure of, and the simulation the others.

        Args:
            look: what the surrogate said.
            source: "auto"; "simulation" for all rows; "surrogate" for all rows, which promises nothing.

        Returns:
            A future for each row that the surrogate does not answer; it raises TaskError where the simulation fails.

        Raises:
            Busy: too many simulations wait; nothing was changed.
            UsageError: there is no surrogate, or more simulations than may ever wait.
        """
        if source == "surrogate":
            if look.prediction is None:
                raise UsageError(f"'{self.simulation.name}' has no surrogate yet: ask with source 'auto', or try again later.")
            return {}
        if source == "auto" and all(look.sure):
            self._count(look, range(len(look.x)))
            return {}
        rows = [row for row, sure in enumerate(look.sure) if source == "simulation" or not sure]
        with self._lock:
            self._book.gate(look.tolerance)  # refused before room is taken
            self._runs.room(len(rows))
        if source == "auto" and len(rows) < len(look.x):
            self._count(look, [row for row, sure in enumerate(look.sure) if sure])
        futures: dict[int, Future[Answer]] = {}
        try:
            for row in rows:
                futures[row] = self._fallback(look, row, scored=source == "auto")
        finally:
            with self._lock:
                self._runs.answers -= len(rows) - len(futures)  # of those that could not be begun
        return futures

    def ask(self, x: Mapping[str, Value], tolerance: float | None = None) -> Answer:
        """The outputs at a point of the space: the surrogate's where it is sure, else the simulation's, which it waits for.

        Raises:
            OutOfBounds, UsageError: bad input; nothing was run.
            Busy: too many simulations wait.
            TaskError: the simulation was needed, and failed.
        """
        look = self.look(self.simulation.space.row(x)[None], tolerance)
        futures = self.serve(look)
        if futures:
            return futures[0].result()
        p = look.prediction
        assert p is not None
        return Answer(
            values={name: a[0] for name, a in p.mean.items()},
            lower={name: a[0] for name, a in p.lower.items()},
            upper={name: a[0] for name, a in p.upper.items()},
            source="surrogate",
            rho=look.rho[0],
            surrogate_version=look.version,
        )

    def cancel(self, future: Future[Answer]) -> bool:
        """Nobody waits for this answer any more; a run that others wait for, too, goes on."""
        return future.cancel()

    def learn(self) -> None:
        """Fit again now, on the engine."""
        with self._lock:
            self._fits.consider(asked=True)

    def status(self) -> Status:
        """How it does, now."""
        with self._lock:
            return snapshot(self.simulation, self.terms, self._book, self._fits, self._runs)

    def broken_limit(self) -> float | None:
        """Anytime-valid 95 % upper limit of the share of the surrogate's answers that are broken; None before any."""
        with self._lock:
            return self._book.state.share.limit()

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing runs, is fitted or is being scored; False if that takes longer."""
        with self._lock:
            return self._lock.wait_for(lambda: not (self._runs.flying or self._keeper.busy or self._fits.fitting), timeout_s)

    def close(self) -> None:
        """Save and end; what is under way goes on with the broker, and is taken up again by the next session. Once is enough."""
        self._scores.closing = True
        self._keeper.close()

    def __enter__(self) -> Online:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # behind the answers

    def _count(self, look: Look, rows: Sequence[int]) -> None:
        """Count the surrogate's answers, and submit the audits that the coins ask for."""
        with self._lock:
            self._unsure *= 1.0 - _DRIFT
            audits = self._book.answered(look.tolerance, [look.rho[row] for row in rows], waiting=self._runs.audits)
            if not audits:
                return
            drawn = [
                self._scores.remember(look, rows[a.row], a.id, probability=a.probability, weight=a.weight, answered=True) for a in audits
            ]
        for pending in drawn:
            self._scores.later(pending)

    def _fallback(self, look: Look, row: int, *, scored: bool) -> Future[Answer]:
        x, rho, p, pending = look.x[row], look.rho[row], look.prediction, None
        with self._lock:
            self._unsure += _DRIFT * (1.0 - self._unsure)
            known = self._runs.known(x)
            if scored and not known and p is not None and p.inside[row] and self._book.scores(rho * look.tolerance):
                weight = self.terms.audit if self._book.limit(look.tolerance) else 1.0
                pending = self._scores.remember(look, row, self._book.new_id(), probability=1.0, weight=weight, answered=False)
            elif not known:
                self._runs.reserve(x, 1)
        try:
            run = self._runs.start(x, 0, "fallback")
        except BaseException:
            with self._lock:
                self._runs.answers -= 1
            raise
        answer = Asked(run)
        stored = known and run.done()
        run.add_done_callback(lambda ended: self._answer(answer, ended, rho=rho, version=look.version, stored=stored))
        if pending is not None:
            self._scores.later(pending, run)
        return answer

    def _answer(self, answer: Asked, ended: Future[Record], *, rho: float, version: str, stored: bool) -> None:
        with self._lock:
            self._runs.answers -= 1
        try:
            run = ended.result()
            if run.outcome != "ok":
                sentence = f"The surrogate was not sure (rho {rho:.2f}), and the simulation ended as {run.outcome}."
                raise TaskError(sentence, outcome=run.outcome, remote_traceback=run.reason)
        except Exception as error:
            answer.set_exception(error)
            return
        given = of_run(run, rho=rho, version=version, source="store" if stored else "simulation")
        with self._lock:
            self._book.other(given.source, kept=given.kept)
        self._decide("gate", source=given.source, rho=rho, key=run.key, version=version)
        answer.set_result(given)

    def _ran(self, run: Record) -> None:
        """A run that is new came back."""
        self._book.ran(run)
        ledger = self._book.state.ledger
        self._runs.one_s = ledger.run_s / ledger.runs
        self._fits.curriculum.add(run)
        if self._unsure > 0.5 and self._book.limit(self.terms.tolerance):
            self._fits.drift = True
        self._fits.consider()

    def _recall(self) -> None:
        """Take up all runs of the store; a damaged record ends that, and is told."""
        ledger, curriculum = self._book.state.ledger, self._fits.curriculum
        self._runs.busy_s = ledger.busy_s
        runs, run_s = 0, 0.0
        try:
            for run in self._runs.recall():
                curriculum.add(run)
                runs, run_s = runs + 1, run_s + run.cost_s
        except StoreError as error:
            self._book.event(f"Not all runs of the store could be read: {error}")
        ledger.runs, ledger.run_s = max(ledger.runs, runs), max(ledger.run_s, run_s)
        curriculum.fitted_at = self._book.state.fitted_at if self._fits.live is not None else 0

    def _decide(self, decision: str, /, **fields: Any) -> None:
        """Trace it; a disk that is full holds up no answer (the trace tries again with the next event)."""
        with suppress(OSError):
            self._broker.decide(decision, **fields)
