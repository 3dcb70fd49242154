"""The service: all that a route needs, assembled once and handed to each module of routes.

    def routes(service: Service) -> list[BaseRoute]

Routes answer on the event loop. Whatever takes longer than a millisecond of pure Python goes `aside`: to one slot of its own beside the
server's process, because a busy thread within it turns answers of 0.15 ms into 5 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.campaign import Campaign
from mlforhpc.core.names import suggestion
from mlforhpc.core.trace import Trace
from mlforhpc.engines import processes
from mlforhpc.server.events import Feed
from mlforhpc.server.job_queue import JobQueue
from mlforhpc.server.log import Log
from mlforhpc.server.models import Model
from mlforhpc.server.refusals import Refused
from mlforhpc.server.tensors import brief

if TYPE_CHECKING:
    from mlforhpc.scenarios.online import Online

T = TypeVar("T")
TRACE_BYTES = 64 << 20
"""After so many a file of a service's trace is full; the last twenty are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request, one client and all of them together may take.

    Attributes:
        body_bytes: of a request, as sent and as decompressed.
        rows: points that one inference may ask for.
        elements: numbers in all tensors of an answer together.
        client_rate_per_s: requests of one address in the long run; 0 = no limit.
        client_burst: how many it may send at once before that counts.
        requests: that are being answered at the same time.
        connections: open at the same time.
        body_timeout_s: within which the body of a request must have arrived.
    """

    body_bytes: int = 4 << 20
    rows: int = 1_000
    elements: int = 500_000
    client_rate_per_s: float = 0.0
    client_burst: int = 200
    requests: int = 512
    connections: int = 1_024
    body_timeout_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """See the file's docstring.

    Attributes:
        onlines: name of a simulation -> what answers for it.
        campaign: its engine runs simulations and learns; its store keeps the answers; its folder is the service's.
        limits: see `Limits`.
        token: what clients must show; None = nothing.
        models: the same names -> what they are for clients.
        local: one slot on this machine for scans and exports, whatever the campaign's engine is.
        started_unix_s: when it was made.
        log, feed, jobs: see there; they live while the service is `running`.
    """

    onlines: Mapping[str, Online]
    campaign: Campaign
    limits: Limits = field(default_factory=Limits)
    token: bytes | None = None
    local: Broker
    started_unix_s: float = field(default_factory=time.time)
    log: Log
    models: Mapping[str, Model] = field(init=False)
    feed: Feed = field(init=False)
    jobs: JobQueue = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", {name: Model(online) for name, online in self.onlines.items()})
        folder, broker = self.campaign.folder, self.campaign.broker
        object.__setattr__(self, "feed", Feed(self.onlines, broker.subscribe, self.log))
        object.__setattr__(self, "jobs", JobQueue(self.onlines, folder / "jobs", self.log, slots=broker.slots))
        self.feed.listen(self.jobs.see)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What goes on beside requests: the log is written, the trace followed, and jobs are done, those of the last server first."""
        try:
            async with self.log.writing(), self.feed.running(), self.jobs.open():
                yield
        finally:
            self.log.close()

    def model(self, name: str) -> Model:
        """A model by its name.

        Raises:
            Refused: 404.
        """
        found = self.models.get(name)
        if found is None:
            raise Refused(
                404, f"There is no model {brief(name)}; served are {', '.join(self.models)}.{suggestion(name[:100], self.models)}"
            )
        return found

    async def aside(self, function: Callable[..., T], *args: Any, limit_s: float | None = None) -> T:
        """function(*args) in the local slot, outside of this process; killed if the caller is cancelled.

        Raises:
            TaskError: it raised, or took longer than `limit_s`.
        """
        label = getattr(function, "__qualname__", type(function).__qualname__)
        return await asyncio.wrap_future(self.local.submit("prepare", function, *args, limit_s=limit_s, label=label))


def local_broker(campaign: Campaign, leaving: ExitStack) -> Broker:
    """One slot on this machine with a trace of its own (`aside.jsonl`) and the campaign's store; `leaving` closes it."""
    clock = campaign.trace.clock
    trace = Trace(campaign.folder / "aside.jsonl", clock, rotate_bytes=TRACE_BYTES)
    dispatcher = Dispatcher(engine=processes.create(slots=1, clock=clock), trace=trace)
    leaving.callback(dispatcher.close)
    return Broker(dispatcher, store=campaign.broker.store, charge="measurement")
