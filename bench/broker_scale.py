"""The broker's own scale beyond one machine's size: the real broker, with trace, on 10 to 10,000 simulated slots.

    python bench/broker_scale.py [rate] [pending] [memory] [ending] [busy]
Rows go to bench/results/broker_scale.csv (those of other sections stay), medians to the screen. Each round is a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import gc
import itertools
import math
import multiprocessing
import operator
import statistics
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import psutil

from _paired import NoStore
from _simulated_slots import SimulatedSlots
from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.task import Batch, Call, Function
from mlforhpc.core.trace import Finished, Trace, read

RESULTS = Path(__file__).parent / "results" / "broker_scale.csv"
LIMIT_S = {"batched": None, "one by one": 1e6}  # a task with a time limit is never batched
FEW, MANY = 1000, 100_000
BUSY = {1000: (0.0158, 0.025, 0.0398, 0.0631, 0.1, 0.158, 0.251), 10_000: (0.158, 0.251, 0.398, 0.631, 1.0, 1.58, 2.51)}  # lengths, s
ENOUGH = 0.95


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of one round; what does not apply is 0."""

    section: str
    how: str
    slots: int
    pending: int = 0
    task_s: float = 0.0
    round: int = 0
    quantity: str
    value: float


@contextmanager
def simulated(slots: int, task_s: float = 0.0) -> Iterator[tuple[Broker, Dispatcher, SimulatedSlots]]:
    """A broker whose functions are known to be quick already."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        engine = SimulatedSlots(slots, clock, task_s)
        dispatcher = Dispatcher(engine, Trace(Path(folder) / "events.jsonl", clock))
        broker = Broker(dispatcher, store=NoStore())  # type: ignore[arg-type]
        try:
            wait([broker.submit("decide", operator.neg, i) for i in range(100)])
            yield broker, dispatcher, engine
        finally:
            dispatcher.close()


class Watch:
    """Wall and CPU time of this process, us a task, since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def us(self, tasks: int) -> tuple[float, float]:
        return (time.perf_counter() - self.wall) / tasks * 1e6, (time.process_time() - self.cpu) / tasks * 1e6


def cycle(broker: Broker, engine: SimulatedSlots, pending: int, limit_s: float | None) -> dict[str, float]:
    """Submit while no slot ends anything, then dispatch until the last is over."""
    engine.hold(True)
    watch = Watch()
    futures = [broker.submit("decide", operator.neg, i, limit_s=limit_s) for i in range(pending)]
    submit = watch.us(pending)
    watch = Watch()
    engine.hold(False)
    futures[-1].result()
    for future in futures:
        future.result()
    dispatch = watch.us(pending)
    return {"submit us": submit[0], "submit cpu us": submit[1], "dispatch us": dispatch[0], "dispatch cpu us": dispatch[1]}


def mean(cycles: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(c[name] for c in cycles) for name in cycles[0]}


def bare(slots: int, tasks: int) -> float:
    """CPU us a task of the simulated slots alone, one by one."""
    engine, over, numbers = SimulatedSlots(slots, Clock()), threading.Event(), itertools.count()
    ends = itertools.count(1)

    def ended(future: Future[Any]) -> None:
        future.result()
        if next(ends) == tasks:
            over.set()
        if (number := next(numbers)) < tasks:
            engine.submit(Batch((Call(number, Function("f"), b""),))).add_done_callback(ended)

    watch = Watch()
    engine.hold(True)
    for _ in range(min(slots, tasks)):
        engine.submit(Batch((Call(next(numbers), Function("f"), b""),))).add_done_callback(ended)
    engine.hold(False)
    over.wait()
    us = watch.us(tasks)[1]
    engine.shutdown()
    return us


def rate(number: int) -> Iterator[Row]:
    """Tasks of no length, twice as many as there are slots and at least 20,000."""
    for slots in (10, 100, 1000, 10_000):
        for how, limit_s in LIMIT_S.items():
            with simulated(slots) as (broker, _, engine):
                cycle(broker, engine, 2000, limit_s)
                found = cycle(broker, engine, max(20_000, 2 * slots), limit_s)
            for quantity, value in found.items():
                yield Row(section="rate", how=how, slots=slots, quantity=quantity, value=value)
        yield Row(section="rate", how="slots alone", slots=slots, quantity="dispatch cpu us", value=bare(slots, 20_000))


def pending(number: int) -> Iterator[Row]:
    """As many tasks with few pending as with many; the order of the two alternates."""
    for how, limit_s in LIMIT_S.items():
        found: dict[int, dict[str, float]] = {}
        for size in (FEW, MANY) if number % 2 else (MANY, FEW):
            with simulated(100) as (broker, _, engine):
                cycle(broker, engine, 2000, limit_s)
                found[size] = mean([cycle(broker, engine, size, limit_s) for _ in range(MANY // size)])
            for quantity, value in found[size].items():
                yield Row(section="pending", how=how, slots=100, pending=size, quantity=quantity, value=value)
        for quantity, value in found[MANY].items():
            ratio = value / found[FEW][quantity]
            yield Row(section="pending", how=how, slots=100, pending=MANY, quantity=f"{quantity}, many / few", value=ratio)


def memory(number: int) -> Iterator[Row]:
    """Bytes a pending task: its future held and asked by nobody, then looked at by `wait`."""
    for how, used in (("resident", _resident), ("traced", _traced)):  # in this order: what was freed would be resident already
        with simulated(10) as (broker, _, engine):
            engine.hold(True)
            gc.collect()
            if how == "traced":
                tracemalloc.start()
            before = used()
            futures = [broker.submit("decide", operator.neg, i) for i in range(MANY)]
            yield Row(section="memory", how=how, slots=10, pending=MANY, quantity="bytes", value=(used() - before) / MANY)
            wait(futures, 0)
            yield Row(section="memory", how=how, slots=10, pending=MANY, quantity="bytes, in wait", value=(used() - before) / MANY)
            tracemalloc.stop()
            del futures


def _traced() -> int:
    return tracemalloc.get_traced_memory()[0]


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def ending(number: int) -> Iterator[Row]:
    """The end of many pending tasks: each is cancelled, the last one first, or the broker is closed."""
    for how in ("cancelled", "closed"):
        with simulated(10) as (broker, dispatcher, engine):
            engine.hold(True)
            futures = [broker.submit("decide", operator.neg, i) for i in range(MANY)]
            watch = Watch()
            if how == "closed":
                dispatcher.close()
            else:
                for future in reversed(futures):
                    future.cancel()
            wall, cpu = watch.us(MANY)
        for quantity, value in (("us", wall), ("cpu us", cpu)):
            yield Row(section="ending", how=how, slots=10, pending=MANY, quantity=quantity, value=value)


def busy(number: int) -> Iterator[Row]:
    """Share of the slots' time in tasks, when each task that ends is followed by a new one, and the driver's CPU time.

    On a shared machine the driver does not get its core; with one to itself, the utilization of slots that it cannot keep busy would be
    task length / (slots x CPU time a task).
    """
    for slots, lengths in BUSY.items():
        found = {task_s: occupied(slots, task_s) for task_s in lengths}
        for task_s, (used, cpu_us, share) in found.items():
            for quantity, value in (("utilization", used), ("cpu us a task", cpu_us), ("driver's share of a core", share)):
                yield Row(section="busy", how="one by one", slots=slots, pending=FEW, task_s=task_s, quantity=quantity, value=value)
        enough_s = shortest({task_s: used for task_s, (used, _, _) in found.items()})
        alone_s = ENOUGH * slots * found[lengths[0]][1] / 1e6
        for quantity, value in (("length for 95 %, s", enough_s), ("with a core to itself, s", alone_s)):
            yield Row(section="busy", how="one by one", slots=slots, pending=FEW, quantity=quantity, value=value)


def occupied(slots: int, task_s: float) -> tuple[float, float, float]:
    """Over a while in which the slots have forgotten that they began together."""
    going = True

    def follow(future: Future[Any]) -> None:
        if going:
            broker.submit("simulate", time.sleep, task_s).add_done_callback(follow)

    with simulated(slots, task_s) as (broker, dispatcher, _):
        for _ in range(slots + FEW):
            broker.submit("simulate", time.sleep, task_s).add_done_callback(follow)
        time.sleep(2 * task_s)
        begin_ns, cpu_s = dispatcher.clock.now_ns(), time.process_time()
        time.sleep(max(2.0, 2 * task_s))
        end_ns, cpu_s = dispatcher.clock.now_ns(), time.process_time() - cpu_s
        going = False
        while dispatcher.stats().ended < dispatcher.stats().submitted:
            time.sleep(0.01)
        ends = [e for e in read(dispatcher.trace.path) if isinstance(e, Finished)]
    inside_ns = sum(max(0, min(e.ended_ns, end_ns) - max(e.started_ns, begin_ns)) for e in ends)
    wall_s, tasks = (end_ns - begin_ns) / 1e9, sum(begin_ns <= e.t < end_ns for e in ends)
    return inside_ns / 1e9 / (slots * wall_s), cpu_s / tasks * 1e6, cpu_s / wall_s


def shortest(utilization: dict[float, float]) -> float:
    """Length from which on the slots are busy enough, interpolated in its logarithm; nan if never, or always."""
    lengths = sorted(utilization)
    below = [t for t in lengths if utilization[t] < ENOUGH]
    if not below or below[-1] == lengths[-1]:
        return math.nan
    low, high = below[-1], lengths[lengths.index(below[-1]) + 1]
    share = (ENOUGH - utilization[low]) / (utilization[high] - utilization[low])
    return low * (high / low) ** share


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {"rate": rate, "pending": pending, "memory": memory, "ending": ending, "busy": busy}


def measured(section: str, number: int) -> list[Row]:
    """One round, in this process."""
    return [replace(row, round=number) for row in SECTIONS[section](number)]


def table(rows: list[Row]) -> None:
    """Medians over the rounds, with the lowest and the highest."""
    print(f"{'':9}{'':12}{'slots':>6} {'pending':>8} {'task, s':>8}  {'':26}{'median':>9} {'lowest':>9} {'highest':>9}")
    groups: dict[Row, list[float]] = {}
    for row in rows:
        groups.setdefault(replace(row, round=0, value=0.0), []).append(row.value)
    for key, values in groups.items():
        figures = " ".join(f"{v:>9.4g}" for v in (statistics.median(values), min(values), max(values)))
        print(f"{key.section:9}{key.how:12}{key.slots:>6} {key.pending:>8} {key.task_s:>8.3g}  {key.quantity:26}{figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all, if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    a = parser.parse_args()
    rows: list[Row] = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        for section, number in itertools.product(a.sections or SECTIONS, range(a.rounds)):
            rows += processes.submit(measured, section, number).result()
    table(rows)
    write(a.out, rows)


def write(path: Path, rows: list[Row]) -> None:
    """Replace the rows of these sections."""
    kept: list[list[str]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [line for line in list(csv.reader(file))[1:] if line[0] not in {row.section for row in rows}]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(kept)
        writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in astuple(row)] for row in rows)


if __name__ == "__main__":
    main()
