"""The guard: tokens, hosts, rates, sizes, slow bodies, connections."""

from __future__ import annotations

import base64
import contextlib
import gc
import http.client
import socket
import struct
import time

import pytest

from mlforhpc.server import connections
from mlforhpc.server.configuration import configuration
from mlforhpc.server.guard import name_of

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, serve):
    """A server with a token and small limits."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "service.toml").write_text(
        """
        [limits]
        body_bytes = 20_000
        body_timeout_s = 0.5
        connections = 6
        requests = 3
        """
    )
    said = {"port": 0, "slots": 1, "folder": folder / "kept", "token_file": folder / "token"}
    with serve(configuration(folder / "service.toml", simulations=["branin"], said=said, environment={})) as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    """The header."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [{}, bearer(""), bearer("wrong"), bearer(TOKEN[:-1]), bearer(TOKEN + "x"), {"Authorization": TOKEN}, {"Authorization": "Basic %%%"}],
)
def test_without_the_token_there_is_a_401(guarded, headers):
    """None, a wrong one, a part of it, the wrong kind; a browser is told to ask."""
    status, told, said = guarded.call("GET", "/v2", headers=headers)
    assert status == 401 and b"token" in said and told["www-authenticate"].startswith("Basic")


def test_with_the_token_all_is_served(guarded):
    """As a bearer's, or as the password that a browser asks for; whether the server lives may be asked without."""
    assert guarded.ask("GET", "/v2", headers=bearer(TOKEN))[0] == 200
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    assert guarded.ask("GET", "/v2", headers={"Authorization": f"Basic {basic}"})[0] == 200
    assert guarded.ask("GET", "/v2/health/live")[0] == 200
    assert guarded.ask("GET", "/v2/health/ready")[0] == 200


def test_a_browsers_password_only_reads(guarded):
    """A browser sends it along with what other sites have it send: so it opens no request that changes anything."""
    basic = {"Authorization": "Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode()}
    assert guarded.ask("GET", "/v1/jobs", headers=basic)[0] == 200
    assert guarded.call("GET", "/", headers=basic)[0] == 200
    status, told = guarded.ask("POST", "/v1/jobs", {}, basic)
    assert status == 403 and "Bearer" in told["error"]
    assert guarded.ask("POST", "/v1/jobs", {}, bearer(TOKEN))[0] == 400


def test_a_large_body_is_a_413(guarded):
    """By its length before it is read, and in chunks when it has become too much; clients that first send all get it, too."""
    with _line(guarded) as line:
        line.sendall(_head(guarded, 20_001))
        assert _said(line)[:2] == (413, None)
    with _line(guarded) as line:
        line.sendall(_head(guarded, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(5):
            line.sendall(b"1388\r\n" + b" " * 5_000 + b"\r\n")
        status, connection, said = _said(line)
        assert (status, connection) == (413, None) and b"20000 bytes" in said
    assert guarded.call("POST", "/v2/models/branin/infer", bytes(64 << 20), bearer(TOKEN))[0] == 413
    assert guarded.call("POST", "/v2/models/branin/infer", b" " * 20_000, bearer(TOKEN))[0] == 400


def test_a_slow_body_is_a_408(guarded):
    """Half of it, then nothing."""
    with _line(guarded) as line:
        line.sendall(_head(guarded, 100) + b"{")
        began = time.monotonic()
        status, connection, said = _said(line)
        assert (status, connection) == (408, "close") and b"0.5 s" in said and time.monotonic() - began < 3


def test_a_client_that_sends_too_often_is_told_when_to_come_again(tmp_path, serve):
    """After its burst of five: 429 with whole seconds; when its bucket has filled by one it is served."""
    (tmp_path / "service.toml").write_text("[limits]\nclient_rate_per_s = 2\nclient_burst = 5\n")
    said = {"port": 0, "slots": 1, "folder": tmp_path / "kept"}
    with serve(configuration(tmp_path / "service.toml", simulations=["branin"], said=said, environment={})) as found:
        answers = [found.call("GET", "/v2/health/live") for _ in range(8)]
        assert [status for status, _, _ in answers[:5]] == [200] * 5
        status, headers, refusal = answers[-1]
        assert (status, headers["retry-after"]) == (429, "1") and b"2 requests a second" in refusal
        _until(lambda: found.call("GET", "/v2/health/live")[0] == 200)


def test_so_many_requests_at_once(guarded):
    """Three whose bodies are on their way; the fourth is a 429, and when they are over there is room."""
    lines = [_line(guarded) for _ in range(3)]
    try:
        for line in lines:
            line.sendall(_head(guarded, 100))
        _until(lambda: guarded.call("GET", "/v2", headers=bearer(TOKEN))[0] == 429)
        _, headers, said = guarded.call("GET", "/v2", headers=bearer(TOKEN))
        assert headers["retry-after"] == "1" and b"3 requests" in said
    finally:
        for line in lines:
            line.close()
    _until(lambda: guarded.call("GET", "/v2", headers=bearer(TOKEN))[0] == 200)


def test_so_many_connections(guarded):
    """Six; the seventh gets a 503 in JSON."""
    lines = [_line(guarded) for _ in range(6)]
    try:
        with _line(guarded) as seventh:
            status, connection, said = _said(seventh)
            assert (status, connection) == (503, "close") and said.startswith(b'{"error":')
    finally:
        for line in lines:
            line.close()


def test_a_head_that_never_ends_is_ended(tmp_path, serve, monkeypatch):
    """A connection that sends nothing, or half a head, is closed; one that is idle between requests is not."""
    monkeypatch.setattr(connections.end_stalled, "__kwdefaults__", {**connections.end_stalled.__kwdefaults__, "after_s": 0.2})
    said = {"port": 0, "slots": 1, "folder": tmp_path / "kept"}
    with serve(configuration(simulations=["branin"], said=said, environment={})) as found, _line(found) as silent, _line(found) as idle:
        idle.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4_096).startswith(b"HTTP/1.1 200")
        with _line(found) as half:
            half.sendall(b"GET /v2 HTTP/1.1\r\nHost: loc")
            assert half.recv(10) == b"" and silent.recv(10) == b""
        idle.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4_096).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_ended(tmp_path, serve, monkeypatch):
    """Its answers would take memory for as long as it likes; one that reads slowly gets all of its own."""
    monkeypatch.setattr(connections.end_stalled, "__kwdefaults__", {**connections.end_stalled.__kwdefaults__, "after_s": 0.3})
    said, request = {"port": 0, "slots": 1, "folder": tmp_path / "kept"}, b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serve(configuration(simulations=["branin"], said=said, environment={})) as found, _line(found) as silent, _line(found) as slow:
        whole = 400 * len(found.call("GET", "/docs")[2])
        for line in (silent, slow):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            line.sendall(400 * request)
        got = 0
        while got < whole:
            piece = slow.recv(1 << 20)
            assert piece
            got += len(piece)
            time.sleep(0.005)
        read = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := silent.recv(1 << 20):
                read += len(piece)
        assert 0 < read < whole


def test_other_hosts_are_refused_on_loopback(running):
    """A name that another site had lead here, and a page of another site that posts; our own names are served."""
    assert running.ask("GET", "/v2", headers={"Host": "localhost:80"})[0] == 200
    assert running.ask("GET", "/v2", headers={"Host": "[::1]:80"})[0] == 200
    status, said = running.ask("GET", "/v2", headers={"Host": "evil.example:80"})
    assert status == 403 and "evil.example" in said["error"]
    index = "/v2/repository/index"
    assert running.ask("POST", index, headers={"Origin": "http://evil.example"})[0] == 403
    assert running.ask("POST", index, headers={"Origin": "null"})[0] == 403
    assert running.ask("POST", index, headers={"Origin": running.address})[0] == 200


def test_names_of_hosts():
    """Without port and brackets."""
    assert [name_of(host) for host in ("A.b:80", "A.b", "[::1]:80", "[::1]", "")] == ["a.b", "a.b", "::1", "::1", ""]


def _until(there) -> None:
    end = time.monotonic() + 10
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_nothing_is_left_of_connections_that_are_reset(guarded):
    """After an answer a timer waits for the next request; it does not outlive its connection."""

    def held() -> int:
        gc.collect()
        return sum(isinstance(each, connections._Connection) for each in gc.get_objects())

    before, end = held(), time.monotonic() + 10
    for _ in range(5):
        line = _line(guarded)
        line.sendall(f"GET /v2/health/live HTTP/1.1\r\nHost: {guarded.place}\r\n\r\n".encode())
        assert _said(line)[0] == 200
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()
    while held() > before:
        assert time.monotonic() < end
        time.sleep(0.05)


def _line(found) -> socket.socket:
    host, _, port = found.place.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _said(line: socket.socket) -> tuple[int, str | None, bytes]:
    """Status, the header Connection, body."""
    answer = http.client.HTTPResponse(line)
    answer.begin()
    return answer.status, answer.getheader("connection"), answer.read()


def _head(found, length: int) -> bytes:
    head = (
        f"POST /v2/models/branin/infer HTTP/1.1\r\nHost: {found.place}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode()
