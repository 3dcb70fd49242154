"""One task at a time, submit to result (p50): the broker against a bare stdlib spawn pool."""

from __future__ import annotations

import argparse
import multiprocessing
import operator
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor

from _paired import compare, own_broker


def median_us(submit: Callable[[], Future[int]], tasks: int) -> float:
    times = []
    for _ in range(tasks):
        began = time.perf_counter()
        submit().result()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=9)
    a = parser.parse_args()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool, own_broker(2) as (broker, _):
        compare(
            f"round trip of one no-op task, median of {a.tasks}",
            "us",
            lambda: median_us(lambda: broker.submit("decide", operator.neg, 1), a.tasks),
            lambda: median_us(lambda: pool.submit(operator.neg, 1), a.tasks),
            a.pairs,
        )


if __name__ == "__main__":
    main()
