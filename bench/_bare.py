"""An engine without us, in a process of its own: `python bench/_bare.py dask` measures what it is told on standard input.

As its documentation has it, with two workers of one thread each. One line in ("noops 1000"), one line out (seconds).
"""

from __future__ import annotations

import operator
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from _tasks import spin

Submit = Callable[..., Any]


@contextmanager
def processes() -> Iterator[tuple[Submit, Callable[[list[Any]], list[Any]]]]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool.submit, lambda futures: [future.result() for future in futures]


@contextmanager
def dask() -> Iterator[tuple[Submit, Callable[[list[Any]], list[Any]]]]:
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield lambda *call: client.submit(*call, pure=False), client.gather


@contextmanager
def ray() -> Iterator[tuple[Submit, Callable[[list[Any]], list[Any]]]]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    remote: dict[Any, Any] = {}

    def submit(function: Any, *args: Any) -> Any:
        if function not in remote:
            remote[function] = ray.remote(lambda *args: function(*args))
        return remote[function].remote(*args)

    yield submit, ray.get
    ray.shutdown()


@contextmanager
def parsl() -> Iterator[tuple[Submit, Callable[[list[Any]], list[Any]]]]:
    import tempfile

    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    executor = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2, cores_per_worker=1e-9, encrypted=True)
    with tempfile.TemporaryDirectory() as folder:
        kernel = parsl.load(Config(executors=[executor], run_dir=folder, initialize_logging=False))
        apps: dict[Any, Any] = {}

        def submit(function: Any, *args: Any) -> Any:
            if function not in apps:
                apps[function] = parsl.python_app(lambda *args: function(*args))
            return apps[function](*args)

        yield submit, lambda futures: [future.result() for future in futures]
        kernel.cleanup()


@contextmanager
def mpi() -> Iterator[tuple[Submit, Callable[[list[Any]], list[Any]]]]:
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        yield pool.submit, lambda futures: [future.result() for future in futures]


def measured(what: str, n: int, submit: Submit, gather: Callable[[list[Any]], list[Any]]) -> float:
    """Seconds: of n no-ops or n tasks of 100 ms in all, or of one no-op (median of n)."""
    if what == "trips":
        times = []
        for _ in range(n):
            began = time.perf_counter()
            gather([submit(operator.neg, 1)])
            times.append(time.perf_counter() - began)
        return statistics.median(times)
    began = time.perf_counter()
    if what == "noops":
        assert gather([submit(operator.neg, i) for i in range(n)]) == [-i for i in range(n)]
    else:
        gather([submit(spin, 0.1) for _ in range(n)])
    return time.perf_counter() - began


def main() -> None:
    engine = {"processes": processes, "dask": dask, "ray": ray, "parsl": parsl, "mpi": mpi}[sys.argv[1]]
    with engine() as (submit, gather):
        gather([submit(operator.neg, i) for i in range(20)])
        gather([submit(spin, 0.001) for _ in range(4)])
        print("ready", flush=True)
        for line in sys.stdin:
            what, n = line.split()
            print(measured(what, int(n), submit, gather), flush=True)


if __name__ == "__main__":
    main()
