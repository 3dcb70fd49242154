"""Scenario `surrogate` (pattern P7, MLaroundHPC): budget or tolerance -> simulate -> fit -> calibrate -> validate -> answer.

    points x_1 .. x_n  --ask-->  simulate on the engine  --tell-->  (look: near enough?)  ->  fit, calibrate in refitted folds  ->  Learned

Every simulation is kept in the broker's store, so a campaign that was killed goes on where it stopped. Decisions are
traced with all that `replay` needs: the strategy's name and seed, each ask and tell, the surrogate's content hash.

Source: Fox, Jha, "Learning Everywhere: A Taxonomy for the Integration of Machine Learning and Simulations", 2019,
doi 10.1109/eScience.2019.00057.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil, isfinite, isinf
from typing import Any

import numpy as np

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Informative, Learner, Surrogate
from mlforhpc.core.names import load
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import Choice, Value
from mlforhpc.core.strategy import Strategy
from mlforhpc.learners._failure import Failure, fit_failure
from mlforhpc.scenarios.course import Course
from mlforhpc.scenarios.fidelity import best, splits
from mlforhpc.scenarios.gated import Answer, GatedCall
from mlforhpc.scenarios.learning_curve import FARTHEST, Forecast, Look, forecast, look, next_look, pilots, sentence
from mlforhpc.scenarios.simulating import UNBOUNDED, Simulating, planned, runs_and_slot_s
from mlforhpc.scenarios.validation import Validation, validate

FEWEST_TO_LOOK = 8
"""Successful runs without which there is nothing to see."""


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
        course: how the simulating went: looks at the error, the forecast, and why it stopped.
    """

    simulation: Simulation
    surrogate: Surrogate
    data: Dataset
    records: Sequence[Record]
    validation: Validation | None
    failures: Sequence[str]
    course: Course
    _call: GatedCall = field(repr=False)

    def failure(self) -> Failure:
        """The learned probability of failure: `.probability(x)` for points in physical units (n, d)."""
        return fit_failure(self.data.space, self.data.x, ~self.data.ok, seed=0)

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
    budget: int | str | None = None,
    tolerance: float | None = None,
    learner: str | Learner = "auto",
    strategy: str = "sobol",
    strategy_options: Mapping[str, float] | None = None,
    fidelity: float | tuple[float, float] = 1.0,
    settings: Mapping[str, Value] | None = None,
    validation_runs: int = 0,
    limit_s: float | None = None,
    seed: int = 0,
) -> Learned:
    """Learn a surrogate of a simulation within a budget, or to a tolerance.

    Args:
        broker: where everything runs; its store keeps the runs.
        simulation: what to learn.
        budget: training runs (an int), or slot time for them ("10 core-min", "90 core-s", "2 core-h"); the most that may be spent
            where a tolerance is given, and may then be left out: it ends at 16 times the runs of the first look (30, or 5 a parameter).
        tolerance: relative RMS error to reach, in (0, inf); runs end when it is reached, by refits that left runs out.
        learner: a name, or a Learner.
        strategy: a name; it chooses the points.
        strategy_options: what else its `create` takes.
        fidelity: of the training runs, in (0, 1]; or the lowest and the highest that may be chosen, for a simulation that states
            standard errors and a budget of slot time: pilots at both then decide between more runs and longer runs.
        settings: of the simulation; what is left out takes its default.
        validation_runs: held-out runs, made after the fit and charged like all others; 0 = none.
        limit_s: time limit of one run; a run over it is killed and kept as `timed_out`.
        seed: of design, runs, starts and folds.

    Raises:
        UsageError: bad input; nothing was run. Also if fewer than two runs succeeded.
    """
    runs, slot_s = _checked(budget, tolerance, fidelity, validation_runs)
    chosen = _learner(learner)
    low, high = fidelity if isinstance(fidelity, tuple) else (fidelity, fidelity)
    options = {"seed": derive(seed, "design"), "runs": runs, "fidelity": high, **(strategy_options or {})}
    if budget is None:
        options["runs"] = ceil(FARTHEST * pilots(len(simulation.space)))
    plan = _strategy(broker, simulation, strategy, options)
    run = partial(broker.simulate, simulation, settings=settings, limit_s=limit_s)
    loop = Simulating(broker=broker, simulation=simulation, plan=plan, run=run, slot_s=slot_s, seed=seed)
    if low < high:
        high = _choose_fidelity(loop, low, high, seed)
    course = _simulate(loop, _quick(learner), tolerance, seed)
    data = loop.data
    failures = describe_failures(data, loop.records)
    if int(data.ok.sum()) < 2:
        raise UsageError(
            f"Learning '{simulation.name}' needs at least 2 successful runs, found {int(data.ok.sum())} of {len(data)}. "
            + (" ".join(failures) or "Raise the budget.")
        )
    fitted = chosen.fit(data, seed=derive(seed, "fit"), broker=broker)
    broker.decide("learned", learner=chosen.name, seed=derive(seed, "fit"), version=fitted.version, keys=list(data.keys))
    checked = None
    if validation_runs:
        checked = validate(broker, simulation, fitted, runs=validation_runs, run=run, fidelity=high, seed=derive(seed, "validation"))
    call = GatedCall(
        broker=broker, simulation=simulation, surrogate=fitted, fidelity=high, settings=settings, limit_s=limit_s, seed=seed
    )  # fmt: skip
    return Learned(
        simulation=simulation, surrogate=fitted, data=data, records=loop.records, validation=checked, failures=failures, course=course,
        _call=call,
    )  # fmt: skip


def _checked(
    budget: int | str | None, tolerance: float | None, fidelity: float | tuple[float, float], validation_runs: int
) -> tuple[int, float]:
    """Runs and slot-seconds of the budget, once everything was looked at."""
    runs, slot_s = runs_and_slot_s(budget)
    if budget is None and tolerance is None:
        raise UsageError("How much may be simulated was not said: give a budget, or a tolerance to reach.")
    if tolerance is not None and not (isfinite(tolerance) and tolerance > 0):
        raise UsageError(f"tolerance must be a relative error above 0, found {tolerance!r}.")
    low, high = fidelity if isinstance(fidelity, tuple) else (fidelity, fidelity)
    if not 0 < low <= high <= 1:
        raise UsageError(f"fidelity must be in (0, 1], or a lower and a higher one, found {fidelity}.")
    if low < high and isinf(slot_s):
        raise UsageError(f"To choose a fidelity, a budget of slot time is needed, such as '10 core-min'; found {budget!r}.")
    if validation_runs < 0:
        raise UsageError(f"validation_runs must be 0 or more, found {validation_runs}.")
    return runs, slot_s


def _strategy(broker: Broker, simulation: Simulation, name: str, options: Mapping[str, float]) -> Strategy:
    """The strategy; what it has to calculate become tasks, paid for like all others."""

    def call(function: Callable[..., Any], *args: Any) -> Any:
        return broker.submit("decide", function, *args, label=function.__name__).result()

    plan = planned(simulation, name, options, call=call)
    broker.decide("strategy", name=name, simulation=simulation.name, version=simulation.version, **options)
    return plan


def _simulate(loop: Simulating, quick: Learner, tolerance: float | None, seed: int) -> Course:
    """Simulate until the budget is spent, or the tolerance reached: what was seen on the way, and why it ended."""
    looks: list[Look] = []
    expected = None
    while True:
        n = len(loop.records)
        reason = loop.until(UNBOUNDED if tolerance is None else max(next_look(n), pilots(len(loop.simulation.space))))
        if tolerance is not None and loop.data.ok.sum() >= FEWEST_TO_LOOK:
            looks.append(_look(loop, quick, len(looks) + 1, seed))
            if looks[-1].upper <= tolerance:
                reason = f"tolerance {tolerance:g} reached, {len(loop.records)} runs (upper limit of the error {looks[-1].upper:.3g})"
            elif reason is None and expected is None:
                expected = _forecast(loop, quick, looks, tolerance, seed)
        if reason is not None:
            if tolerance is not None and not (looks and looks[-1].upper <= tolerance):
                reason = f"tolerance {tolerance:g} not reached: {reason} Give a larger budget to go on"
            loop.broker.decide("stop", reason=reason)
            return Course(looks=looks, forecast=expected, stopped=reason)


def _look(loop: Simulating, quick: Learner, k: int, seed: int) -> Look:
    """The k-th look at the error."""
    found = look(loop.data, quick, seed=derive(seed, "look", k), broker=loop.broker)
    loop.broker.decide("look", runs=found.runs, error=found.error, upper=found.upper)
    return found


def _forecast(loop: Simulating, quick: Learner, looks: Sequence[Look], tolerance: float, seed: int) -> Forecast:
    """How many runs the tolerance will need, said before they are spent."""
    found = forecast(looks, loop.data, quick, tolerance=tolerance, seed=derive(seed, "forecast"), broker=loop.broker)
    text = sentence(found, cost_s=loop.spent_s / len(loop.records), slots=loop.broker.slots)
    loop.broker.decide("forecast", at=found.at, runs=found.runs, lower=found.lower, upper=found.upper, sentence=text)
    return found


def _choose_fidelity(loop: Simulating, low: float, high: float, seed: int) -> float:
    """Pilots at both fidelities in turn, then the one that the rest of the budget is best spent at."""
    tried = 2 * (len(loop.simulation.space) + 2)
    loop.fidelity_of = lambda i: (low, high)[i % 2]
    loop.until(tried)
    data = loop.data
    known = _quick("gaussian_process").fit(data, seed=derive(seed, "pilots"), broker=loop.broker)
    assert isinstance(known, Informative)
    compare = partial(splits, known, data, budget_s=loop.slot_s - loop.spent_s, low=low, high=high, seed=derive(seed, "split"))
    found = loop.broker.submit("decide", compare, label="fidelity").result()
    chosen = best(found)
    loop.fidelity_of = lambda i: (low, high)[i % 2] if i < tried else chosen.fidelity
    loop.broker.decide(
        "fidelity", chosen=chosen.fidelity, runs=chosen.runs, error=chosen.error, splits=[[s.fidelity, s.runs, s.error] for s in found]
    )
    return chosen.fidelity


def _quick(learner: str | Learner) -> Learner:
    """The learner without calibration, which looks do not need: of a name, one with no folds."""
    made: Learner = (
        load("learners", "gaussian_process" if learner == "auto" else learner).create(folds=0) if isinstance(learner, str) else learner
    )
    return made


def _learner(learner: str | Learner) -> Learner:
    if isinstance(learner, str):
        made: Learner = load("learners", learner).create()
        return made
    return learner


def describe_failures(data: Dataset, records: Sequence[Record]) -> list[str]:
    """In which part of the space runs failed, and the commonest reason, in sentences."""
    failed = ~data.ok
    if not failed.any():
        return []
    reasons = [r.reason.splitlines()[0] if r.reason else r.outcome for r in records if r.outcome != "ok"]
    commonest = max(set(reasons), key=reasons.count)
    ranges = []
    for j, (name, p) in enumerate(data.space.parameters.items()):
        if isinstance(p, Choice):
            ranges.append(f"{name} {' or '.join(p.options[i] for i in np.unique(data.x[failed, j]).astype(int))}")
            continue
        low, high = data.x[failed, j].min(), data.x[failed, j].max()
        ranges.append(f"{name} {low:g} to {high:g}" + ("" if p.unit == "1" else f" {p.unit}"))
    return [f"{int(failed.sum())} of {len(data)} runs gave no outputs, at {', '.join(ranges)}; most often: {commonest}"]
