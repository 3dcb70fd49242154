"""What a store holds, per simulation and version: counts by outcome, cost in slot-seconds, bytes. Read from the index alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from mlforhpc.store.failures import as_store_error
from mlforhpc.store.folder import FolderStore

_QUESTION = (
    "SELECT simulation, version, outcome, count(*), sum(cost_s), sum(size_bytes) FROM record"
    " GROUP BY simulation, version, outcome ORDER BY simulation, version, outcome"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """One line of the summary.

    Attributes:
        simulation, version: whose records.
        counts: outcome -> number of records.
        cost_s: slot-seconds that they cost.
        size_bytes: of heads and arrays, without what the index adds; arrays shared by two records count twice.
    """

    simulation: str
    version: str
    counts: Mapping[str, int]
    cost_s: float
    size_bytes: int


def summary(store: FolderStore) -> list[SimulationSummary]:
    """One line per simulation and version, by name; hashes are not compared (`check` does that)."""
    try:
        found = store.index.ask(_QUESTION)
    except sqlite3.Error as error:
        raise as_store_error(error, store.folder, "read") from error
    lines: dict[tuple[str, str], SimulationSummary] = {}
    for simulation, version, outcome, count, cost_s, size_bytes in found:
        name = (str(simulation), str(version))
        line = lines.get(name) or SimulationSummary(simulation=name[0], version=name[1], counts={}, cost_s=0.0, size_bytes=0)
        lines[name] = SimulationSummary(
            simulation=name[0],
            version=name[1],
            counts={**line.counts, str(outcome): int(str(count))},
            cost_s=line.cost_s + float(str(cost_s)),
            size_bytes=line.size_bytes + int(str(size_bytes)),
        )
    return list(lines.values())
