"""The book of an online scenario: gates, audits, counts and costs in one state, kept on disk, so that a restart goes on where it stopped.

Everything here is called under the scenario's lock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from math import floor, log10, sqrt
from pathlib import Path
from typing import Any, NamedTuple

from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.metrics.anytime import e_value
from mlforhpc.scenarios.broken_share import STEP, BrokenShare
from mlforhpc.scenarios.gate import GRID, EvidenceLaw, Law, ProximaLaw, Scored
from mlforhpc.scenarios.online_scoring import MOST, noise, squared_errors
from mlforhpc.scenarios.online_state import KEPT, NOISE_RUNS, SCORED, Pending, State
from mlforhpc.scenarios.online_terms import Terms

UNUSUAL = 1.3
"""Times the usual rho, above which an answer is audited more often; the usual one is the mean over some ..."""
MEMORY = 1000
"""... answers."""
MOST_GATES = 64
"""With as many, a new tolerance gets the next smaller one that has a gate, which promises more."""
ENOUGH = 20
"""Runs that a standard error of the noise can be taken from."""
STEPS_A_DECADE = 20
"""A tolerance is rounded down to one of these, so that requests share their evidence."""


class Drawn(NamedTuple):
    """An answer that is audited: which of the rows, the audit's id, its probability, and its weight (see `gate.Scored`)."""

    row: int
    id: int
    probability: float
    weight: float


class Book:
    """See the file's docstring.

    Attributes:
        state: what is kept.
        changed: since it was saved.
    """

    def __init__(self, simulation: Simulation, terms: Terms, folder: Path, decide: Callable[..., None]) -> None:
        self._simulation, self._terms, self._decide = simulation, terms, decide
        self._file = folder / "state.json"
        self.state = self._opened()
        self.state.sessions += 1
        self._coin = random.Random(derive(terms.seed, "coin", self.state.sessions))
        self._gates: dict[float, Law] = dict(self.state.gates)
        self._alarmed: dict[float, bool] = {}
        self._least = 0.0
        self.changed = True
        self.gate(terms.tolerance)

    def _opened(self) -> State:
        new = State(
            simulation_version=self._simulation.version, fidelity=self._terms.fidelity, share=BrokenShare(audit=self._terms.audit)
        )  # fmt: skip
        found = State.load(self._file)
        if found is None:
            return new
        if (found.simulation_version, found.fidelity) != (new.simulation_version, new.fidelity):
            self._file.rename(self._file.with_name(f"state-{found.simulation_version}.json"))
            return new
        promised = [gate for gate in found.gates if isinstance(gate[1], ProximaLaw) or gate[1].delta == self._terms.delta]
        found.gates = [gate for gate in promised if isinstance(gate[1], ProximaLaw) == (self._terms.law == "proxima")]
        if found.share.audit != self._terms.audit:  # an audit stands for another number of answers: its count begins anew
            found.share = BrokenShare(audit=self._terms.audit)
            found.pending = [p for p in found.pending if not p.answered]
        return found

    def save(self) -> None:
        """Put the state on disk if it changed."""
        if self.changed:
            self.changed = False
            self.state.gates = list(self._gates.items())
            self.state.save(self._file)

    # what may be answered

    def tolerance(self, asked: float | None) -> float:
        """The tolerance that a request gets: its own, rounded down; in any case no larger one.

        Raises:
            UsageError: it is no relative error, or below twice the noise of the simulation's own runs.
        """
        if asked is None or asked == self._terms.tolerance:
            granted = asked = self._terms.tolerance
        elif not 0.0 < asked < 1e6:
            raise UsageError(f"tolerance must be a relative error above 0, found {asked!r}.")
        else:
            granted = 10.0 ** (floor(log10(asked) * STEPS_A_DECADE + 1e-9) / STEPS_A_DECADE)
            if granted not in self._gates and len(self._gates) >= MOST_GATES:
                granted = max((gate for gate in self._gates if gate <= granted), default=granted)
        if asked < self._least:
            raise UsageError(
                f"A tolerance of {asked:.3g} was asked for, but a run of '{self._simulation.name}' at fidelity {self._terms.fidelity:g} is "
                f"itself off by {self.noise or 0.0:.3g}: ask for at least twice that, {2 * (self.noise or 0.0):.3g}, or raise the fidelity."
            )
        return granted

    def gate(self, tolerance: float) -> Law:
        """The gate of a tolerance."""
        law = self._gates.get(tolerance)
        if law is None:
            if len(self._gates) >= MOST_GATES:
                raise UsageError(f"{MOST_GATES} different tolerances are in use, as many as may be; ask for {self._terms.tolerance:g}.")
            law = ProximaLaw() if self._terms.law == "proxima" else EvidenceLaw(delta=self._terms.delta)
            self._gates[tolerance] = law
            for half, error, weight in self.state.scored:
                if half <= tolerance:
                    law.learn(Scored(rho=half / tolerance, error=error / tolerance, weight=weight, answered=False))
        return law

    def limit(self, tolerance: float) -> float:
        """Up to which rho the surrogate answers."""
        law = self._gates.get(tolerance)
        return law.limit if law is not None else 0.0

    def scores(self, half: float) -> bool:
        """Whether a prediction of this half-width says something to any gate."""
        return self._terms.law == "proxima" or half <= max(self._gates)

    def replicas(self, tolerance: float) -> int:
        """Runs that a prediction is compared with: two where one is too noisy to tell."""
        return 2 if (self.noise or 0.0) > tolerance / 4.0 else 1

    # what was answered

    def answered(self, tolerance: float, rhos: Sequence[float], *, waiting: int) -> list[Drawn]:
        """Count answers of the surrogate and toss their coins.

        An answer is audited four times as often while audits find broken ones, and where its rho is unusually large: requests that have
        moved to where the surrogate is less sure are found out before they have done much harm.

        Args:
            tolerance: of the request.
            rhos: of answers given at once.
            waiting: runs of audits under way.
        """
        state, queue = self.state, self._terms.queue
        fill, rows = waiting / queue, len(rhos)
        group, p = state.share.probability(fill=fill)
        while p and rows > 1 and rows * p > max(1.0, (1.0 - fill) * queue / 16):
            group, p = state.share.rarer(group)
        more = min(1.0, STEP * p) if not group else p
        alarmed, unusual = self._alarmed.get(tolerance, False), UNUSUAL * state.typical * self._terms.tolerance / tolerance
        self.changed = True
        state.answers["surrogate"] += rows
        audits, before = [], 0
        for i, rho in enumerate(rhos if p else ()):
            chance = more if alarmed or rho > unusual else p
            if self._coin.random() < chance:
                audits.append(Drawn(i, self.new_id(), chance, p / chance))
                if i > before:
                    state.share.serve(group, i - before)
                state.share.serve(group, audited=(audits[-1].id, chance))
                before = i + 1
        if before < rows:
            state.share.serve(group, rows - before)
        mean = sum(rhos) / rows * tolerance / self._terms.tolerance
        state.typical += (mean - state.typical) * max(rows / (rows + MEMORY), rows / state.answers["surrogate"])
        return audits

    def new_id(self) -> int:
        """Of a prediction that will be scored."""
        self.state.next_id += 1
        return self.state.next_id

    def other(self, source: str, *, kept: bool) -> None:
        """Count an answer that the simulation or the store gave."""
        self.changed = True
        self.state.answers[source] += 1
        self.state.unkept += not kept

    def pend(self, pending: Pending) -> None:
        """A prediction waits for its runs."""
        self.state.pending.append(pending)
        self.changed = True

    def ran(self, run: Record) -> None:
        """Pay for a run; its noise counts if it is among the first."""
        ledger = self.state.ledger
        ledger.runs += 1
        ledger.run_s += run.cost_s
        self.changed = True
        if run.outcome == "ok" and ledger.noise_runs < NOISE_RUNS:
            squared = noise(self._simulation.outputs, run)
            ledger.noise += squared
            ledger.noise_squares += squared**2
            ledger.noise_runs += 1
            self._least = self._least_tolerance()

    @property
    def noise(self) -> float | None:
        """Relative standard error of a run; None while fewer than four are known."""
        ledger = self.state.ledger
        return sqrt(ledger.noise / ledger.noise_runs) if ledger.noise_runs >= 4 else None

    def _least_tolerance(self) -> float:
        """Twice the noise, less what four standard errors of its estimate leave open."""
        ledger = self.state.ledger
        n = ledger.noise_runs
        if n < ENOUGH:
            return 0.0
        mean = ledger.noise / n
        spread = sqrt(max(0.0, ledger.noise_squares / n - mean**2) / n)
        return 2.0 * sqrt(max(0.0, mean - 4.0 * spread)) * (1.0 - 1e-9)

    # what was found out

    def score(self, pending: Pending, mean: Mapping[str, FloatArray] | None, runs: Sequence[Record]) -> bool:
        """Compare a prediction with its runs; True if that closed a threshold.

        A fallback without both is passed over; an audit without them counts as broken: what cannot be checked is not held to be right.
        """
        self.state.pending = [p for p in self.state.pending if p.id != pending.id]
        self.changed = True
        checked = mean is not None and all(run.outcome == "ok" for run in runs) and len(runs) == len(pending.replicas)
        if not checked and not pending.answered:
            return False
        observed, corrected = squared_errors(self._simulation.outputs, mean, runs) if checked and mean is not None else (MOST, MOST)
        self.state.scored = [*self.state.scored, (pending.half, sqrt(observed), pending.weight)][-SCORED:]
        closed = False
        for tolerance, law in self._gates.items():
            rho, mine = pending.half / tolerance, tolerance == pending.tolerance
            if rho > 1.0 and isinstance(law, EvidenceLaw):
                continue
            scored = Scored(rho=rho, error=sqrt(observed) / tolerance, weight=pending.weight, answered=pending.answered and mine)
            before = law.limit
            shut, opened = law.learn(scored)
            self._alarmed[tolerance] = law.alarmed
            if shut and mine:
                closed, self.state.scored = True, []
            if isinstance(law, EvidenceLaw) and (shut or opened):
                self._gate_moved(tolerance, before, law)
        if pending.answered:
            self.state.ledger.audit_runs += len(runs)
            self.state.ledger.audit_s += sum(run.cost_s for run in runs)
            self._audited(pending, observed, corrected, checked)
        return closed

    def _audited(self, pending: Pending, observed: float, corrected: float, checked: bool) -> None:
        broken, state = sqrt(observed) > pending.tolerance, self.state
        state.share.scored(pending.id, broken=broken, corrected=corrected > pending.tolerance**2)
        if checked:
            state.ledger.error += corrected / pending.probability
            state.ledger.error_weight += 1.0 / pending.probability
        point: dict[str, Value] = dict(self._simulation.space.point(pending.x))
        ratio = min(sqrt(observed) / pending.tolerance, 1e6)
        state.audits = [*state.audits, (time.time(), point, pending.half / pending.tolerance, ratio, broken, pending.version)][-KEPT:]
        what: dict[str, Any] = {"rho": pending.half / pending.tolerance, "error": ratio, "version": pending.version}
        self._decide("promise_broken" if broken else "audit", x=point, probability=pending.probability, **what)
        if broken:
            self.event(f"An audit found an answer off by {ratio:.2f} times its tolerance (rho {what['rho']:.2f}, {pending.version}).")

    def _gate_moved(self, tolerance: float, before: float, law: EvidenceLaw) -> None:
        shut = law.limit < before
        verb = "closed" if shut else "opened"
        self._decide(f"{verb}_threshold", tolerance=tolerance, rho=law.limit, closings=law.closings)
        where = f"up to rho {law.limit:g}" if law.limit else "nowhere"
        why = "Audits found too many broken answers: the" if shut else "The evidence suffices: the"
        self.event(f"{why} surrogate now answers {where} at tolerance {tolerance:g}.")

    def event(self, sentence: str) -> None:
        """Something worth telling a person."""
        self.state.events = [*self.state.events, (time.time(), sentence)][-KEPT:]
        self.changed = True

    def thresholds(self) -> tuple[tuple[float, int, int, float, bool], ...]:
        """(rho, scored, violations, e-value, open) of the default tolerance's gate."""
        law = self.gate(self._terms.tolerance)
        if not isinstance(law, EvidenceLaw):
            return ((law.limit, len(law.recent), sum(error > 1 for _, error in law.recent), 0.0, law.limit > 0),)
        rows = zip(GRID, law.thresholds, strict=True)
        return tuple((rho, t.scored, t.violations, e_value(t.opening), j < law.open) for j, (rho, t) in enumerate(rows))

    def grown(self) -> tuple[float | None, float | None]:
        """Effective speedup and gain so far; a point of their growth each time that answers grew by a tenth."""
        state = self.state
        answers = sum(state.answers.values())
        now = state.ledger.speedup(state.answers["surrogate"]), state.ledger.gain(answers, state.answers["surrogate"])
        if answers and (not state.growth or answers >= 1.1 * state.growth[-1][0] + 1):
            state.growth.append((answers, *now))
            self.changed = True
        return now
