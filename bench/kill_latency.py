"""How soon a task over its limit is killed, and what that does to a task on the other slot.

The hung task spins; the pair is the same work beside a hung task that is not killed meanwhile, so that both cores are
in use either way.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import Future

from _paired import own_broker
from _tasks import spin, work
from mlforhpc.core.errors import TaskError


def units_for(seconds: float) -> int:
    return int(1_000_000 * seconds / work(1_000_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=0.3)
    parser.add_argument("--work", type=float, default=1.5, help="seconds of work on the other slot")
    parser.add_argument("--rounds", type=int, default=9)
    a = parser.parse_args()
    units, late, ratios = units_for(a.work), [], []
    print("round  killed after limit by ms  innocent s  undisturbed s  ratio")
    with own_broker(2) as (broker, dispatcher):

        def end(hung: Future[None]) -> None:
            broker.cancel(hung)
            hung.exception()
            dispatcher.engine.warm_up(60)

        for i in range(a.rounds):
            hung = broker.submit("simulate", spin, 600.0)
            alone = broker.submit("simulate", work, units).result()
            end(hung)
            innocent = broker.submit("simulate", work, units)
            began = time.perf_counter()
            hung = broker.submit("simulate", spin, 600.0, limit_s=a.limit)
            outcome = hung.exception()
            late.append((time.perf_counter() - began - a.limit) * 1e3)
            assert isinstance(outcome, TaskError) and outcome.outcome == "timed_out"
            hung = broker.submit("simulate", spin, 600.0)  # the core is in use again
            ratios.append(innocent.result() / alone)
            end(hung)
            print(f"{i:>5}  {late[-1]:>24.1f}  {ratios[-1] * alone:>10.3f}  {alone:>13.3f}  {ratios[-1]:.3f}")
    print(f"killed late by {statistics.median(late):.1f} ms (lowest {min(late):.1f}, highest {max(late):.1f}), submission included")
    print(f"other slot's task: median ratio {statistics.median(ratios):.3f} (lowest {min(ratios):.3f}, highest {max(ratios):.3f})")


if __name__ == "__main__":
    main()
