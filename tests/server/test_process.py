"""The server as a process: one line when it is ready, one sentence when it cannot be, and a clean end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlforhpc.core.trace import rotated
from mlforhpc.server import process
from mlforhpc.server.configuration import configuration

OWN = f"{Path(__file__).parent / 'own.py'}:PLATE"
TAR = {
    "inputs": [
        {"name": "width", "shape": [1], "datatype": "FP64", "data": [1.5]},
        {"name": "layers", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "metal", "shape": [1], "datatype": "BYTES", "data": ["tar"]},
    ]
}


@contextmanager
def connected(address, context=None):
    """A connection to a server."""
    secure, _, place = address.partition("://")
    kind = (
        http.client.HTTPConnection
        if secure == "http"
        else lambda place, timeout: http.client.HTTPSConnection(place, timeout=timeout, context=context)
    )
    connection = kind(place, timeout=20)
    try:
        yield connection
    finally:
        connection.close()


def ready(process) -> dict:
    """What it prints when it is ready."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def get(address, path, headers=None, context=None) -> int:
    """The status."""
    with connected(address, context) as connection:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_a_signal_ends_it_cleanly(command, tmp_path, number, code):
    """While a client waits for a long simulation: within five seconds, with the command line's exit code, and no process stays."""
    process = command(OWN, "--port", 0, "--slots", 1, "--json")
    told = ready(process)
    assert told["models"] == ["plate"]
    with connected(told["address"]) as waiting:
        waiting.request("POST", "/v2/models/plate/infer", json.dumps(TAR))
        time.sleep(0.3)
        children = _children(process.pid)
        assert children
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == code
        assert time.monotonic() - began < 5
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_it_says_where_it_is(command):
    """One line with the address; what was decided for the user beside it."""
    process = command("borehole", "--port", 0, "--slots", 1)
    line = process.stdout.readline()
    assert line.startswith("Serving borehole at http://127.0.0.1:") and "mlforhpc-service" in line
    assert get(line.split(" at ")[1].split()[0], "/v2/health/ready") == 200


def test_a_port_or_a_folder_in_use_is_one_sentence(command):
    """Exit code 2, no traceback."""
    first = ready(command("branin", "--port", 0, "--slots", 1, "--json"))
    port = first["address"].rpartition(":")[2]
    for words, sentence in (
        (["--port", port, "--folder", "other"], f"cannot listen on 127.0.0.1:{port} (Address already in use)"),
        (["--port", 0], "is using the folder 'mlforhpc-service'"),
        (["--port", 0, "--host", "192.0.2.1", "--folder", "other"], "cannot listen on 192.0.2.1"),
    ):
        second = command("branin", "--slots", 1, *words, environment={"MLFORHPC_TOKEN": "0123456789abcdef"})
        said = second.communicate(timeout=60)[1]
        assert second.returncode == 2 and sentence in said and len(said.splitlines()) == 1, said


def test_restarting_goes_on(command):
    """What was answered is in the store for the next server in the same folder."""
    steel = json.loads(json.dumps(TAR).replace("tar", "steel"))
    sources = []
    for _ in range(2):
        process = command(OWN, "--port", 0, "--slots", 1, "--json")
        with connected(ready(process)["address"]) as connection:
            connection.request("POST", "/v2/models/plate/infer", json.dumps(steel))
            answer = json.loads(connection.getresponse().read())
            sources += [each["data"][0] for each in answer["outputs"] if each["name"] == "source"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75
    assert sources == ["simulation", "store"]


def test_tls_and_a_token_off_loopback(command, tmp_path):
    """HTTPS with the files that were given; the token is asked for, from the environment."""
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    try:
        subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1"], cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    token = "0123456789abcdef"
    tls = ["--certificate", "cert.pem", "--key", "key.pem"]
    told = ready(command("branin", "--host", "0.0.0.0", "--port", 0, "--slots", 2, "--json", *tls, environment={"MLFORHPC_TOKEN": token}))
    address = told["address"].replace("0.0.0.0", "127.0.0.1")
    assert address.startswith("https://") and told["notes"] == []
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    assert get(address, "/v2", context=trusting) == 401
    assert get(address, "/v2", {"Authorization": f"Bearer {token}"}, trusting) == 200
    (tmp_path / "cert.pem").write_text("nothing")
    wrong = command("branin", "--port", 0, "--slots", 1, "--folder", "other", *tls)
    assert wrong.wait(60) == 2 and "cannot be used" in wrong.stderr.read()


def test_a_half_open_client_does_not_hold_it_up(command):
    """A connection that has sent half a request when the signal comes."""
    process = command("branin", "--port", 0, "--slots", 1, "--json")
    host, _, port = ready(process)["address"].partition("://")[2].partition(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(b"POST /v2/models/branin/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 75 and time.monotonic() - began < 5


def test_at_its_budget_of_disk_it_serves_and_keeps_nothing(command, tmp_path):
    """Simulated again when asked again; the answer says that it was not kept."""
    (tmp_path / "service.toml").write_text(f'disk_budget = "1 kB"\n[simulations.plate]\nfunction = "{OWN}"\n')
    steel = json.loads(json.dumps(TAR).replace("tar", "steel"))
    with connected(ready(command("--config", "service.toml", "--port", 0, "--slots", 1, "--json"))["address"]) as connection:
        for _ in range(2):
            connection.request("POST", "/v2/models/plate/infer", json.dumps({**steel, "outputs": [{"name": "kept"}, {"name": "source"}]}))
            answer = json.loads(connection.getresponse().read())
            assert [each["data"] for each in answer["outputs"]] == [[False], ["simulation"]]
            assert answer["parameters"] == {"not_kept": 1}


def test_the_traces_of_a_service_end_somewhere(serve, tmp_path, monkeypatch):
    """A service is up for months: after so many bytes its trace goes on in a new file, and answers go on."""
    monkeypatch.setattr(process, "TRACE_BYTES", 4096)
    wanted = configuration(simulations=["borehole"], said={"port": 0, "folder": str(tmp_path / "service"), "slots": 2})
    with serve(wanted) as server:
        for seed in range(30):
            named, _ = server.points("borehole", 1, seed)
            assert server.infer("borehole", named)[0] == 200
    assert rotated(tmp_path / "service" / "events.jsonl")
