"""Brokers over a store in memory."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from mlforhpc.broker.broker import Broker
from mlforhpc.broker.dispatcher import Dispatcher
from mlforhpc.core.clock import Clock
from mlforhpc.core.trace import Trace, read
from mlforhpc.engines import processes, serial


class MemoryStore:
    """Keeps records in a dictionary; `hold` keeps acknowledgements back until `commit`."""

    def __init__(self):
        self.records = {}
        self.hold = False
        self.pending = []
        self.gets = 0
        self.error = None

    def put(self, record):
        future = Future()
        if self.error is not None:
            future.set_exception(self.error)
            return future
        self.pending.append((record, future))
        if not self.hold:
            self.commit()
        return future

    def commit(self):
        """Acknowledge what was put."""
        while self.pending:
            record, future = self.pending.pop()
            self.records.setdefault(record.key, record)
            future.set_result(None)

    def get(self, key):
        self.gets += 1
        return self.records.get(key)


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory):
    """Two slots for a whole file of tests."""
    clock = Clock()
    dispatcher = Dispatcher(processes.create(2, clock=clock), Trace(tmp_path_factory.mktemp("trace") / "events.jsonl", clock))
    dispatcher.engine.warm_up(60)
    yield dispatcher
    dispatcher.close()


@pytest.fixture
def store():
    """Empty."""
    return MemoryStore()


@pytest.fixture
def broker(dispatcher, store):
    """A view with a store of its own."""
    return Broker(dispatcher, store=store, charge="learned")


@pytest.fixture
def fresh(tmp_path):
    """A function that makes a broker of its own, closed afterwards."""
    made = []

    def make(slots=2, engine=None):
        clock = Clock()
        chosen = engine or (serial.create(clock=clock) if slots is None else processes.create(slots, clock=clock))
        made.append(Dispatcher(chosen, Trace(tmp_path / f"events-{len(made)}.jsonl", clock)))
        return Broker(made[-1], store=MemoryStore(), charge="learned"), made[-1]

    yield make
    for dispatcher in made:
        dispatcher.close()


@pytest.fixture
def events(dispatcher):
    """A function that reads the events of tasks from number `since` on."""

    def select(since=0):
        return [e for e in read(dispatcher.trace.path) if getattr(e, "task", since) >= since]

    return select
