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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import MLforHPCError, StoreError, TaskError, UsageError
from mlforhpc.core.future import LeanFuture
from mlforhpc.core.learner import Surrogate
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.scenarios.gated import Answer, of_run
from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_fits import Fits
from mlforhpc.scenarios.online_runs import Runs
from mlforhpc.scenarios.online_scoring import half_widths
from mlforhpc.scenarios.online_state import Pending
from mlforhpc.scenarios.online_terms import Busy, Look, Status, Terms

__all__ = ["Answer", "Busy", "Look", "Online", "Status", "Terms"]

Source: TypeAlias = Literal["auto", "simulation", "surrogate"]
_SAVE_S = 1.0
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
        self._jobs: deque[Callable[[], None]] = deque()
        self._working = self._closing = self._unsaved = False
        self._book = Book(simulation, terms, self.folder, self._decide)
        self._fits = Fits(broker, simulation, terms, self.folder, book=self._book, lock=self._lock, later=self._later)
        self._runs = Runs(broker, simulation, terms, self._lock, self._ran)
        self._means: dict[int, Mapping[str, FloatArray]] = {}
        self._unsure, self._looks = 0.0, 0
        self._recall()
        self._keeper = threading.Thread(target=self._keep, name=f"online {simulation.name}", daemon=True)
        self._keeper.start()
        for pending in list(self._book.state.pending):
            self._runs.audits += len(pending.replicas) if pending.answered else 0
            self._score_later(pending)
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
            return Look(x, granted, None, np.full(n, inf), np.zeros(n, dtype=bool), "")
        self._looks += 1
        timed = self._looks % _TIMED == 0
        began = time.perf_counter() if timed else 0.0
        p = live.surrogate.predict(x, of="mean")
        rho = half_widths(p, self.simulation.outputs) / granted  # (n,)
        sure = (rho <= self._book.limit(granted)) & p.inside
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
        if source == "auto" and (look.sure[0] if len(look.sure) == 1 else look.sure.all()):
            self._count(look, range(len(look.x)))
            return {}
        rows = range(len(look.x)) if source == "simulation" else np.flatnonzero(~look.sure).tolist()
        with self._lock:
            self._book.gate(look.tolerance)  # refused before room is taken
            self._runs.room(len(rows))
        if source == "auto" and len(rows) < len(look.x):
            self._count(look, np.flatnonzero(look.sure).tolist())
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
            rho=float(look.rho[0]),
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
            state, ledger, live = self._book.state, self._book.state.ledger, self._fits.live
            ledger.busy_s = self._runs.busy_s
            speedup, gain = self._book.grown()
            audits, broken, _ = state.share.audits
            return Status(
                simulation=self.simulation.name,
                simulation_version=self.simulation.version,
                tolerance=self.terms.tolerance,
                delta=self.terms.delta,
                surrogate_version="" if live is None else live.version,
                runs=0 if live is None else live.rows,
                answers=dict(state.answers),
                broken_limit=state.share.limit(),
                broken_limit_corrected=state.share.limit(corrected=True),
                audits=audits,
                broken=broken,
                open_threshold=self._book.limit(self.terms.tolerance),
                thresholds=self._book.thresholds(),
                learning="fitting" if self._fits.fitting else "idle",
                fits=state.fits,
                accepted=state.accepted,
                refused=state.refused,
                last_learned=state.last_learned,
                waiting_answers=self._runs.answers,
                waiting_audits=self._runs.audits,
                queue=self.terms.queue,
                recent_audits=tuple(state.audits),
                events=tuple(state.events),
                effective_speedup=speedup,
                gain=gain,
                growth=tuple(state.growth),
                noise=self._book.noise,
                simulation_cost_s=ledger.run_s / ledger.runs if ledger.runs else None,
                lookup_s=ledger.one_lookup_s if ledger.lookups else None,
                unkept=state.unkept,
            )

    def broken_limit(self) -> float | None:
        """Anytime-valid 95 % upper limit of the share of the surrogate's answers that are broken; None before any."""
        with self._lock:
            return self._book.state.share.limit()

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing runs, is fitted or is being scored; False if that takes longer."""
        with self._lock:
            return self._lock.wait_for(lambda: not (self._runs.flying or self._jobs or self._working or self._fits.fitting), timeout_s)

    def close(self) -> None:
        """Save and end; what is under way goes on with the broker, and is taken up again by the next session. Once is enough."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._keeper.join()

    def __enter__(self) -> Online:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # behind the answers

    def _count(self, look: Look, rows: Sequence[int]) -> None:
        """Count the surrogate's answers, and submit the audits that the coins ask for."""
        with self._lock:
            self._unsure *= 1.0 - _DRIFT
            audits, p, weight = self._book.answered(look.tolerance, len(rows), waiting=self._runs.audits)
            if not audits:
                return
            pendings = [self._pending(look, rows[i], id, p, weight) for i, id in audits]
        for pending in pendings:
            self._score_later(pending)

    def _pending(self, look: Look, row: int, id: int, probability: float, weight: float, *, answered: bool = True) -> Pending:
        """Remember a prediction until its runs are there; under the lock."""
        assert look.prediction is not None
        replicas = self._runs.reserve(look.x[row], self._book.replicas(look.tolerance))
        half = float(look.rho[row]) * look.tolerance
        pending = Pending(
            id=id, x=look.x[row].tolist(), half=half, tolerance=look.tolerance, version=look.version, probability=probability,
            weight=weight, replicas=replicas, answered=answered,
        )  # fmt: skip
        self._means[id] = {name: a[row].copy() for name, a in look.prediction.mean.items()}
        self._runs.audits += len(replicas) if answered else 0
        self._book.pend(pending)
        return pending

    def _fallback(self, look: Look, row: int, *, scored: bool) -> Future[Answer]:
        x, rho, p, pending = look.x[row], float(look.rho[row]), look.prediction, None
        with self._lock:
            self._unsure += _DRIFT * (1.0 - self._unsure)
            known = self._runs.known(x)
            if scored and not known and p is not None and p.inside[row] and self._book.scores(rho * look.tolerance):
                weight = self.terms.audit if self._book.limit(look.tolerance) else 1.0
                pending = self._pending(look, row, self._book.new_id(), 1.0, weight, answered=False)
            elif not known:
                self._runs.reserve(x, 1)
        run = self._runs.start(x, 0, "fallback")
        answer = _Asked(run)
        stored = known and run.done()
        run.add_done_callback(lambda ended: self._answer(answer, ended, rho=rho, version=look.version, stored=stored))
        if pending is not None:
            self._score_later(pending, run)
        return answer

    def _answer(self, answer: _Asked, ended: Future[Record], *, rho: float, version: str, stored: bool) -> None:
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

    def _score_later(self, pending: Pending, *runs: Future[Record]) -> None:
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
        if len(runs) < len(futures) and self._closing:
            return  # it stays pending, for the next session
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

    def _later(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            self._lock.notify_all()

    def _keep(self) -> None:
        """The scenario's own thread: begins and ends fits, and saves the state once a second."""
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
                self._book.event(f"The state of '{self.simulation.name}' cannot be saved ({error.strerror}); it is tried every second.")
            self._unsaved = True
        else:
            self._unsaved = False


class _Asked(LeanFuture[Answer]):
    """An answer that the simulation gives; to cancel it is to leave its run."""

    __slots__ = ("_run",)

    def __init__(self, run: Future[Record]) -> None:
        super().__init__()
        self._run = run

    def cancel(self) -> bool:
        return self._run.cancel()
