"""Driving answers with MLPerf LoadGen: one run of one scenario, its logs in a folder, the verdict read from them.

LoadGen is C++ with callbacks and global state: it runs in a process of its own (`inference_child`), never in a driver or a slot.
One connection answers in LoadGen's own thread: what comes late is handed over together (`server_coalesce_queries`), and Server's
latencies count from the scheduled arrival. Several connections answer in a thread each, which
takes what is waiting.
Reddi et al., MLPerf Inference Benchmark, ISCA 2020, doi 10.1109/ISCA45697.2020.00045.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from mlforhpc.core.names import missing
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.inference_backends import Answers
from mlforhpc.scenarios.inference_job import Load

try:
    import mlperf_loadgen as loadgen
except ModuleNotFoundError as error:
    raise missing("MLPerf LoadGen", "mlcommons_loadgen") from error

Issue: TypeAlias = Any
"""A list of LoadGen's query samples: `id`, and `index` in the sample library."""
PERCENTILE = 0.99
"""Of Server's queries that have to keep the bound."""


def drive(
    connections: Sequence[Answers], points: FloatArray, folder: Path, *, scenario: str, batch: int, offered_per_s: float, load: Load
) -> None:
    """One run; LoadGen's logs are in `folder` afterwards.

    Args:
        connections: functions that answer, each used by one thread at a time.
        points: the sample library (n, d).
        folder: made if it is not there.
        scenario: "SingleStream", "Server" or "Offline".
        batch: most samples of one call.
        offered_per_s: queries a second that Server offers; what SingleStream and Offline are expected to reach.
        load: durations, least queries, bound.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _system(connections, points, batch) as issue:
        system = loadgen.ConstructSUT(issue, lambda: None)
        library = loadgen.ConstructQSL(len(points), len(points), lambda indices: None, lambda indices: None)
        loadgen.StartTestWithLogSettings(system, library, _settings(scenario, offered_per_s, load), _logs(folder))
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)


def answered(answers: Answers, points: FloatArray, samples: Issue, batch: int) -> None:
    """Answer samples, so many at a time, and tell LoadGen."""
    for i in range(0, len(samples), batch):
        part = samples[i : i + batch]
        found = answers(points[[sample.index for sample in part]])  # (b, 3 m), contiguous
        address, size = found.ctypes.data, found.strides[0]
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(one.id, address + j * size, size) for j, one in enumerate(part)])


@contextmanager
def _system(connections: Sequence[Answers], points: FloatArray, batch: int) -> Iterator[Any]:
    """LoadGen's IssueQuery: the one connection at once, or several that take from a queue."""
    if len(connections) == 1:
        yield lambda samples: answered(connections[0], points, samples, batch)
        return
    waiting: SimpleQueue[Issue] = SimpleQueue()

    def work(answers: Answers) -> None:
        while (part := waiting.get()) is not None:
            answered(answers, points, _with_waiting(part, waiting, batch), batch)

    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in connections]
    for thread in threads:
        thread.start()

    def issue(samples: Issue) -> None:
        for i in range(0, len(samples), batch):
            waiting.put(samples[i : i + batch])

    try:
        yield issue
    finally:
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()


def _with_waiting(part: Issue, waiting: SimpleQueue[Issue], batch: int) -> Issue:
    """A part, and what waits behind it, until a batch is full."""
    while len(part) < batch:
        try:
            more = waiting.get_nowait()
        except Empty:
            break
        if more is None:  # the end, which is for every thread
            waiting.put(None)
            break
        part = [*part, *more]
    return part


def _settings(scenario: str, offered_per_s: float, load: Load) -> Any:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = max(1, round(1e3 * load.duration_s))
    settings.min_query_count = load.queries.get(scenario, 1)
    settings.single_stream_expected_latency_ns = max(1, round(1e9 / offered_per_s))
    settings.offline_expected_qps = settings.server_target_qps = offered_per_s
    settings.server_target_latency_ns = round(1e9 * load.bound_s)
    settings.server_target_latency_percentile = PERCENTILE
    settings.server_coalesce_queries = True
    settings.accuracy_log_sampling_target = load.kept
    return settings


def _logs(folder: Path) -> Any:
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs
