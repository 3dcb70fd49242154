"""5,000 no-op tasks through the broker (trace and envelope included) against a bare stdlib spawn pool, 2 workers each."""

from __future__ import annotations

import argparse
import multiprocessing
import operator
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait

from _paired import compare, own_broker


def seconds(submit: Callable[[int], Future[int]], tasks: int) -> float:
    began = time.perf_counter()
    futures = [submit(i) for i in range(tasks)]
    wait(futures)
    took = time.perf_counter() - began
    assert [future.result() for future in futures] == [-i for i in range(tasks)]
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    a = parser.parse_args()
    with ProcessPoolExecutor(a.slots, mp_context=multiprocessing.get_context("spawn")) as pool, own_broker(a.slots) as (broker, _):
        compare(
            f"{a.tasks} no-op tasks, {a.slots} slots",
            "s",
            lambda: seconds(lambda i: broker.submit("decide", operator.neg, i), a.tasks),
            lambda: seconds(lambda i: pool.submit(operator.neg, i), a.tasks),
            a.pairs,
        )


if __name__ == "__main__":
    main()
