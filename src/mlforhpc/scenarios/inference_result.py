"""Served surrogates as a benchmark's result: verdict, headline, tables, latencies, throughput against batch size, latency against rate."""

from __future__ import annotations

from collections.abc import Sequence

from mlforhpc.core.result import Interval, Result, Verdict
from mlforhpc.scenarios.inference import Inference, Served
from mlforhpc.scenarios.inference_figures import figures, tables
from mlforhpc.scenarios.inference_job import HTTP, Ran

REFERENCES = (
    "Reddi et al., MLPerf Inference Benchmark, Proceedings of the 47th International Symposium on Computer Architecture, 446-459, 2020, "
    "doi 10.1109/ISCA45697.2020.00045",
)
ONE_RUN = "one run of LoadGen each"


def result(found: Inference, *, target: float, installation: bool, references: Sequence[str]) -> Result:
    """The result of a benchmark.

    Args:
        found: what was served.
        target: largest share of scenario runs that LoadGen may call INVALID.
        installation: size tiny: LoadGen's verdicts are shown and not judged, there is no rank.
        references: of what was learned.
    """
    return Result(
        verdict=judged(found, target=target, installation=installation),
        headline=_headline(found, target),
        quality={"share_invalid": share_invalid(found), **{f"error[{_name(s)}]": s.outcome.error for s in found.served if s.outcome}},
        performance=_performance(found),
        figures=figures(found),
        tables=tables(found),
        references=list(dict.fromkeys([*references, *REFERENCES])),
    )


def judged(found: Inference, *, target: float, installation: bool) -> Verdict:
    """VALID if every backend keeps its stated precision and, installation checks apart, LoadGen calls enough of the runs VALID."""
    failures = [f"{_name(s)} failed: {s.failure}" for s in found.served if s.outcome is None]
    for s in found.served:
        if s.outcome is not None and s.worst > s.limit and not s.left_out:
            failures.append(f"{_name(s)} is off by {s.worst:.2g} of the outputs' RMS; stated is {s.limit:g}, {s.arithmetic}")
    runs = [(s, ran) for s in found.served for ran in s.standing]
    refused = [f"{_name(s)}, {_scenario(ran)} ({', '.join(ran.complaints)})" for s, ran in runs if not ran.valid]
    if not runs:
        failures.append("nothing was served")
    elif not installation and len(refused) / len(runs) > target:
        failures.append(f"LoadGen calls {len(refused)} of {len(runs)} scenario runs INVALID, the first: {refused[0]}")
    if failures:
        return Verdict(status="INVALID", reason=failures[0], target=target, ranked=False)
    said = f"LoadGen calls {len(runs) - len(refused)} of {len(runs)} scenario runs VALID, every backend keeps its stated precision"
    reason = said + (", installation check, too short for LoadGen, no rank" if installation else "")
    return Verdict(status="VALID", reason=reason, target=target, ranked=not installation)


def share_invalid(found: Inference) -> float | None:
    """Of the scenario runs that stand, the share that LoadGen does not call VALID; None if there is none."""
    runs = [ran.valid for s in found.served for ran in s.standing]
    return 1.0 - sum(runs) / len(runs) if runs else None


def _headline(found: Inference, target: float) -> dict[str, Interval]:
    inside = [s for s in found.served if s.backend != HTTP]
    single = [(s, s.run("SingleStream", 1)) for s in inside]
    offline = [(s, ran) for s in inside for batch in found.load.batches for ran in [s.run("Offline", batch)]]
    headline = {
        "invalid runs": Interval(
            value=share_invalid(found), reference=target, better="lower",
            meaning="Share of the scenario runs that LoadGen does not call VALID; of Server's rates the last one tried stands.",
        ),
    }  # fmt: skip
    quickest = min(((ran.latency_s["50"], s, ran) for s, ran in single if ran), key=lambda row: row[0], default=None)
    if quickest:
        _, s, ran = quickest
        for percentile in ("50", "90", "99"):
            headline[f"p{percentile} of one answer, us"] = Interval(
                value=1e6 * ran.latency_s[percentile], note=f"{_name(s)}; {ONE_RUN}", better="lower",
                meaning="SingleStream: from a query to its answer, one at a time, in process, by the quickest surrogate and backend.",
            )  # fmt: skip
    return headline | _throughput(offline) | _http(found)


def _throughput(offline: Sequence[tuple[Served, Ran | None]]) -> dict[str, Interval]:
    headline: dict[str, Interval] = {}
    most = max(((ran.rate_per_s, s, ran) for s, ran in offline if ran and ran.valid), key=lambda row: row[0], default=None)
    if most:
        rate, s, ran = most
        headline["answers a second"] = Interval(
            value=rate, note=f"{_name(s)}, {_scenario(ran)}; {ONE_RUN}", better="higher",
            meaning="Offline: the most answers a second of one thread in a run that LoadGen calls VALID.",
        )  # fmt: skip
        one = s.run("Offline", 1)
        headline["gain of batching"] = Interval(
            value=rate / one.rate_per_s if one else None, reference=1.0, note=f"{_name(s)}, {_scenario(ran)} over batch 1", better="higher",
            meaning="How many times as many answers a second in batches as one by one, same surrogate and backend.",
        )  # fmt: skip
    return headline


def _http(found: Inference) -> dict[str, Interval]:
    ratio = over_http(found)
    if ratio is None:
        return {}
    figure = Interval(
        value=ratio, reference=1.0, better="lower", note=f"p50 of SingleStream, the same surrogate; {ONE_RUN}",
        meaning="How many times as long an answer takes through the server on loopback as by a call in the same process.",
    )  # fmt: skip
    return {"HTTP over in-process": figure}


def over_http(found: Inference) -> float | None:
    """p50 of SingleStream through the server over that of a call, of the surrogate that the server learned; None if it was not served."""
    by = {(s.case.name, s.backend): s.run("SingleStream", 1) for s in found.served}
    for (name, backend), through in by.items():
        called = by.get((name, "numpy"))
        if backend == HTTP and through and called:
            return through.latency_s["50"] / called.latency_s["50"]
    return None


def _performance(found: Inference) -> dict[str, float | None]:
    """Of each run that stands: percentiles of latency, and rate."""
    figures: dict[str, float | None] = {}
    for s in found.served:
        for ran in s.standing:
            which = f"{_name(s)}, {_scenario(ran)}"
            if ran.scenario != "Offline":
                figures |= {f"p{p}_s[{which}]": ran.latency_s[p] for p in ("50", "90", "99") if p in ran.latency_s}
            figures[f"rate_per_s[{which}]"] = ran.rate_per_s
            figures[f"loadgen_valid[{which}]"] = float(ran.valid)
    return figures


def _name(s: Served) -> str:
    return f"{s.case.name}, {s.backend}"


def _scenario(ran: Ran) -> str:
    return ran.scenario if ran.scenario == "SingleStream" else f"{ran.scenario}, batch {ran.batch}"
