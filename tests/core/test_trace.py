"""The trace: what is written is what is read, by files and by subscribers, whatever breaks in between."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.core import trace
from mlforhpc.core.clock import Clock
from mlforhpc.core.trace import Decision, Finished, Mark, Opened, Quality, Started, Submitted, Trace, read

EXAMPLES = {
    "opened": Opened(t=1, host="h", pid=2, unix_ns=3, monotonic_ns=4, system="s", engine="processes", slots=2, resumed=False),
    "submitted": Submitted(t=1, task=1, kind="simulate", charge="learned", label="a", cores=2, key="k"),
    "started": Started(t=1, task=1, slot="0", attempt=1),
    "finished": Finished(
        t=1, task=1, outcome="ok", slot="0", started_ns=2, ended_ns=3, bytes_in=4, bytes_out=5, peak_memory_bytes=6, attempt=1, reason=""
    ),
    "decision": Decision(t=1, decision="ask", data={"n": 2}),
    "mark": Mark(t=1, task=1, name="loss", value=0.5),
    "quality": Quality(t=1, name="q", data={"error": 0.25}, keys=["k"]),
}
KEYS = {
    "opened": "t e schema_version host pid unix_ns monotonic_ns system engine slots resumed",
    "submitted": "t e task kind charge label cores key",
    "started": "t e task slot attempt",
    "finished": "t e task outcome slot started_ns ended_ns bytes_in bytes_out peak_memory_bytes attempt reason",
    "decision": "t e decision data",
    "mark": "t e task name value",
    "quality": "t e name data keys",
}


@pytest.fixture
def path(tmp_path):
    """Of a trace."""
    return tmp_path / "events.jsonl"


def marks(n, start=0):
    """Events that can be told apart."""
    return [Mark(t=i, task=1, name="i", value=float(i)) for i in range(start, start + n)]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_line_has_exactly_the_published_keys(path, kind):
    """Other tools read the file by these names."""
    trace = Trace(path, Clock())
    trace.write(EXAMPLES[kind])
    line = json.loads(path.read_text())
    assert set(line) == set(KEYS[kind].split())
    assert line["e"] == kind
    assert list(read(path)) == [EXAMPLES[kind]]
    trace.close()


def test_emitted_events_reach_the_file_at_flush(path):
    """Not before, so that events that come together cost one write."""
    trace = Trace(path, Clock())
    trace.emit(marks(1)[0])
    assert path.read_bytes() == b""
    trace.flush()
    assert list(read(path)) == marks(1)
    trace.close()


def test_a_torn_last_line_is_dropped_by_readers_and_ended_by_the_next_writer(path):
    """A crash in the middle of a line costs that line, and not the next good one."""
    with Trace_of(path) as trace:
        trace.write(EXAMPLES["submitted"])
    with path.open("ab") as file:
        file.write(b'{"e":"mark","t":5,"ta')
    assert list(read(path)) == [EXAMPLES["submitted"]]
    with Trace_of(path) as trace:
        assert trace.resumed
        assert trace.last_task == 1
        trace.write(EXAMPLES["mark"])
    assert list(read(path)) == [EXAMPLES["submitted"], EXAMPLES["mark"]]


def test_a_line_of_an_unknown_kind_is_skipped(path):
    """A newer version may write kinds that this one does not know."""
    path.write_text('{"e":"novelty","t":1}\n{"e":"mark","t":1,"task":1,"name":"loss","value":0.5}\n')
    assert list(read(path)) == [EXAMPLES["mark"]]


def test_a_short_write_is_finished(path, monkeypatch):
    """write(2) may take a part only."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    with Trace_of(path) as trace:
        trace.write(EXAMPLES["finished"])
        trace.write(EXAMPLES["mark"])
    assert list(read(path)) == [EXAMPLES["finished"], EXAMPLES["mark"]]


def test_a_full_disk_raises_and_loses_nothing_that_is_flushed_later(path, monkeypatch):
    """`flush` says so; once there is room, every event is there once, in the file and for subscribers."""
    real, room = os.write, [10]

    def write(fd, data):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(fd, bytes(data[: room[0]]))
        room[0] -= done
        return done

    with Trace_of(path) as trace:
        subscription = trace.subscribe()
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space"):
            trace.write(EXAMPLES["mark"])
        for event in marks(100):
            trace.emit(event)  # never raises
        room[0] = 10**6
        trace.flush()
        assert list(read(path)) == [EXAMPLES["mark"], *marks(100)]
        assert subscription.drain() == [EXAMPLES["mark"], *marks(100)]


def test_what_waits_for_a_full_disk_is_bounded(path, monkeypatch):
    """Beyond that events are counted; with room again those that waited are written, and a mark says how many are missing."""
    monkeypatch.setattr("mlforhpc.core.trace.MOST_WAITING_BYTES", 4096)
    with Trace_of(path) as trace:
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda fd, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
            for event in marks(1000):
                trace.emit(event)
            with pytest.raises(OSError, match="No space"):
                trace.flush()
        trace.flush()
    *kept, lost = read(path)
    assert 10 < len(kept) < 1000 and kept == marks(1000)[: len(kept)]
    assert (lost.name, lost.value) == ("events_lost", 1000 - len(kept))
    assert path.stat().st_size < 6000


def test_a_subscriber_gets_events_from_now_on(path):
    """Those before it are in the file; `from_start` gives them too."""
    with Trace_of(path) as trace:
        trace.write(marks(1)[0])
        now, start = trace.subscribe(), trace.subscribe(from_start=True)
        trace.write(marks(1, 1)[0])
        assert now.drain() == marks(1, 1)
        assert start.drain() == marks(2)
        assert now.get(timeout_s=0.01) is None


def test_a_subscriber_that_lags_catches_up_from_the_file(path):
    """With room for 5 of 1,000 events it misses none, sees none twice, and then follows again."""
    with Trace_of(path) as trace:
        slow = trace.subscribe(maxsize=5)
        for event in marks(1000):
            trace.write(event)
        assert len(slow._queue) < 10  # bounded
        assert slow.drain() == marks(1000)
        trace.write(marks(1, 1000)[0])
        assert slow.drain() == marks(1, 1000)


def test_a_lagging_subscriber_loses_nothing_while_events_keep_coming(path):
    """The reader switches between queue and file while the writer runs."""
    with Trace_of(path) as trace:
        subscriptions = [trace.subscribe(maxsize=size) for size in (1, 3, 50)]
        received = [[] for _ in subscriptions]
        readers = [threading.Thread(target=lambda got=got, s=s: got.extend(s)) for s, got in zip(subscriptions, received, strict=True)]
        for reader in readers:
            reader.start()
        for i, event in enumerate(marks(20_000)):
            trace.emit(event)
            if i % 7 == 0:
                trace.flush()
    for reader in readers:
        reader.join(30)
    assert all(got == marks(20_000) for got in received)


def test_a_subscriber_sees_what_a_reader_of_the_file_sees(path):
    """An array in a decision is a list for both."""
    with Trace_of(path) as trace:
        subscription = trace.subscribe()
        trace.write(Decision(t=1, decision="ask", data={"x": np.array([1.5, 2.0]), "n": np.int64(3), "path": path}))
        events = subscription.drain()
    assert events == list(read(path))
    assert events[0].data == {"x": [1.5, 2.0], "n": 3, "path": str(path)}


def test_closing_ends_iteration(path):
    """Of the trace, or of the subscription."""
    trace = Trace(path, Clock())
    first, second = trace.subscribe(), trace.subscribe()
    trace.write(marks(1)[0])
    first.close()
    assert list(first) == marks(1)
    trace.close()
    trace.close()
    assert list(second) == marks(1)


def test_the_clock_is_unix_time_and_takes_an_offset():
    """A slot with the driver's offset tells the driver's time."""
    clock = Clock()
    assert abs(clock.now_ns() - time.time_ns()) < 1e9
    other = Clock(clock.offset_ns)
    assert clock.now_ns() <= other.now_ns() <= clock.now_ns()


class Trace_of:
    """`with Trace_of(path) as trace`."""

    def __init__(self, path):
        self.trace = Trace(path, Clock())

    def __enter__(self):
        return self.trace

    def __exit__(self, *exc):
        self.trace.close()


def test_a_trace_that_rotates_loses_nothing_and_goes_on_counting(tmp_path: Path) -> None:
    """Small files: all events are in them, in order; opened again, the last task's number is known; the oldest files go."""
    path = tmp_path / "events.jsonl"
    writer = trace.Trace(path, Clock(), rotate_bytes=2_000)
    subscription = writer.subscribe()
    for i in range(200):
        writer.write(trace.Started(t=i, task=i + 1, slot="0", attempt=1))
    files = [*trace.rotated(path), path]
    assert 5 < len(files) <= trace.KEPT + 1
    tasks = [event.task for file in files if file.exists() for event in trace.read(file)]
    assert tasks == list(range(1, 201))
    assert [event.task for event in subscription.drain()] == tasks
    writer.close()
    again = trace.Trace(path, Clock(), rotate_bytes=2_000)
    assert again.last_task == 200 and again.resumed
    again.close()


def test_a_trace_keeps_so_many_files_and_waits_for_readers_that_lag(tmp_path: Path) -> None:
    """With a reader who has to catch up from the file nothing is rotated; afterwards the oldest go."""
    path = tmp_path / "events.jsonl"
    writer = trace.Trace(path, Clock(), rotate_bytes=200)
    subscription = writer.subscribe(maxsize=1)
    for i in range(50):
        writer.write(trace.Started(t=i, task=i + 1, slot="0", attempt=1))
    assert len(trace.rotated(path)) <= 1
    assert len(subscription.drain()) == 50
    for i in range(50, 500):
        writer.write(trace.Started(t=i, task=i + 1, slot="0", attempt=1))
        subscription.drain()
    assert len(trace.rotated(path)) == trace.KEPT
    writer.close()
