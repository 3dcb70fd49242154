"""How soon a task over its limit is killed, and what that does to a task on the other slot.

Each round does the same work on the other slot twice, in changing order: beside a hung task that meets its limit and is
killed meanwhile (another takes its place at once), and beside one that is left alone, so that both cores are in use either
way. Two cores of a virtual machine slow each other by up to a half from one second to the next, which is no delay by us: so
beside the ratio of wall times stands that of wall over CPU time, which sees only time in which the work was kept off its core.
The median of the rounds' ratios has the interval of the sign test, which needs no distribution.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import Future

from _paired import own_broker
from _tasks import spin, work
from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.errors import TaskError


def units_for(seconds: float) -> int:
    return int(1_000_000 * seconds / work(1_000_000)[0])


def undisturbed_s(broker: Broker, dispatcher: Dispatcher, units: int) -> tuple[float, float]:
    """Wall and CPU time of the work beside a task that hangs throughout."""
    hung = broker.submit("simulate", spin, 600.0)
    took = broker.submit("simulate", work, units).result()
    end(broker, dispatcher, hung)
    return took


def disturbed_s(broker: Broker, dispatcher: Dispatcher, units: int, limit_s: float) -> tuple[tuple[float, float], float]:
    """Wall and CPU time of the work beside a task that is killed at its limit, and how late that kill was known, s."""
    innocent = broker.submit("simulate", work, units)
    began = time.perf_counter()
    hung = broker.submit("simulate", spin, 600.0, limit_s=limit_s)
    outcome = hung.exception()
    late = time.perf_counter() - began - limit_s
    assert isinstance(outcome, TaskError) and outcome.outcome == "timed_out"
    hung = broker.submit("simulate", spin, 600.0)  # the core is in use again
    took = innocent.result()
    end(broker, dispatcher, hung)
    return took, late


def end(broker: Broker, dispatcher: Dispatcher, hung: Future[None]) -> None:
    """Cancel the hung task and wait for its slot's next child."""
    broker.cancel(hung)
    hung.exception()
    dispatcher.engine.warm_up(60)


def sign_interval(values: list[float]) -> tuple[float, float]:
    """Order statistics that hold the median with 95 % (normal approximation of the binomial)."""
    ordered, n = sorted(values), len(values)
    k = max(0, int(n / 2 - 0.98 * n**0.5))
    return ordered[k], ordered[n - 1 - k]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=0.1)
    parser.add_argument("--work", type=float, default=0.5, help="seconds of work on the other slot")
    parser.add_argument("--rounds", type=int, default=41)
    a = parser.parse_args()
    units, late, walls, shares = units_for(a.work), [], [], []
    print("round  killed after limit by ms  innocent s  undisturbed s  ratio  ratio of wall / CPU")
    with own_broker(2) as (broker, dispatcher):
        for i in range(a.rounds):
            alone = undisturbed_s(broker, dispatcher, units) if i % 2 else None
            took, lateness = disturbed_s(broker, dispatcher, units, a.limit)
            alone = alone or undisturbed_s(broker, dispatcher, units)
            late.append(lateness * 1e3)
            walls.append(took[0] / alone[0])
            shares.append(took[0] / took[1] / (alone[0] / alone[1]))
            print(f"{i:>5}  {late[-1]:>24.1f}  {took[0]:>10.3f}  {alone[0]:>13.3f}  {walls[-1]:.3f}  {shares[-1]:.3f}")
    print(f"killed late by {statistics.median(late):.1f} ms (lowest {min(late):.1f}, highest {max(late):.1f}), submission included")
    for what, ratios in (("wall time", walls), ("wall over CPU time", shares)):
        low, high = sign_interval(ratios)
        middle = statistics.median(ratios)
        print(f"other slot's {what}: median ratio {middle:.3f} [{low:.3f}, {high:.3f}], rounds {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
