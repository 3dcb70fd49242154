"""A campaign: engine, broker, stores and folder, assembled once, the same for library, run and serve.

    with Campaign("my-runs", engine="processes") as campaign:
        learned = surrogate(campaign.broker, simulation, budget=60)

Opening the same folder again goes on where the last session stopped: finished simulations come from the store.
"""

from __future__ import annotations

import fcntl
import inspect
import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.broker.task import Keep
from mlforhpc.core.choice import EngineChoice, engine_choice
from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Engine
from mlforhpc.core.errors import StoreFull, StoreLocked, UsageError
from mlforhpc.core.names import load
from mlforhpc.core.trace import Trace
from mlforhpc.store import FolderStore

ENGINE_START = "engine_start_s"


class Campaign:
    """See the file's docstring.

    Attributes:
        folder: where trace and stores are.
        broker: what scenarios use; its answers are kept in `store/`, its tasks charged to the learned method.
        referee: a second view for measurement, kept in `referee/`.
        trace: the events; subscribe for progress.
        budget_bytes: that `store/` may take.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        engine: str | EngineChoice | Engine = "processes",
        slots: int | None = None,
        budget_bytes: int | None = None,
        keep: Keep = "must",
        trace_bytes: int | None = None,
    ) -> None:
        """Assemble everything.

        Args:
            folder: made if it is not there; one campaign at a time may hold it.
            engine: "NAME", "NAME:ADDRESS", a table of mlforhpc.toml (`core.choice`), or an Engine.
            slots: how many; None = what the engine finds.
            budget_bytes: that `store/` may take; None = as much as the disk has.
            keep: what a full store or disk means: "must": the work stops; "may": simulations are answered and not kept (see `Broker`).
            trace_bytes: after so many the trace goes on in a new file, and the oldest are removed; None = one file that has all.

        Raises:
            UsageError: the folder cannot be written, slots < 1, or the engine does not take what it is given.
            MLforHPCError: the engine cannot be started.
            StoreLocked: another process holds the folder.
        """
        if slots is not None and slots < 1:
            raise UsageError(f"slots must be at least 1, found {slots}.")
        self.folder, self.budget_bytes = Path(folder), budget_bytes
        self._lock = _locked(self.folder)
        clock = Clock()
        began_ns = clock.now_ns()
        self.engine: Engine = _made(engine_choice(engine, slots=slots), clock) if isinstance(engine, str | EngineChoice) else engine
        self.trace = Trace(self.folder / "events.jsonl", clock, rotate_bytes=trace_bytes)
        self._stores = FolderStore.open(self.folder / "store", budget_bytes=budget_bytes), FolderStore.open(self.folder / "referee")
        self._dispatcher = Dispatcher(engine=self.engine, trace=self.trace)
        self.broker = Broker(self._dispatcher, store=self._stores[0], charge="learned", keep=keep)
        self.referee = Broker(self._dispatcher, store=self._stores[1], charge="measurement")
        self._open = True
        self._began_ns = began_ns

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except OSError as full:
            if error is None:
                sentence = (
                    f"The trace of '{self.folder}' could not be finished ({full.strerror}); free some space and open the folder again."
                )
                raise StoreFull(sentence) from full

    def warm_up(self, timeout_s: float = 60.0) -> None:
        """Return when every slot answers; the trace then has a mark `engine_start_s`, counted from before the engine was made.

        Raises:
            MLforHPCError: they do not.
        """
        self.engine.warm_up(timeout_s)
        self.broker.mark(ENGINE_START, (self.trace.clock.now_ns() - self._began_ns) / 1e9)

    def close(self) -> None:
        """Cancel what is pending, end every child, finish the stores; safe to call twice."""
        with ExitStack() as last_first:
            last_first.callback(self._lock.close)
            for store in self._stores:
                last_first.callback(store.close)
            last_first.callback(self._dispatcher.close)
            if self._open:
                self._open = False
                stats = self._dispatcher.stats()
                if stats.driver_cpu_s is not None:
                    self.broker.decide("closed", driver_cpu_s=stats.driver_cpu_s, tasks=stats.ended)


def _made(choice: EngineChoice, clock: Clock) -> Engine:
    """The engine of a choice."""
    create = load("engines", choice.name).create
    options = {"clock": clock, "slots": choice.slots, **({"address": choice.address} if choice.address else {}), **choice.options}
    try:
        inspect.signature(create).bind(**options)
    except TypeError as error:
        raise UsageError(f"Engine '{choice.name}' cannot be made with what was said: {error}.") from None
    engine: Engine = create(**options)
    return engine


def _locked(folder: Path) -> Any:
    """The folder, made and held by this process until the file is closed (or the process ends)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UsageError(f"The folder '{folder}' cannot be written ({error.strerror}); choose another one.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreLocked(f"Another process is using the folder '{folder}'; wait for it, or choose another folder.") from None
    os.set_inheritable(lock.fileno(), False)
    return lock
