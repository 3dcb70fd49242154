"""Replay: make a campaign's decisions again from its trace, and see whether they come out the same.

The trace holds each strategy's name and seed, every ask and tell, and each learned surrogate's content hash; the store
holds what the runs returned. Replay builds the strategy afresh, tells it the same answers in the same order, compares
each ask bit by bit, fits the learner again on the same runs and compares the hash. Nothing is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlforhpc.core.errors import StoreError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.names import load
from mlforhpc.core.record import Record
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.store import Store
from mlforhpc.core.strategy import Strategy
from mlforhpc.scenarios.simulating import observation, planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One decision made again: what it was, whether it came out the same, and the difference in a sentence."""

    decision: str
    same: bool
    sentence: str


def replay(
    decisions: Iterator[tuple[str, Mapping[str, Any]]], store: Store, simulation_of: Callable[[str], Simulation]
) -> Iterator[Replayed]:
    """Yield one `Replayed` a decision.

    Args:
        decisions: (decision, data) in the order of the trace.
        store: the campaign's.
        simulation_of: name -> simulation, for its space and outputs.

    Raises:
        StoreError: a run that the trace names is not in the store.
    """
    plan: Strategy | None = None
    simulation: Simulation | None = None
    for decision, data in decisions:
        if decision == "strategy":
            simulation = simulation_of(data["simulation"])
            options = {k: v for k, v in data.items() if k not in ("name", "simulation", "version")}
            plan = planned(simulation, data["name"], options)
            yield Replayed(
                decision=decision, same=simulation.version == data["version"], sentence=f"strategy {data['name']} on {simulation.name}"
            )
        elif decision == "ask" and plan is not None:
            yield _asked(plan, data)
        elif decision == "tell" and plan is not None:
            records = _records(store, data["keys"])
            plan.tell([observation(i, r) for i, r in zip(data["ids"], records, strict=True)])
        elif decision == "learned" and simulation is not None:
            yield _learned(simulation, _records(store, data["keys"]), data)


def _asked(plan: Strategy, data: Mapping[str, Any]) -> Replayed:
    found = [(p.id, p.x.tolist()) for p in plan.ask(data["n"])]
    wanted = list(zip(data["ids"], data["x"], strict=True))
    same = found == wanted
    return Replayed(
        decision="ask",
        same=same,
        sentence=f"{len(wanted)} proposals"
        + ("" if same else f", of which {sum(a != b for a, b in zip(found, wanted, strict=False))} differ"),
    )


def _learned(simulation: Simulation, records: Sequence[Record], data: Mapping[str, Any]) -> Replayed:
    learner = load("learners", data["learner"]).create()
    version = learner.fit(Dataset.of_records(simulation, records), seed=data["seed"]).version
    same = version == data["version"]
    return Replayed(
        decision="learned",
        same=same,
        sentence=f"surrogate {data['version']} from {len(records)} runs" + ("" if same else f", now {version}"),
    )


def _records(store: Store, keys: Sequence[str]) -> list[Record]:
    records = []
    for key in keys:
        record = store.get(key)
        if record is None:
            raise StoreError(f"The trace names run {key[:12]}, which is not in the store; give the store of that campaign.")
        records.append(record)
    return records
