"""Driver CPU at tasks of 10 ms: share of the slot time, for tasks that sleep (exact slot time on a busy machine) or spin."""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import wait

from _paired import own_broker
from _tasks import sleep, spin
from mlforhpc.core.trace import Finished, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=400)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    print(f"{a.tasks} tasks of 10 ms on {a.slots} slots\n{'':>6}  driver CPU us/task  share of slot time  utilization")
    for function in (sleep, spin):
        with own_broker(a.slots) as (broker, dispatcher):
            shares = []
            for _ in range(a.rounds):
                first, cpu, began = dispatcher.stats().submitted, time.process_time(), time.perf_counter()
                wait([broker.submit("simulate", function) for _ in range(a.tasks)])
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
                ends = [e for e in read(dispatcher.trace.path) if isinstance(e, Finished) and e.task > first]
                slot_s = sum(e.ended_ns - e.started_ns for e in ends) / 1e9
                shares.append(cpu / slot_s)
                print(f"{function.__name__:>6}  {cpu / a.tasks * 1e6:>18.1f}  {cpu / slot_s:>18.2%}  {slot_s / took / a.slots:>11.1%}")
            print(f"median share {statistics.median(shares):.2%}  (lowest {min(shares):.2%}, highest {max(shares):.2%})\n")


if __name__ == "__main__":
    main()
