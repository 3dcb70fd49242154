"""Event streams over real sockets, and the end of a server that has some open."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from mlforhpc.core.trace import Decision
from mlforhpc.server.stream import Stream, Streams


class Reader:
    """An open stream."""

    def __init__(self, place: str, path: str = "/v1/events") -> None:
        self.connection = http.client.HTTPConnection(place, timeout=10)
        self.connection.request("GET", path)
        self.response = self.connection.getresponse()

    def next(self) -> tuple[str, dict]:
        """Event and data."""
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if line.startswith(("event: ", "data: ")):
                name, _, fields[name] = line.partition(": ")
            elif not line and fields:
                return fields["event"], json.loads(fields["data"])
            elif not line and self.response.isclosed():
                raise EOFError

    def close(self) -> None:
        """Hang up."""
        self.response.close()
        self.connection.close()


@pytest.fixture
def reader(running):
    """A stream of the running server."""
    one = Reader(running.place)
    yield one
    one.close()


def test_a_stream_begins_with_every_status(running, reader):
    """One `status` a simulation, as /v1/status has it."""
    found = [reader.next() for _ in running.service.onlines]
    assert {name for name, _ in found} == {"status"}
    statuses = running.ask("GET", "/v1/status")[1]
    assert {told["simulation"]: told["tolerance"] for _, told in found} == {name: told["tolerance"] for name, told in statuses.items()}


def test_a_status_comes_again_when_it_changed(running, reader):
    """An answer of the surrogate is in the next status; what did not change is not sent."""
    before = {told["simulation"]: told for _, told in (reader.next() for _ in running.service.onlines)}
    named, _ = running.points("borehole", 3, seed=77)
    assert running.infer("borehole", named)[0] == 200
    name, told = reader.next()
    while name != "status":
        name, told = reader.next()
    assert told["simulation"] == "borehole"
    assert sum(told["answers"].values()) == sum(before["borehole"]["answers"].values()) + 3


def test_what_happens_to_the_promise_is_told_and_fallbacks_are_not(running, reader):
    """Decisions about learning and thresholds are passed on with their fields, within a second."""
    for _ in running.service.onlines:
        reader.next()
    broker = running.service.campaign.broker
    broker.decide("gate", source="simulation", rho=2.0)
    broker.decide("learned", version="abc", rows=12)
    name, told = reader.next()
    while name == "status":
        name, told = reader.next()
    assert name == "learned" and told["version"] == "abc" and abs(told["t"] - time.time()) < 10


def test_a_slow_client_loses_the_oldest_and_is_told():
    """The queue is bounded; `lost` says how many events are missing."""
    stream = Stream(length=3)
    for i in range(5):
        stream.offer("n", str(i).encode())
    stream.end()

    async def read() -> list[tuple[str, str]]:
        return [(event.event, event.data) async for event in stream]

    assert asyncio.run(read()) == [("lost", '{"events":2}'), ("n", "2"), ("n", "3"), ("n", "4")]


def test_the_number_of_streams_is_bounded(running, monkeypatch):
    """One too many gets 429 with a time; a client that hangs up makes room."""
    streams = running.service.feed.streams
    end = time.monotonic() + 5
    while len(streams):  # those of the tests before
        assert time.monotonic() < end
        time.sleep(0.05)
    monkeypatch.setattr(streams, "_most", 2)
    one, two = Reader(running.place), Reader(running.place)
    one.next(), two.next()
    status, headers, said = running.call("GET", "/v1/events")
    assert status == 429 and int(headers["retry-after"]) >= 1 and "2 event streams" in json.loads(said)["error"]
    one.close()
    while len(streams) > 1:
        assert time.monotonic() < end + 5
        time.sleep(0.05)
    three = Reader(running.place)
    assert three.next()[0] == "status"
    two.close(), three.close()


def test_what_is_offered_before_the_first_byte_is_not_missed():
    """A stream counts from the moment it is answered."""
    streams = Streams()
    response = streams.respond([("state", b"1", None)])
    streams.offer("state", b"2")
    assert len(streams) == 1 and [event.data for event in response._stream._events] == ["1", "2"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_with_open_streams_within_five_seconds(tmp_path, sent):
    """Streams that are read, one whose client reads nothing, and one of a job; the process leaves none behind."""
    command = [sys.executable, "-m", "mlforhpc", "serve", "branin", "--port", "0", "--slots", "1", "--folder", tmp_path / "kept", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ)
    with process.stdout as said:
        address = json.loads(said.readline())["address"]
    place = address.partition("://")[2]
    readers = [Reader(place) for _ in range(3)]
    for reader in readers:
        assert reader.next()[0] == "status"
    host, _, port = place.partition(":")
    deaf = socket.create_connection((host, int(port)))
    deaf.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    urllib.request.urlopen(f"{address}/v1/jobs", b'{"model": "branin", "x": {"x1": 1, "x2": 2}}', timeout=10).close()
    began = time.monotonic()
    process.send_signal(sent)
    process.wait(10)
    assert time.monotonic() - began < 5.0
    with pytest.raises((EOFError, http.client.HTTPException, ConnectionError)):
        while True:
            readers[0].next()
    for reader in readers:
        reader.close()
    deaf.close()


def test_events_of_other_kinds_are_heard_by_listeners(running):
    """Whoever listens gets the tasks' events, and no decisions; that is how jobs follow their marks."""
    heard = []
    feed = running.service.feed
    feed.listen(heard.append)
    try:
        running.service.campaign.broker.mark("seen", 3.0)
        end = time.monotonic() + 5
        while not any(getattr(event, "name", "") == "seen" for event in heard):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert not any(isinstance(event, Decision) for event in heard)
    finally:
        feed._listeners.remove(heard.append)
