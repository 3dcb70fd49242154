"""Cases of `metrics.launching` worked by hand, for `verify`.

A trace with two tasks "a" of 0.25 and 0.5 s, and one "b" of 2 s: 0.75 s in "a".
Four fits of 0.5 s on two slots in 1.25 s: efficiency 2 / 2.5 = 0.8, lost 2.5 / 4 - 0.5 = 0.125 s a fit.
Lengths 1, 10, 100 ms with efficiencies 0.4, 0.6, 1.0: 0.5 is passed half-way between the logarithms of 1 and 10, at root 10 ms; 0.9 three
quarters of the way from 10 to 100, at 10^1.75 ms; at root 1000 ms it is 0.8.
Rounds 9, 1, 2, ..., 8: median 5; leaving out one at each end misses with 2 (1 + 9) / 2^9 = 0.039, two with 0.18, so from 2 to 8.
Of two scores one differs in its last bit, or is missing: half are unequal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.events import Event, Finished, Submitted
from mlforhpc.metrics import launching


def checks() -> Iterator[Check]:
    """The cases as checks of a benchmark's `verify`; each agrees to 1e-12 or the code is wrong."""
    for name, (found, expected) in cases().items():
        passed = abs(found - expected) <= 1e-12 * max(1.0, abs(expected))
        yield Check(name=name, passed=passed, found=found, limit=expected, sentence=f"{name} is {found:.12g}, by hand {expected:.12g}")


def cases() -> dict[str, tuple[float, float]]:
    """Name -> as computed, and by hand."""
    curve = launching.curve([0.001, 0.01, 0.1], np.array([[0.4, 0.6, 1.0]]))
    rounds = launching.over_rounds([9.0, *range(1, 9)])
    submitted = {"t": 0, "kind": "learn", "charge": "learned", "cores": 1, "key": ""}
    ended = {"t": 0, "outcome": "ok", "slot": "0", "bytes_in": 0, "bytes_out": 0, "peak_memory_bytes": 0, "attempt": 1, "reason": ""}
    times_ns = ((1, "a", 10**9, 125 * 10**7), (2, "a", 0, 5 * 10**8), (3, "b", 0, 2 * 10**9))
    events: list[Event] = [Submitted(task=task, label=label, **submitted) for task, label, _, _ in times_ns]  # type: ignore[arg-type]
    events += [Finished(task=task, started_ns=start, ended_ns=end, **ended) for task, _, start, end in times_ns]  # type: ignore[arg-type]
    values = {
        "time in tasks": (launching.task_s(events)["a"], 0.75),
        "efficiency": (launching.efficiency([0.5] * 4, slots=2, makespan_s=1.25), 0.8),
        "lost time": (launching.lost_s([0.5] * 4, slots=2, makespan_s=1.25), 0.125),
        "median over rounds": (rounds.value, 5.0),
        "its lower end": (rounds.lower, 2.0),
        "its upper end": (rounds.upper, 8.0),
        "length at 50 %": (launching.passing(curve, 0.5).value, 10**-2.5),
        "length at 90 %": (launching.passing(curve, 0.9).value, 10**-1.25),
        "efficiency between": (launching.at(curve, 10**-1.5).value, 0.8),
        "a wrong score": (launching.unequal_share([0.5, 0.25], [0.5, float(np.nextafter(0.25, 1.0))]), 0.5),
        "a missing score": (launching.unequal_share([0.5, 0.25], [0.5, None]), 0.5),
    }
    return {name: (-1.0 if found is None else found, expected) for name, (found, expected) in values.items()}
