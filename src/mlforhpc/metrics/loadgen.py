"""What MLPerf LoadGen says of one of its runs, read from its summary log; whether a run is valid is LoadGen's word, never ours.

Latencies are of queries: SingleStream from issue to completion, Server from the scheduled arrival, Offline from the start of the run.
Reddi et al., MLPerf Inference Benchmark, ISCA 2020, doi 10.1109/ISCA45697.2020.00045.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.space import FloatArray

_RATES = ("Samples per second", "Completed samples per second", "QPS w/ loadgen overhead")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One LoadGen run.

    Attributes:
        scenario: "SingleStream", "Server" or "Offline".
        valid: "Result is : VALID".
        complaints: what LoadGen says was not satisfied, in its words; empty if it is valid.
        rate_per_s: samples completed a second.
        latency_s: percentile in (0, 100) -> s.
    """

    scenario: str
    valid: bool
    complaints: tuple[str, ...]
    rate_per_s: float
    latency_s: Mapping[float, float]


def read_summary(text: str) -> Summary:
    """The content of `mlperf_log_summary.txt`.

    Raises:
        ValueError: no such log, or one without a verdict (LoadGen was killed).
    """
    pairs = [(match[1].strip(), match[2].strip()) for match in re.finditer(r"^([^:\n]+):[ \t]*(.*)$", text, re.M)]
    said = dict(reversed(pairs))  # the first of a name stands
    if said.get("Result is") not in ("VALID", "INVALID"):
        raise ValueError("LoadGen's summary has no line 'Result is : VALID' or 'INVALID': the run did not end.")
    rate = next((said[name] for name in _RATES if name in said), "nan")
    complaints = tuple(name for name, value in pairs if name.endswith("satisfied") and value.upper() == "NO")
    latencies = re.finditer(r"^([\d.]+) percentile latency \(ns\)\s*:\s*(\d+)", text, re.M)
    return Summary(
        scenario=said["Scenario"],
        valid=said["Result is"] == "VALID",
        complaints=complaints,
        rate_per_s=float(rate),
        latency_s={float(m[1]): int(m[2]) / 1e9 for m in latencies},
    )


def read_responses(text: str) -> tuple[list[int], FloatArray]:
    """The responses that LoadGen kept in `mlperf_log_accuracy.json`: index of each in the sample library, and its float64s (n, m)."""
    rows = json.loads(text)
    values = [np.frombuffer(bytes.fromhex(row["data"]), dtype="<f8") for row in rows]
    return [int(row["qsl_idx"]) for row in rows], np.array(values, dtype=float).reshape(len(rows), -1 if rows else 0)


def relative_error(wanted: FloatArray, found: FloatArray, scale: FloatArray) -> float:
    """Largest |found - wanted| / scale over rows and columns (n, m); scale (m,) > 0. Dimensionless; inf where something is not finite."""
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.max(np.abs(found - wanted) / scale, initial=0.0))
