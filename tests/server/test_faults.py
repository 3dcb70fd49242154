"""Faults of a server that is a process: nothing acknowledged is lost, and how things stand afterwards is clear."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

FAULTY = f"{Path(__file__).parent / 'faulty.py'}:RUN"
INFER, LEARN = "/v2/models/run/infer", "/v1/models/run/learn"
SIMULATE = {"source": "simulation"}
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    FILE *file = id == CLOCK_REALTIME ? fopen(getenv("CLOCK_OFFSET_FILE"), "r") : NULL;
    long offset_s = 0;
    if (file) { if (fscanf(file, "%ld", &offset_s) != 1) offset_s = 0; fclose(file); }
    t->tv_sec += offset_s;
    return result;
}
"""
DAY_S = 86_400


def question(x: float, pace: str = "quick", **more) -> dict:
    """An inference of one point."""
    inputs = [
        {"name": "x", "shape": [1], "datatype": "FP64", "data": [x]},
        {"name": "pace", "shape": [1], "datatype": "BYTES", "data": [pace]},
    ]
    return {"inputs": inputs, "outputs": [{"name": name} for name in ("y", "source", "key", "kept")], **more}


def asked(server, x: float, pace: str = "quick", **more) -> tuple[int, dict]:
    """Status, and name -> value or the error."""
    status, told = server.ask("POST", INFER, question(x, pace, **more))
    return status, {each["name"]: each["data"][0] for each in told["outputs"]} if status == 200 else told


def learned(server) -> None:
    """Have it answer until its surrogate does."""
    rng = random.Random(1)
    for count in range(1_500):
        assert asked(server, rng.random())[0] == 200
        if count % 20 == 0 and server.status("run")["open_threshold"] > 0:
            return
    raise AssertionError(server.status("run"))


@contextlib.contextmanager
def loaded(server, clients: int = 4):
    """Clients that ask without end, some of the simulation; key -> (x, y) of what was said to be kept."""
    kept: dict[str, tuple[float, float]] = {}
    over = threading.Event()

    def client(seed: int) -> None:
        rng = random.Random(seed)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not over.is_set():
                x = rng.random()
                status, told = asked(server, x, parameters=SIMULATE if rng.random() < 0.5 else {})
                assert status == 200, told
                if told["key"] and told["kept"]:
                    kept[told["key"]] = x, told["y"]

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(100, 100 + clients)]
    for thread in threads:
        thread.start()
    try:
        yield kept
    finally:
        over.set()
        for thread in threads:
            thread.join()


def all_kept(server, kept: dict[str, tuple[float, float]]) -> None:
    """What was said to be kept until now is there, with its numbers."""
    said = dict(kept)  # clients may still be asking
    records = server.records("run")
    assert {key: (records[key]["parameters"]["x"], records[key]["outputs"]["y"]) for key in said if key in records} == said


def asleep(server) -> list[int]:
    """Children in a simulation that sleeps."""
    found = []
    for child in server.children():
        with contextlib.suppress(OSError):
            if "nanosleep" in Path(f"/proc/{child}/wchan").read_text():
                found.append(child)
    return found


def test_a_server_that_is_killed_under_load_loses_no_answer(live, tmp_path):
    """Each answer that a client got with a key is in the store of the next server; surrogate, gate and counts go on; a job goes on."""
    with live(tmp_path, FAULTY, "--slots", 2, "--tolerance", 0.2) as server:
        learned(server)
        points = [{"x": i / 100, "pace": "slow"} for i in range(4)]
        status, job = server.ask("POST", "/v1/jobs", {"model": "run", "x": points})
        assert status == 202
        with loaded(server) as kept:
            server.until(lambda: server.status("run")["answers"]["surrogate"] > 100 and len(kept) > 100)
            time.sleep(1.2)  # the state is saved each second
            before, children = server.status("run"), server.children()
            time.sleep(1.2)
            server.kill()
        server.until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    with live(tmp_path, FAULTY, "--slots", 2, "--tolerance", 0.2) as server:
        after = server.status("run")
        assert after["surrogate_version"] and after["open_threshold"] == before["open_threshold"]
        assert all(after["answers"][source] >= before["answers"][source] > 0 for source in ("surrogate", "simulation"))
        assert after["audits"] >= before["audits"]
        assert after["fits"] >= before["fits"] and after["broken_limit"] is not None
        all_kept(server, kept)
        server.until(lambda: server.ask("GET", f"/v1/jobs/{job['id']}")[1]["state"] == "done")
        assert [a["outputs"]["y"]["value"] for a in server.ask("GET", f"/v1/jobs/{job['id']}/result")[1]["answers"]] == [
            1 + p["x"] ** 2 for p in points
        ]


def test_a_worker_that_is_killed_once_costs_time_only(live, tmp_path):
    """Its simulation is run again, and the client that waits gets its answer."""
    with live(tmp_path, FAULTY, "--slots", 2) as server, loaded(server, 1) as kept:
        told: list = []
        client = threading.Thread(target=lambda: told.append(asked(server, 0.25, "slow")))
        client.start()
        server.until(lambda: asleep(server))
        time.sleep(0.1)
        os.kill(asleep(server)[0], signal.SIGKILL)
        client.join()
        assert told[0][0] == 200 and told[0][1]["y"] == 1.0625
        all_kept(server, kept)


def test_a_worker_that_is_killed_each_time_is_a_503(live, tmp_path):
    """With a sentence and a time; its place in the queue is free, and asked again it may be answered."""
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        told: list = []
        client = threading.Thread(target=lambda: told.append(server.call("POST", INFER, json.dumps(question(0.5, "slow")).encode())))
        client.start()
        while client.is_alive():
            for child in asleep(server):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        status, headers, said = told[0]
        assert (status, headers["retry-after"]) == (503, "1") and b"SIGKILL" in said
        assert server.status("run")["waiting_answers"] == 0
        assert asked(server, 0.5, "slow")[0] == 200
        assert [record["outcome"] for record in server.records("run").values()] == ["ok"]  # being lost is no result of a simulation


@pytest.mark.system
def test_a_fit_that_is_killed_leaves_the_old_surrogate(live, tmp_path):
    """It answers while the fit runs, and after each try of the fit was killed; that is told, and the next fit succeeds."""
    with live(tmp_path, FAULTY, "--slots", 1, "--tolerance", 0.2) as server:
        learned(server)
        server.until(lambda: server.status("run")["learning"] == "idle")
        assert server.end() == 75
    table = f'[terms]\ntolerance = 0.2\nlearner = "%s"\n[simulations.run]\nfunction = "{FAULTY}"\n'
    (tmp_path / "service.toml").write_text(table % "network")  # takes seconds
    with live(tmp_path, "--config", "service.toml", "--slots", 1) as server:
        before = server.status("run")
        assert server.ask("POST", LEARN)[0] == 202
        while server.status("run")["learning"] == "fitting":
            assert asked(server, 0.5, parameters={"source": "surrogate"})[0] == 200
            time.sleep(1.0)
            for child, state in server.children().items():
                if state == "R":
                    os.kill(child, signal.SIGKILL)
        after = server.status("run")
        assert "failed, the surrogate stays as it is" in after["events"][-1][1] and "SIGKILL" in after["events"][-1][1]
        assert after["surrogate_version"] == before["surrogate_version"] and after["accepted"] == before["accepted"]
        assert server.end() == 75
    (tmp_path / "service.toml").write_text(table % "gaussian_process")
    with live(tmp_path, "--config", "service.toml", "--slots", 1) as server:
        assert server.ask("POST", LEARN)[0] == 202
        server.until(lambda: server.status("run")["learning"] == "idle")
        now = server.status("run")
        assert now["accepted"] + now["refused"] > after["accepted"] + after["refused"]


@pytest.fixture
def disk(tmp_path):
    """A disk of 16 MB of its own; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def filled(disk: Path) -> Path:
    """The file that takes all room that is left."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4_096))
    return ballast


def test_a_full_disk_holds_up_no_answer(live, disk):
    """Answers say that they were not kept, jobs are refused with 507, reading works; with room again everything does."""
    with live(disk, FAULTY, "--slots", 2, "--tolerance", 0.2) as server:
        learned(server)
        with loaded(server) as kept:
            server.until(lambda: len(kept) > 50)
            ballast = filled(disk)
            server.until(lambda: server.status("run")["unkept"] > 50)
        job = {"model": "run", "x": {"x": 0.5, "pace": "quick"}}
        status, told = server.ask("POST", "/v1/jobs", job)
        assert status == 507 and "No space left" in told["error"]
        status, told = asked(server, 0.123, parameters=SIMULATE)
        assert status == 200 and told["source"] == "simulation" and told["kept"] is False
        server.until(lambda: any("cannot be saved" in sentence for _, sentence in server.status("run")["events"]))
        assert [server.call("GET", path)[0] for path in ("/", "/metrics", "/v1/records/usage", "/v1/jobs")] == [200] * 4
        all_kept(server, kept)
        ballast.unlink()
        server.until(lambda: asked(server, random.random(), parameters=SIMULATE)[1]["kept"])
        assert server.ask("POST", "/v1/jobs", job)[0] == 202
        all_kept(server, kept)
        assert server.end() == 75
    with live(disk, FAULTY, "--slots", 2, "--tolerance", 0.2) as server:
        all_kept(server, kept)


@pytest.mark.system
def test_it_ends_on_a_full_disk_and_goes_on_with_room_again(live, disk):
    """As quick as ever, with a sentence about the trace; what was kept before is there."""
    with live(disk, FAULTY, "--slots", 1) as server:
        assert asked(server, 0.5)[0] == 200
        ballast = filled(disk)
        assert [asked(server, 0.9 + i / 1_000, parameters=SIMULATE)[0] for i in range(60)] == [200] * 60
        children, began = server.children(), time.monotonic()
        assert server.end() == 3 and time.monotonic() - began < 5
        assert "could not be finished (No space left on device)" in server.process.stderr.read()
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
    ballast.unlink()
    with live(disk, FAULTY, "--slots", 1) as server:
        assert [asked(server, x)[1]["source"] for x in (0.5, 0.75)] == ["store", "simulation"]


def test_a_simulation_that_hangs_is_ended_and_not_run_again(live, tmp_path):
    """At its limit: 422 with a sentence, kept as timed_out; the second time the store says so at once."""
    (tmp_path / "service.toml").write_text(f'[terms]\nlimit_s = 0.5\n[simulations.run]\nfunction = "{FAULTY}"\n')
    with live(tmp_path, "--config", "service.toml", "--slots", 1) as server:
        for most_s in (5.0, 0.4):
            began = time.monotonic()
            status, told = asked(server, 0.5, "never")
            assert status == 422 and "timed_out" in told["error"] and "limit of 0.5 s" in told["error"]
            assert time.monotonic() - began < most_s
        assert [record["outcome"] for record in server.records("run").values()] == ["timed_out"]
        assert asked(server, 0.5)[0] == 200


def test_a_client_that_leaves_frees_its_slot(live, tmp_path):
    """The only slot, in a simulation that never ends; the next client is served, and nothing was kept of the first."""
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        body = json.dumps(question(0.5, "never")).encode()
        line = server.line()
        line.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (INFER.encode(), len(body), body))
        server.until(lambda: asleep(server))
        line.close()
        assert asked(server, 0.5)[0] == 200
        server.until(lambda: server.status("run")["waiting_answers"] == 0)
        assert len(server.records("run")) == 1


@pytest.mark.system
def test_a_damaged_surrogate_is_told_and_fitted_again(live, tmp_path):
    """A bit that flipped, or a file that is not there: the simulation answers until there is another."""
    with live(tmp_path, FAULTY, "--slots", 1, "--tolerance", 0.2) as server:
        learned(server)
        server.until(lambda: server.status("run")["learning"] == "idle")
        version, folder = server.status("run")["surrogate_version"], server.folder / "online" / "run"
        assert server.end() == 75
    file = folder / "surrogates" / f"{version}.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    for there in (True, False):
        if there:
            file.write_bytes(content)
        else:
            file.unlink()
        with live(tmp_path, FAULTY, "--slots", 1, "--tolerance", 0.2) as server:
            assert any(f"{version} cannot be used and is fitted again" in told for _, told in server.status("run")["events"])
            assert asked(server, 0.123)[0] == 200
            server.until(lambda: server.status("run")["surrogate_version"] != "")
            server.until(lambda: server.status("run")["learning"] == "idle")
            version = server.status("run")["surrogate_version"]
            assert server.end() == 75
        file = folder / "surrogates" / f"{version}.safetensors"


@pytest.mark.system
@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 512, b"[]", b'{"simulation_version": 1}'], ids=range(5))
def test_a_damaged_state_stops_the_start_with_the_way_out(live, tmp_path, command, content):
    """Evidence cannot be made up; without the file it begins anew, with all its runs."""
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        assert asked(server, 0.5)[0] == 200
        state = server.folder / "online" / "run" / "state.json"
        assert server.end() == 75
    state.write_bytes(content)
    second = command(FAULTY, "--port", 0, "--slots", 1)
    said = second.communicate(timeout=60)[1]
    assert second.returncode == 3 and "state.json" in said and "Remove it" in said and "Traceback" not in said
    state.unlink()
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        assert asked(server, 0.5)[1]["source"] == "store"


@pytest.mark.system
@pytest.mark.parametrize("days", [-400, 400])
def test_a_jump_of_the_clock_moves_nothing_but_the_dates(live, tmp_path, days):
    """Of the wall clock of all its processes, under load: no answer fails or hangs, limits hold, saving goes on, costs stay right."""
    offset, library = tmp_path / "offset", tmp_path / "clock.so"
    offset.write_text("0")
    (tmp_path / "clock.c").write_text(CLOCK)
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    except FileNotFoundError:
        pytest.skip("needs a C compiler")
    environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
    (tmp_path / "service.toml").write_text(
        f'[terms]\nlimit_s = 1.0\ntolerance = 0.2\n[limits]\nclient_rate_per_s = 1e5\n[simulations.run]\nfunction = "{FAULTY}"\n'
    )
    with live(tmp_path, "--config", "service.toml", "--slots", 2, environment=environment) as server:
        learned(server)
        with loaded(server) as kept:
            server.until(lambda: len(kept) > 50)
            before = len(kept)
            offset.write_text(str(days * DAY_S))
            server.until(lambda: len(kept) > before + 100)
        began = time.monotonic()
        assert asked(server, 0.5, "slow")[0] == 200 and asked(server, 0.5, "never")[0] == 422
        assert time.monotonic() - began < 5
        last = json.loads((server.folder / "log.jsonl").read_text().splitlines()[-1])["t"]
        assert abs(last - time.time() - days * DAY_S) < 60, "the clock did not jump"
        records = server.records("run").values()
        assert all(0 < record["cost_s"] < 5 for record in records)
        assert 0 < server.status("run")["simulation_cost_s"] < 5
        state, told = server.folder / "online" / "run" / "state.json", server.status("run")["answers"]
        server.until(lambda: json.loads(state.read_text())["answers"] == told)
        all_kept(server, kept)
        assert server.end() == 75


def test_open_event_streams_do_not_hold_up_the_end(live, tmp_path):
    """Of the service and of a job, read and not read: SIGTERM ends all within five seconds."""
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        job = server.ask("POST", "/v1/jobs", {"model": "run", "x": {"x": 0.5, "pace": "never"}})[1]
        lines = [server.line() for _ in range(6)]
        for number, line in enumerate(lines):
            path = ("/v1/events", f"/v1/jobs/{job['id']}/events", "/v1/events")[number % 3]
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            if number < 4:
                assert line.recv(100).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert server.end() == 75
        assert time.monotonic() - began < 5
        for line in lines:
            line.close()
    with live(tmp_path, FAULTY, "--slots", 1) as server:
        assert server.ask("GET", f"/v1/jobs/{job['id']}")[1]["state"] in ("queued", "running")
