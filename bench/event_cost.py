"""What an event of the trace costs, encoding and write(2) included, with and without two subscribers that read along."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from mlforhpc.core.clock import Clock
from mlforhpc.core.trace import Finished, Trace


def cost_us(trace: Trace, events: int, together: int) -> float:
    """CPU time of this thread an event, `together` of them a write."""
    now = trace.clock.now_ns
    began = time.thread_time()
    for i in range(events):
        trace.emit(
            Finished(
                t=now(),
                task=i,
                outcome="ok",
                slot="0",
                started_ns=1_790_000_000_000_000_000,
                ended_ns=1_790_000_000_000_000_999,
                bytes_in=100,
                bytes_out=100,
                peak_memory_bytes=10**8,
                attempt=1,
                reason="",
            )
        )
        if i % together == 0:
            trace.flush()
    return (time.thread_time() - began) / events * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    print(f"{'subscribers':>11}  {'events a write':>14}  us an event (median, lowest, highest of {a.rounds})")
    for subscribers in (0, 2):
        for together in (1, 50):
            with tempfile.TemporaryDirectory() as folder:
                trace = Trace(Path(folder) / "events.jsonl", Clock())
                readers = [threading.Thread(target=lambda s=trace.subscribe(): [None for _ in s]) for _ in range(subscribers)]
                for reader in readers:
                    reader.start()
                costs = [cost_us(trace, a.events, together) for _ in range(a.rounds)]
                trace.close()
                for reader in readers:
                    reader.join()
            print(f"{subscribers:>11}  {together:>14}  {statistics.median(costs):.2f}  {min(costs):.2f}  {max(costs):.2f}")


if __name__ == "__main__":
    main()
