"""Answers with a promise as a benchmark's result: verdict, headline, quality (the same on every engine) and performance."""

from __future__ import annotations

from collections.abc import Sequence

from mlforhpc.core.result import Interval, Result, Verdict
from mlforhpc.scenarios.answering import Answering, Growth, Stream
from mlforhpc.scenarios.answering_figures import figures, tables
from mlforhpc.scenarios.answering_server import AtLoad, Loaded

REFERENCES = (
    "Fox & Jha, Learning everywhere: a taxonomy for the integration of machine learning and simulations, eScience 2019, "
    "doi 10.1109/eScience.2019.00057",
    "Zamora et al., Proxima: accelerating the integration of machine learning in atomistic simulations, ICS 2021, "
    "doi 10.1145/3447818.3460370",
)
MIDDLE = 0.5
"""Share of the peak at which the headline's latencies are quoted."""
LIMIT_FAILS = 0.1
"""Share of streams in which a limit of 95 % may fail, where there are ten or more."""
ONE_RUN = "one run"


def result(found: Answering, *, target: float, installation: bool, references: Sequence[str]) -> Result:
    """The result of a benchmark.

    Args:
        found: streams, loads, growth.
        target: largest broken share of any stream of the evidence law.
        installation: size tiny: broken shares are shown and not judged, there is no rank.
        references: of what was simulated.
    """
    return Result(
        verdict=judged(found, target=target, installation=installation),
        headline=_headline(found, target),
        quality=_quality(found),
        performance=_performance(found),
        figures=figures(found, target),
        tables=tables(found),
        references=list(dict.fromkeys([*references, *REFERENCES])),
    )


def judged(found: Answering, *, target: float, installation: bool) -> Verdict:
    """VALID if every stream of the evidence law keeps promise and limit, and the server answered all it did not refuse with a time.

    Not judged in an installation check: how many answers are broken. The harm that a shift does before audits can see it is a number of
    answers, which few requests make a large share.
    """
    kept = [s for s in found.streams if s.job.law == "evidence"]
    failures = [*found.failures, *([] if kept else ["no stream of the evidence law was followed"])]
    failures += [
        f"{s.job.name}: {s.broken_share:.3f} of the surrogate's {s.answered} answers are broken, promised are at most {target:g}"
        for s in kept
        if s.broken_share > target and not installation
    ]
    fell = [s for s in kept if not s.limit_held]
    if len(fell) > LIMIT_FAILS * len(kept):
        failures.append(f"{fell[0].job.name}: the online limit was below the true share, so in {len(fell)} of {len(kept)} streams")
    failures += [sentence for at in (found.loaded.loads if found.loaded else ()) for sentence in _refusals(at)]
    if failures:
        return Verdict(status="INVALID", reason=failures[0], target=target, ranked=False)
    worst = max(kept, key=lambda s: s.broken_share)
    reason = f"at most {worst.broken_share:.3f} of the surrogate's answers are broken in any of {len(kept)} streams ({worst.job.name})"
    reason += ", installation check, too short for the promise, no rank" if installation else f", promised are {target:g}"
    return Verdict(status="VALID", reason=reason, target=target, ranked=not installation)


def _refusals(at: AtLoad) -> list[str]:
    """What a server must not do, at any load."""
    met, where = at.met, f"at {at.share:g} of the peak"
    sentences = [f"{where} {met.wrong} of {met.arrived} requests had neither an answer nor a 429"] if met.wrong else []
    return sentences + ([f"{where} {met.without_time} refusals (429) did not say when to try again"] if met.without_time else [])


def _headline(found: Answering, target: float) -> dict[str, Interval]:
    kept = [s for s in found.streams if s.job.law == "evidence"]
    headline: dict[str, Interval] = {}
    if kept:
        headline["worst broken share"] = Interval(
            value=max(s.broken_share for s in kept), reference=target, better="lower", note=f"of {len(kept)} streams",
            meaning="Largest share of the surrogate's answers, in any stream, that are off by more than the tolerance; all were checked.",
        )  # fmt: skip
    late = [s.answered_late for s in kept if s.job.case == "uniform"]
    if late:
        headline["answered by the surrogate"] = Interval(
            value=min(late), better="higher", note="last quarter, uniform requests",
            meaning="Share of the last quarter of requests that the surrogate answered; the least of all uniform streams.",
        )  # fmt: skip
    return headline | (_load_headline(found.loaded) if found.loaded else {}) | (_growth_headline(found.growth) if found.growth else {})


def _load_headline(loaded: Loaded) -> dict[str, Interval]:
    headline: dict[str, Interval] = {}
    quiet = [at for at in loaded.loads if not at.beside_learning]
    if quiet:
        at = min(quiet, key=lambda at: abs(at.share - MIDDLE))
        for source, (_, _, p99, _) in at.met.latency_s.items():
            headline[f"p99 at {at.share:g} of the peak, {source}, ms"] = Interval(
                value=1e3 * p99, better="lower", note=f"{at.met.answers[source]} answers; {ONE_RUN}",
                meaning=f"From the arrival that was meant to the answer over HTTP, answers from the {source}.",
            )  # fmt: skip
    headline["answers a second at the peak"] = Interval(
        value=loaded.peak_per_s, better="higher", note="closed loop",
        meaning="HTTP answers a second of one server process, as quick as its connections are answered.",
    )  # fmt: skip
    return headline


def _growth_headline(growth: Growth) -> dict[str, Interval]:
    n, speedup, gain = growth.grown[-1]
    note = f"after {n} requests to {growth.simulation}"
    return {
        "effective speedup": Interval(
            value=speedup, reference=1.0, better="higher", note=note,
            meaning="Fox & Jha's: time of as many simulations over the time of lookups, runs, audits and fits. It says nothing of quality.",
        ),
        "gain": Interval(
            value=gain, reference=1.0, better="higher", note=note,
            meaning="Cost of as many runs that are as accurate as the answers were, over what was spent; above 1 it has paid off.",
        ),
    }  # fmt: skip


def _quality(found: Answering) -> dict[str, float | None]:
    """What follows from seed and size alone."""
    quality: dict[str, float | None] = {}
    for s in found.streams:
        quality |= {f"{name}[{s.job.name}]": value for name, value in _of_stream(s).items()}
    if found.growth:
        growth = found.growth
        counts = {f"growth_answers[{source}]": float(n) for source, n in growth.answers.items()}
        quality |= counts | {"growth_limit": growth.limit, "growth_audit_runs": float(growth.spent.audit_runs)}
        quality |= {"growth_simulations": float(growth.spent.simulations), "growth_noise": growth.noise}
    return quality


def _of_stream(s: Stream) -> dict[str, float | None]:
    return {
        "broken_share": s.broken_share, "answered": float(s.answered), "answered_late": s.answered_late, "error": s.error,
        "limit": s.limit, "limit_held": float(s.limit_held), "simulations": float(s.spent.simulations),
        "audit_runs": float(s.spent.audit_runs), "fits": float(s.spent.fits),
    }  # fmt: skip


def _performance(found: Answering) -> dict[str, float | None]:
    performance: dict[str, float | None] = {}
    for s in found.streams:
        performance |= {f"fit_s[{s.job.name}]": s.spent.fit_s, f"audit_s[{s.job.name}]": s.spent.audit_s}
        performance[f"simulation_s[{s.job.name}]"] = s.spent.simulation_s
    if found.loaded:
        performance |= {"peak_per_s": found.loaded.peak_per_s, "learned_s": found.loaded.learned_s}
        for at in found.loaded.loads:
            performance |= _of_load(at)
    if found.growth:
        growth = found.growth
        _, speedup, gain = growth.grown[-1]
        performance |= {"effective_speedup": speedup, "gain": gain, "growth_makespan_s": growth.makespan_s}
        performance |= {"growth_simulation_s": growth.spent.simulation_s, "growth_audit_s": growth.spent.audit_s}
        performance["growth_fit_s"] = growth.spent.fit_s
    return performance


def _of_load(at: AtLoad) -> dict[str, float | None]:
    where = f"{at.share:g} of the peak{', while it learns' if at.beside_learning else ''}"
    figures: dict[str, float | None] = {f"rate_per_s[{where}]": at.met.rate_per_s, f"offered_per_s[{where}]": at.offered_per_s}
    figures[f"refused_share[{where}]"] = at.met.refused / max(1, at.met.arrived)
    for source, ranks in at.met.latency_s.items():
        figures |= {f"{name}_s[{where}, {source}]": value for name, value in zip(("p50", "p95", "p99"), ranks[:3], strict=True)}
    return figures
