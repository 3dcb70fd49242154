"""Fits in the background of an online scenario: begun when there is enough news, run on the engine, and the new surrogate replaces the old
one only if it is better on answers that neither has seen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Condition

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import MLforHPCError
from mlforhpc.core.learner import Dataset, Learner, Surrogate
from mlforhpc.core.names import load as load_name
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.learners._loading import load
from mlforhpc.learners._saved import replace_file
from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_learning import Curriculum, Fitted, fit, interval_score
from mlforhpc.scenarios.online_terms import Terms

KEPT = 20
"""Surrogates on disk, newest last: those that answered before, for whoever asks where a number came from."""


@dataclass(frozen=True, slots=True)
class Live:
    """The surrogate that answers, its version, and how many runs it learned from."""

    surrogate: Surrogate
    version: str
    rows: int


class Fits:
    """See the file's docstring.

    Attributes:
        live: what answers now, or None; replaced as a whole.
        fitting: a fit is under way.
        drift: requests or broken answers say that what was learned no longer fits.
    """

    def __init__(
        self, broker: Broker, simulation: Simulation, terms: Terms, folder: Path, *, book: Book, lock: Condition, later: Callable[..., None]
    ) -> None:
        """`later` runs a function in the scenario's own thread; `lock` guards book and curriculum."""
        self._broker, self._simulation, self._terms = broker, simulation, terms
        self._book, self._lock, self._later = book, lock, later
        self._folder = folder / "surrogates"
        self._folder.mkdir(parents=True, exist_ok=True)
        said = terms.learner
        self._learner: Learner = load_name("learners", said).create() if isinstance(said, str) else said
        self.curriculum = Curriculum(simulation, seed=derive(terms.seed, "rows"))
        self.fitting = self.drift = False
        self.live = self._loaded()

    def _loaded(self) -> Live | None:
        state = self._book.state
        if not state.version:
            return None
        try:
            surrogate = self.of_version(state.version)
        except MLforHPCError as error:
            self._book.event(f"The surrogate {state.version} cannot be used and is fitted again: {error}")
            state.version, state.rows, state.fitted_at = "", 0, 0
            return None
        return Live(surrogate, state.version, state.rows)

    def of_version(self, version: str) -> Surrogate:
        """A surrogate that was kept.

        Raises:
            MLforHPCError: it is not there, damaged, or of other parameters or outputs.
        """
        return load(self._folder / f"{version}.safetensors")

    def consider(self, *, asked: bool = False) -> None:
        """Begin a fit if there is reason to; under the lock."""
        wanted = self.drift or not self._book.limit(self._terms.tolerance)
        if not self.fitting and (self.curriculum.due(wanted=wanted) or (asked and len(self.curriculum.lesson()) >= 2)):
            self.fitting, self.drift = True, False
            self._book.state.fits += 1
            data, held = self.curriculum.lesson(), self.curriculum.held_out()
            self._book.state.fitted_at = self.curriculum.fitted_at
            self._later(partial(self._begin, data, held, self._book.state.fits))

    def _begin(self, data: Dataset, held: Dataset, number: int) -> None:
        seed = derive(self._terms.seed, "fit", number)
        future = self._broker.submit("learn", fit, self._learner, data, seed, label="learn")
        future.add_done_callback(lambda ended: self._later(partial(self._end, ended, data, held)))

    def _end(self, ended: Future[Fitted], data: Dataset, held: Dataset) -> None:
        """Take the fit's result; whatever goes wrong, the old surrogate stays."""
        try:
            fitted = ended.result()
            surrogate = self._kept(fitted.content)
            scores = self._scores(surrogate, held)
        except (MLforHPCError, OSError) as error:
            with self._lock:
                self.fitting = False
                self._book.event(f"A fit to {len(data)} runs failed, the surrogate stays as it is: {str(error).splitlines()[0]}")
                self._lock.notify_all()
            return
        with self._lock:
            self._book.state.ledger.fit_s += fitted.cost_s
            self._judge(surrogate, data, scores)
            self.fitting = False
            self.consider()
            self._lock.notify_all()

    def _kept(self, content: bytes) -> Surrogate:
        """The surrogate, on disk under its version."""
        candidate = self._folder / "candidate.safetensors"
        replace_file(candidate, content)
        surrogate = load(candidate)
        candidate.replace(self._folder / f"{surrogate.version}.safetensors")
        return surrogate

    def _scores(self, surrogate: Surrogate, held: Dataset) -> tuple[float, float] | None:
        """Interval scores of the new and the old one on answers that neither has seen; None if there is nothing to compare."""
        if self.live is None or not len(held):
            return None
        return interval_score(surrogate, held), interval_score(self.live.surrogate, held)

    def _judge(self, surrogate: Surrogate, data: Dataset, scores: tuple[float, float] | None) -> None:
        state = self._book.state
        better = scores is None or scores[0] < scores[1]
        compared = "" if scores is None else f", interval score on held-out answers {scores[0]:.3g} against {scores[1]:.3g}"
        verb = "replaces the one before" if self.live and better else "is the first" if better else "is no better and was refused"
        state.last_learned = f"Surrogate {surrogate.version} from {len(data)} runs {verb}{compared}."
        if better:
            self.live = Live(surrogate, surrogate.version, len(data))
            state.version, state.rows, state.accepted = surrogate.version, len(data), state.accepted + 1
        else:
            state.refused += 1
        numbers = {} if scores is None else {"score": scores[0], "score_before": scores[1]}
        what = {"version": surrogate.version, "runs": len(data), "simulation": self._simulation.name, **numbers}
        with suppress(OSError):  # of a full disk: the trace tries again with the next event
            self._broker.decide("learned" if better else "refused", **what)
        self._book.event(state.last_learned)
        with suppress(OSError):  # it is saved again every second
            self._book.save()
        self._forget()

    def _forget(self) -> None:
        """Remove the oldest surrogates, but none that an audit under way still needs."""
        needed = {self._book.state.version, *(p.version for p in self._book.state.pending)}
        files = sorted(self._folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-KEPT]:
            if file.stem not in needed:
                file.unlink(missing_ok=True)
