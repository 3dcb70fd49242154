"""A snapshot of an online scenario, for pages, metrics and reports."""

from __future__ import annotations

from mlforhpc.core.simulation import Simulation
from mlforhpc.scenarios.online_book import Book
from mlforhpc.scenarios.online_fits import Fits
from mlforhpc.scenarios.online_runs import Runs
from mlforhpc.scenarios.online_terms import Status, Terms


def snapshot(simulation: Simulation, terms: Terms, book: Book, fits: Fits, runs: Runs) -> Status:
    """How it does, now; under the lock."""
    state, ledger, live = book.state, book.state.ledger, fits.live
    ledger.busy_s = runs.busy_s
    speedup, gain = book.grown()
    audits, broken, _ = state.share.audits
    return Status(
        simulation=simulation.name,
        simulation_version=simulation.version,
        tolerance=terms.tolerance,
        delta=terms.delta,
        surrogate_version="" if live is None else live.version,
        runs=0 if live is None else live.rows,
        answers=dict(state.answers),
        broken_limit=state.share.limit(),
        broken_limit_corrected=state.share.limit(corrected=True),
        audits=audits,
        broken=broken,
        open_threshold=book.limit(terms.tolerance),
        thresholds=book.thresholds(),
        learning="fitting" if fits.fitting else "idle",
        fits=state.fits,
        accepted=state.accepted,
        refused=state.refused,
        last_learned=state.last_learned,
        waiting_answers=runs.answers,
        waiting_audits=runs.audits,
        queue=terms.queue,
        recent_audits=tuple(state.audits),
        events=tuple(state.events),
        effective_speedup=speedup,
        gain=gain,
        growth=tuple(state.growth),
        noise=book.noise,
        simulation_cost_s=ledger.run_s / ledger.runs if ledger.runs else None,
        lookup_s=ledger.one_lookup_s if ledger.lookups else None,
        unkept=state.unkept,
        simulations=ledger.runs,
        audit_runs=ledger.audit_runs,
        audit_s=ledger.audit_s,
        fit_s=ledger.fit_s,
    )
