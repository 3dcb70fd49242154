"""Scenario `surrogate` (pattern P7, MLaroundHPC): budget -> simulate -> fit -> calibrate -> validate -> answer.

    design x_1 .. x_n  --ask-->  simulate on the engine  --tell-->  fit, calibrate in refitted folds  ->  Learned

Every simulation is kept in the broker's store, so a campaign that was killed goes on where it stopped. Decisions are
traced with all that `replay` needs: the strategy's name and seed, each ask and tell, the surrogate's content hash.

Source: Fox, Jha, "Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations", 2019,
doi 10.1109/eScience.2019.00057.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from math import inf, isinf

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Learner, Surrogate
from mlforhpc.core.names import load
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import Value
from mlforhpc.core.strategy import Observation, Proposal, Strategy
from mlforhpc.scenarios.gated import Answer, GatedCall
from mlforhpc.scenarios.validation import Validation, validate


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What the scenario gives.

    Attributes:
        simulation: what was learned.
        surrogate: its stand-in.
        data: the runs it was fitted to, failed ones included.
        records: the same, as kept in the store.
        validation: error and coverage on held-out runs; None if none were asked for.
        failures: one sentence for each part of the space in which runs failed, empty if none did.
    """

    simulation: Simulation
    surrogate: Surrogate
    data: Dataset
    records: Sequence[Record]
    validation: Validation | None
    failures: Sequence[str]
    _call: GatedCall = field(repr=False)

    def ask(self, x: Mapping[str, Value], *, tolerance: float) -> Answer:
        """The outputs at x: the surrogate's where its interval is narrow enough for `tolerance`, else the simulation's.

        Args:
            x: a point of the simulation's space.
            tolerance: of the relative RMS error over the output arrays, in (0, inf).

        Raises:
            OutOfBounds, UsageError: bad input; nothing was run.
            TaskError: the simulation was needed, and failed.
        """
        return self._call(x, tolerance=tolerance)


def surrogate(
    broker: Broker,
    simulation: Simulation,
    *,
    budget: int | str,
    learner: str | Learner = "gaussian_process",
    strategy: str = "sobol",
    strategy_options: Mapping[str, float] | None = None,
    fidelity: float = 1.0,
    settings: Mapping[str, Value] | None = None,
    validation_runs: int = 0,
    limit_s: float | None = None,
    seed: int = 0,
) -> Learned:
    """Learn a surrogate of a simulation within a budget.

    Args:
        broker: where everything runs; its store keeps the runs.
        simulation: what to learn.
        budget: training runs (an int), or slot time for them ("10 core-min", "90 core-s", "2 core-h").
        learner: a name, or a Learner.
        strategy: a name; it chooses the points.
        strategy_options: what else its `create` takes.
        fidelity: of the training runs, in (0, 1].
        settings: of the simulation; what is left out takes its default.
        validation_runs: held-out runs, made after the fit and charged like all others; 0 = none.
        limit_s: time limit of one run; a run over it is killed and kept as `timed_out`.
        seed: of design, runs, starts and folds.

    Raises:
        UsageError: bad input; nothing was run. Also if fewer than two runs succeeded.
    """
    runs, slot_s = _budget(budget)
    if not 0 < fidelity <= 1:
        raise UsageError(f"fidelity must be in (0, 1], found {fidelity}.")
    if validation_runs < 0:
        raise UsageError(f"validation_runs must be 0 or more, found {validation_runs}.")
    chosen = _learner(learner)
    options = {"seed": derive(seed, "design"), "runs": runs, "fidelity": fidelity, **(strategy_options or {})}
    plan: Strategy = load("strategies", strategy).create(simulation.space, **options)
    broker.decide("strategy", name=strategy, simulation=simulation.name, version=simulation.version, **options)
    run = partial(broker.simulate, simulation, settings=settings, limit_s=limit_s)
    records = _campaign(broker, simulation, plan, run, slot_s=slot_s, seed=seed)
    data = Dataset.of_records(simulation, records)
    failures = describe_failures(data, records)
    if int(data.ok.sum()) < 2:
        raise UsageError(
            f"Learning '{simulation.name}' needs at least 2 successful runs, found {int(data.ok.sum())} of {len(data)}. "
            + (" ".join(failures) or "Raise the budget.")
        )
    fitted = chosen.fit(data, seed=derive(seed, "fit"), broker=broker)
    broker.decide("learned", learner=chosen.name, seed=derive(seed, "fit"), version=fitted.version, keys=list(data.keys))
    checked = None
    if validation_runs:
        checked = validate(broker, simulation, fitted, runs=validation_runs, run=run, fidelity=fidelity, seed=derive(seed, "validation"))
    call = GatedCall(
        broker=broker, simulation=simulation, surrogate=fitted, fidelity=fidelity, settings=settings, limit_s=limit_s, seed=seed
    )
    return Learned(simulation=simulation, surrogate=fitted, data=data, records=records, validation=checked, failures=failures, _call=call)


def _campaign(
    broker: Broker, simulation: Simulation, plan: Strategy, run: partial[Future[Record]], *, slot_s: float, seed: int
) -> list[Record]:
    """Ask, simulate, tell until the strategy is done or the budget of slot-seconds is spent."""
    records: list[Record] = []
    pending: dict[Future[Record], Proposal] = {}
    while True:
        proposals = plan.ask(room) if (room := _room(broker, records, len(pending), slot_s)) > 0 else []
        if proposals:
            broker.decide("ask", n=room, ids=[p.id for p in proposals], x=[p.x.tolist() for p in proposals])
        for p in proposals:
            x = simulation.space.point(p.x)
            pending[run(x, fidelity=p.fidelity, seed=derive(seed, "run", p.id), label=f"run {p.id}")] = p
        if not pending:
            broker.decide("stop", reason=plan.done or f"the budget of {slot_s:g} slot-seconds is spent")
            return records
        # A budget of runs is batch-synchronous, so that every engine sees the same asks and tells in the same order.
        wait(pending, return_when=ALL_COMPLETED if isinf(slot_s) else FIRST_COMPLETED)
        ended = [(future.result(), pending.pop(future)) for future in list(pending) if future.done()]
        plan.tell([_observation(p, r) for r, p in ended])
        broker.decide("tell", ids=[p.id for _, p in ended], keys=[r.key for r, _ in ended])
        records += [r for r, _ in ended]


def _room(broker: Broker, records: Sequence[Record], running: int, slot_s: float) -> int:
    """How many more runs to ask for: as many as the strategy likes, or what slots and slot-seconds still allow."""
    if isinf(slot_s):
        return 2**31
    spent = sum(r.cost_s for r in records)
    if not records:
        return broker.slots - running
    affordable = int((slot_s - spent) / (spent / len(records))) - running
    return min(broker.slots - running, affordable)


def _observation(p: Proposal, r: Record) -> Observation:
    return Observation(id=p.id, outcome=r.outcome, y=r.outputs, se=r.standard_errors, cost_s=r.cost_s)


def _learner(learner: str | Learner) -> Learner:
    if isinstance(learner, str):
        made: Learner = load("learners", learner).create()
        return made
    return learner


def _budget(budget: int | str) -> tuple[int, float]:
    """Runs and slot-seconds; of the two, one binds."""
    if isinstance(budget, int) and not isinstance(budget, bool) and budget >= 2:
        return budget, inf
    units = {"s": 1.0, "min": 60.0, "h": 3600.0}
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*core-(s|min|h)\s*", str(budget))
    if isinstance(budget, str) and match and float(match[1]) > 0:
        return 2**20, float(match[1]) * units[match[2]]
    raise UsageError(f"budget must be a number of runs, at least 2, or slot time such as '10 core-min', found {budget!r}.")


def describe_failures(data: Dataset, records: Sequence[Record]) -> list[str]:
    """In which part of the space runs failed, and the commonest reason, in sentences."""
    failed = ~data.ok
    if not failed.any():
        return []
    reasons = [r.reason.splitlines()[0] if r.reason else r.outcome for r in records if r.outcome != "ok"]
    commonest = max(set(reasons), key=reasons.count)
    ranges = []
    for j, (name, p) in enumerate(data.space.parameters.items()):
        low, high = data.x[failed, j].min(), data.x[failed, j].max()
        ranges.append(f"{name} {low:g} to {high:g}" + ("" if p.unit == "1" else f" {p.unit}"))
    return [f"{int(failed.sum())} of {len(data)} runs gave no outputs, at {', '.join(ranges)}; most often: {commonest}"]
