"""The loop under every scenario that simulates: ask a strategy, simulate on the engine, tell it what came back.

A budget of runs is batch-synchronous, so that every engine sees the same asks and tells in the same order; a budget of slot-seconds
is asynchronous, and replays from its trace.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isinf
from typing import Any

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.names import load
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Priced, Simulation
from mlforhpc.core.space import FloatArray
from mlforhpc.core.strategy import Observation, Proposal, Strategy

UNBOUNDED = 2**20
"""Runs of a campaign that something else ends."""


@dataclass(slots=True, kw_only=True)
class Simulating:
    """A campaign under way.

    Attributes:
        broker, simulation, plan: what runs where, and who says what is next.
        run: simulates a point: (x, fidelity=, seed=, label=) -> future of its record.
        slot_s: budget of slot-seconds; inf for none.
        seed: of the runs.
        fidelity_of: proposal id -> fidelity, where it is not the strategy's to say.
        records: what came back so far.
    """

    broker: Broker
    simulation: Simulation
    plan: Strategy
    run: partial[Future[Record]]
    slot_s: float
    seed: int
    fidelity_of: Callable[[int], float] | None = None
    records: list[Record] = field(default_factory=list)

    @property
    def data(self) -> Dataset:
        return Dataset.of_records(self.simulation, self.records)

    @property
    def spent_s(self) -> float:
        return sum(r.cost_s for r in self.records)

    def until(self, runs: int) -> str | None:
        """Go on until so many runs are back: None; or, if the strategy or the budget ends it before, why."""
        pending: dict[Future[Record], Proposal] = {}
        while True:
            room = min(self._room(len(pending)), runs - len(self.records) - len(pending))
            proposals = self.plan.ask(room) if room > 0 else []
            for p in self._submitted(proposals, room):
                x = self.simulation.space.point(p.x)
                seed = derive(self.seed, "run", p.id)
                pending[self.run(x, fidelity=p.fidelity, seed=seed, label=f"run {p.id}")] = p
            if not pending:
                if len(self.records) >= runs:
                    return None
                return self.plan.done or f"The budget of {self.slot_s:g} slot-seconds is spent."
            wait(pending, return_when=ALL_COMPLETED if isinf(self.slot_s) else FIRST_COMPLETED)
            ended = [(future.result(), pending.pop(future)) for future in list(pending) if future.done()]
            self.plan.tell([observation(p.id, r) for r, p in ended])
            self.broker.decide("tell", ids=[p.id for _, p in ended], keys=[r.key for r, _ in ended])
            self.records += [r for r, _ in ended]

    def _submitted(self, proposals: Sequence[Proposal], room: int) -> Sequence[Proposal]:
        """The proposals at their fidelity, traced."""
        if not proposals:
            return []
        if self.fidelity_of is not None:
            proposals = [replace(p, fidelity=self.fidelity_of(p.id)) for p in proposals]
        self.broker.decide("ask", n=room, ids=[p.id for p in proposals], x=[p.x.tolist() for p in proposals])
        return proposals

    def _room(self, running: int) -> int:
        """How many more runs to ask for: as many as the strategy likes, or what slots and slot-seconds still allow."""
        if isinf(self.slot_s):
            return 2**31
        if not self.records:
            return self.broker.slots - running
        affordable = int((self.slot_s - self.spent_s) / (self.spent_s / len(self.records))) - running
        return min(self.broker.slots - running, affordable)


def planned(simulation: Simulation, name: str, options: Mapping[str, Any], **services: Any) -> Strategy:
    """A strategy for a simulation: its options, and of services and known costs those that its `create` takes."""
    create = load("strategies", name).create
    if isinstance(simulation, Priced):
        services["cost"] = partial(_costs, simulation)
    taken = {key: value for key, value in services.items() if key in inspect.signature(create).parameters}
    plan: Strategy = create(simulation.space, outputs=simulation.outputs, **options, **taken)
    return plan


def _costs(simulation: Any, x: FloatArray) -> FloatArray:
    """Relative cost of runs at x (n, d): (n,)."""
    return np.array([simulation.relative_cost(simulation.space.point(row)) for row in x])


def observation(id: int, r: Record) -> Observation:
    """What a strategy is told of a record."""
    return Observation(id=id, outcome=r.outcome, y=r.outputs, se=r.standard_errors, cost_s=r.cost_s, fidelity=r.fidelity)


def runs_and_slot_s(budget: int | str | None) -> tuple[int, float]:
    """Runs and slot-seconds of a budget; of the two, one binds, or neither.

    Raises:
        UsageError: neither a number of runs nor slot time.
    """
    if budget is None:
        return UNBOUNDED, inf
    if isinstance(budget, int) and not isinstance(budget, bool) and budget >= 2:
        return budget, inf
    units = {"s": 1.0, "min": 60.0, "h": 3600.0}
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*core-(s|min|h)\s*", str(budget))
    if isinstance(budget, str) and match and float(match[1]) > 0:
        return UNBOUNDED, float(match[1]) * units[match[2]]
    raise UsageError(f"budget must be a number of runs, at least 2, or slot time such as '10 core-min', found {budget!r}.")
