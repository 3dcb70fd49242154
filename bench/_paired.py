"""Paired measurements: ours and theirs alternate, because the machine is never quiet; the ratio of a pair is what counts."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Engine
from mlforhpc.core.trace import Trace
from mlforhpc.engines import processes


class NoStore:
    """These benchmarks simulate nothing."""


@contextmanager
def own_broker(slots: int, create: Callable[..., Engine] = processes.create) -> Iterator[tuple[Broker, Dispatcher]]:
    """A warm broker with engine `processes`, or another, trace included."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        engine = create(slots, clock=clock)
        dispatcher = Dispatcher(engine, Trace(Path(folder) / "events.jsonl", clock))
        try:
            engine.warm_up(60)
            yield Broker(dispatcher, store=NoStore()), dispatcher  # type: ignore[arg-type]
        finally:
            dispatcher.close()


def compare(name: str, unit: str, ours: Callable[[], float], theirs: Callable[[], float], pairs: int) -> float:
    """Measure in turn, print a table, return the median ratio ours/theirs."""
    ours(), theirs()  # warm
    print(f"{name}\n{'pair':>4}  {'ours':>10}  {'stdlib':>10}  ratio   ({unit})")
    ratios = []
    for pair in range(pairs):
        a, b = (ours(), theirs()) if pair % 2 else (theirs(), ours())[::-1]
        ratios.append(a / b)
        print(f"{pair:>4}  {a:>10.4g}  {b:>10.4g}  {a / b:.3f}")
    median = statistics.median(ratios)
    print(f"median ratio {median:.3f}  (lowest {min(ratios):.3f}, highest {max(ratios):.3f}, {pairs} pairs)\n")
    return median
