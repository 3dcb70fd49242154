"""`/metrics` for Prometheus: read from the statuses when it is asked for, so that an answer costs nothing for being counted twice.

Names follow prometheus.io/docs/practices/naming: seconds, bytes, `_total` for what only grows. Limits and shares are in [0, 1].
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import orjson
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from mlforhpc.core.errors import TaskError
from mlforhpc.scenarios.online import Status
from mlforhpc.server import record_answers
from mlforhpc.server.models import BOUNDS_S

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

PATIENCE_S = 0.5
_GAUGES: dict[str, tuple[str, Callable[[Status], float | None]]] = {
    "tolerance": ("Relative RMS error that is promised.", lambda s: s.tolerance),
    "delta": ("Share of surrogate answers that may be off by more than the tolerance.", lambda s: s.delta),
    "broken_limit": ("Anytime-valid 95 % upper limit of the broken share among surrogate answers.", lambda s: s.broken_limit),
    "broken_limit_corrected": ("The same with the simulation's noise taken out.", lambda s: s.broken_limit_corrected),
    "open_threshold": ("Half-width over tolerance up to which the surrogate answers; 0 = not at all.", lambda s: s.open_threshold),
    "effective_speedup": ("Effective speedup so far.", lambda s: s.effective_speedup),
    "gain": ("Gain at equal quality so far.", lambda s: s.gain),
    "surrogate_runs": ("Runs that the surrogate was fitted to.", lambda s: s.runs),
    "simulations_waiting": ("Simulations that wait or run for callers.", lambda s: s.waiting_answers),
    "audits_waiting": ("Simulations that wait or run for audits.", lambda s: s.waiting_audits),
    "queue_limit": ("Simulations that may wait or run, for callers and for audits each.", lambda s: s.queue),
    "simulation_cost_seconds": ("Mean slot time of a simulation.", lambda s: s.simulation_cost_s),
    "lookup_seconds": ("Mean time of a lookup of the surrogate.", lambda s: s.lookup_s),
    "noise": ("Relative standard error of a run.", lambda s: s.noise),
    "fitting": ("1 while a surrogate is being fitted.", lambda s: float(s.learning == "fitting")),
}
_COUNTERS: dict[str, tuple[str, Callable[[Status], float]]] = {
    "audits": ("Audits scored.", lambda s: s.audits),
    "audits_broken": ("Audits whose answer was off by more than the tolerance.", lambda s: s.broken),
    "fits": ("Surrogates fitted.", lambda s: s.fits),
    "fits_accepted": ("Surrogates that replaced the one before.", lambda s: s.accepted),
    "fits_refused": ("Surrogates that were no better than the one before.", lambda s: s.refused),
    "answers_unkept": ("Answers that the store did not keep: its budget was full.", lambda s: s.unkept),
}


class ServiceCollector(Collector):
    """What the service knows of itself, at the time of asking."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store_bytes: int | None = None
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Find out beside this process how large the store is; where that takes long, the last answer stands."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait([self._looking], timeout=PATIENCE_S)

    async def _look(self) -> None:
        campaign = self._service.campaign
        with contextlib.suppress(TaskError):
            told = await self._service.aside(record_answers.usage, str(campaign.folder / "store"), campaign.budget_bytes)
            if told.status == 200:
                self._store_bytes = int(orjson.loads(told.content)["used_bytes"])

    def collect(self) -> Iterator[Metric]:
        """One family after another."""
        statuses = {name: online.status() for name, online in self._service.onlines.items()}
        for name, (text, value) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"mlforhpc_{name}", text, labels=["model"])
            for model, status in statuses.items():
                if (number := value(status)) is not None:
                    gauge.add_metric([model], number)
            yield gauge
        for name, (text, count) in _COUNTERS.items():
            counter = CounterMetricFamily(f"mlforhpc_{name}", text, labels=["model"])
            for model, status in statuses.items():
                counter.add_metric([model], count(status))
            yield counter
        yield from self._answers(statuses)
        yield from self._requests()
        yield from self._own()

    def _answers(self, statuses: dict[str, Status]) -> Iterator[Metric]:
        answers = CounterMetricFamily("mlforhpc_answers", "Answers by what gave them.", labels=["model", "source"])
        surrogates = InfoMetricFamily("mlforhpc_surrogate", "The surrogate that answers now.", labels=["model"])
        for model, status in statuses.items():
            for source, count in status.answers.items():
                answers.add_metric([model, source], count)
            surrogates.add_metric([model], {"version": status.surrogate_version, "simulation_version": status.simulation_version})
        yield answers
        yield surrogates

    def _requests(self) -> Iterator[Metric]:
        """Latencies of inference: without and with a simulation."""
        latency = HistogramMetricFamily(
            "mlforhpc_infer_seconds", "Time to answer, by whether a simulation ran.", labels=["model", "simulated"]
        )
        failures = CounterMetricFamily("mlforhpc_infer_failures", "Inference requests that got an error.", labels=["model"])
        for model in self._service.models.values():
            for simulated, (classes, sum_ns) in enumerate(zip(model.stats.latencies, model.stats.latency_sums_ns, strict=True)):
                latency.add_metric([model.name, ("no", "yes")[simulated]], _cumulative(classes), sum_ns / 1e9)
            failures.add_metric([model.name], model.stats.failures)
        yield latency
        yield failures

    def _own(self) -> Iterator[Metric]:
        service = self._service
        yield GaugeMetricFamily("mlforhpc_started_timestamp_seconds", "When the service started, unix time.", service.started_unix_s)
        if self._store_bytes is not None:
            yield GaugeMetricFamily("mlforhpc_store_bytes", "What the store takes on its disk.", self._store_bytes)
        if service.campaign.budget_bytes is not None:
            yield GaugeMetricFamily("mlforhpc_store_budget_bytes", "What it may take.", service.campaign.budget_bytes)
        yield GaugeMetricFamily("mlforhpc_jobs_waiting", "Jobs that are queued or running.", service.jobs.waiting)
        yield GaugeMetricFamily("mlforhpc_event_streams", "Open event streams.", len(service.feed.streams))
        yield GaugeMetricFamily("mlforhpc_slots", "Slots of the engine.", service.campaign.broker.slots)
        yield CounterMetricFamily("mlforhpc_log_lines_lost", "Log lines that the disk did not take.", service.log.lost)


def _cumulative(classes: list[int]) -> list[tuple[str, float]]:
    """(upper end, how many were no longer), as the format wants it."""
    total, found = 0, list[tuple[str, float]]()
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), classes, strict=True):
        total += count
        found.append((bound, total))
    return found


def routes(service: Service) -> list[BaseRoute]:
    """One route."""
    registry = CollectorRegistry(auto_describe=False)
    collector = ServiceCollector(service)
    registry.register(collector)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        await collector.look()
        encoder, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(registry), headers={"Content-Type": content_type})

    return [Route("/metrics", metrics, methods=["GET"])]
