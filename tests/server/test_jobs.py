"""Jobs over real sockets: from submission to result, followed, cancelled, refused, and through a kill -9 of the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mlforhpc.server.configuration import configuration
from mlforhpc.server.job import Job, JobFolder, is_id, new_id

WALKING = str(Path(__file__).parent / "walking.py")


@pytest.fixture(scope="module")
def walking(serve, tmp_path_factory):
    """A server for `walk` with two slots."""
    wanted = configuration(
        simulations=[f"{WALKING}:WALK"], said={"port": 0, "slots": 2, "folder": tmp_path_factory.mktemp("walking") / "kept"}, environment={}
    )
    with serve(wanted) as found:
        yield found


def submit(server, x, **more):
    """The id of an accepted job."""
    status, told = server.ask("POST", "/v1/jobs", {"model": "walk", "x": x, **more})
    assert status == 202, told
    assert is_id(told["id"])
    return told["id"]


def until(server, id, *states, seconds=20.0):
    """The job when it is in one of the states."""
    end = time.monotonic() + seconds
    while True:
        status, told = server.ask("GET", f"/v1/jobs/{id}")
        assert status == 200, told
        if told["state"] in states:
            return told
        assert time.monotonic() < end, told
        time.sleep(0.02)


def follow(server, id):
    """The (event, data) of a job's stream until it ends."""
    with urllib.request.urlopen(f"{server.address}/v1/jobs/{id}/events", timeout=20) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        return parsed(stream.read().decode())


def parsed(text):
    """Server-sent events as (event, data)."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_gives_an_answer_a_point_in_order(walking):
    """The result has the numbers, where they came from and their store keys; Location names the job."""
    body = json.dumps({"model": "walk", "x": [{"steps": 2, "pace": 3.0}, {"steps": 0, "pace": 1.5}]}).encode()
    status, headers, said = walking.call("POST", "/v1/jobs", body)
    id = json.loads(said)["id"]
    assert (status, headers["location"]) == (202, f"/v1/jobs/{id}")
    done = until(walking, id, "done")
    assert done["progress"] | {"marks": {}} == {"points": 2, "done": 2, "failed": 0, "marks": {}}
    assert done["submitted_unix_s"] <= done["started_unix_s"] <= done["ended_unix_s"]
    status, result = walking.ask("GET", f"/v1/jobs/{id}/result")
    assert status == 200 and [each["outputs"]["way"]["value"] for each in result["answers"]] == [7.0, 1.0]
    assert [each["x"] for each in result["answers"]] == [{"steps": 2, "pace": 3.0}, {"steps": 0, "pace": 1.5}]
    assert all(each["source"] in ("simulation", "store") and len(each["key"]) == 64 for each in result["answers"])


def test_a_stream_shows_states_and_marks_and_ends_with_the_job(walking):
    """The state first, then running with the numbers that the simulation marks, then done."""
    events = follow(walking, submit(walking, {"steps": 12, "pace": 2.5}))
    assert {name for name, _ in events} == {"state"}
    assert events[-1][1]["state"] == "done"
    marks = [told["progress"]["marks"].get("steps", 0) for _, told in events]
    assert max(marks) > 3 and marks == sorted(marks)


def test_the_stream_of_a_job_that_ended_tells_its_state_and_ends(walking):
    """Opening a stream again, or late, is enough to know."""
    id = submit(walking, {"steps": 0, "pace": 0.25})
    until(walking, id, "done")
    assert [(name, told["state"]) for name, told in follow(walking, id)] == [("state", "done")]


def test_points_that_fail_leave_the_others_their_answers(walking):
    """The job is `failed`, says how many, and its result has the reason."""
    id = submit(walking, [{"steps": 0, "pace": 9.5}, {"steps": 0, "pace": 4.0}])
    told = until(walking, id, "failed")
    assert told["sentence"].startswith("1 of 2 points")
    _, result = walking.ask("GET", f"/v1/jobs/{id}/result")
    assert "nobody walks that fast" in result["answers"][0]["error"] and result["answers"][0]["outcome"] == "failed"
    assert result["answers"][1]["outputs"]["way"]["value"] == 1.0


def test_a_running_job_is_cancelled_once_and_for_all(walking):
    """Its simulation ends, twice is fine, there is no result, and the stream ends."""
    id = submit(walking, {"steps": 1999, "pace": 1.0})
    until(walking, id, "running")
    status, early = walking.ask("GET", f"/v1/jobs/{id}/result")
    assert status == 409 and "running" in early["error"]
    for _ in range(2):
        status, told = walking.ask("DELETE", f"/v1/jobs/{id}")
        assert (status, told["state"]) == (200, "cancelled")
    assert walking.ask("GET", f"/v1/jobs/{id}/result")[0] == 409
    assert follow(walking, id)[-1][1]["state"] == "cancelled"
    online, end = walking.service.onlines["walk"], time.monotonic() + 5
    while online.status().waiting_answers:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_jobs_are_listed_newest_first_in_pages(walking):
    """`next` leads through all of them."""
    ids = [submit(walking, {"steps": 0, "pace": 0.5 + i / 8}) for i in range(3)]
    page = walking.ask("GET", "/v1/jobs?limit=2")[1]
    assert [job["id"] for job in page["jobs"]] == ids[:0:-1]
    assert walking.ask("GET", page["next"])[1]["jobs"][0]["id"] == ids[0]
    for id in ids:
        until(walking, id, "done")


@pytest.mark.parametrize(
    "body, status, sentence",
    [
        (b"{", 400, "A job is JSON"),
        (b'{"model": "walk", "x": []}', 400, "length >= 1"),
        (b'{"model": "walk", "x": {"steps": 1}}', 400, "'pace' is missing"),
        (b'{"model": "walk", "x": {"steps": 1, "pace": 11}}', 400, "must be a number in [0, 10]"),
        (b'{"model": "walk", "x": {"steps": 1, "pace": 1}, "seed": 3}', 400, "unknown field `seed`"),
        (b'{"model": "walk", "x": {"steps": 1, "pace": 1}, "tolerance": -1}', 400, "> 0"),
        (b'{"model": "wolk", "x": {"steps": 1, "pace": 1}}', 404, "Did you mean 'walk'?"),
    ],
)
def test_bad_jobs_are_refused_with_a_sentence(walking, body, status, sentence):
    """Nothing is begun for them."""
    before = walking.ask("GET", "/v1/jobs")[1]
    found, told = walking.ask("POST", "/v1/jobs", body)
    assert found == status and sentence in told["error"]
    assert walking.ask("GET", "/v1/jobs")[1] == before


@pytest.mark.parametrize("id", ["x", "0" * 32, "..%2F..%2Fevents.jsonl", "%00", "A" * 32, "1" * 5000])
def test_ids_that_are_none_are_unknown(walking, id):
    """Whatever an id holds, it is looked up only if it has the form of one."""
    for method, suffix in (("GET", ""), ("DELETE", ""), ("GET", "/result"), ("GET", "/events")):
        status, told = walking.ask(method, f"/v1/jobs/{id}{suffix}")
        assert status == 404 and told["error"]


def test_too_many_jobs_are_refused_with_a_time(walking, monkeypatch):
    """429 with Retry-After while so many wait; the first two are still done."""
    monkeypatch.setattr("mlforhpc.server.job_queue.JOBS_WAITING", 2)
    ids = [submit(walking, {"steps": 10, "pace": 6.0 + i}) for i in range(2)]
    status, headers, said = walking.call("POST", "/v1/jobs", b'{"model": "walk", "x": {"steps": 0, "pace": 1}}')
    assert status == 429 and int(headers["retry-after"]) >= 1 and "2 jobs" in json.loads(said)["error"]
    for id in ids:
        until(walking, id, "done")


def test_jobs_that_ended_long_ago_are_dropped_with_their_files(walking, monkeypatch):
    """The newest are kept."""
    monkeypatch.setattr("mlforhpc.server.job_queue.JOBS_KEPT", 2)
    ids = [submit(walking, {"steps": 0, "pace": 2.0 + i / 8}) for i in range(3)]
    until(walking, ids[2], "done")
    folder, end = walking.service.campaign.folder / "jobs", time.monotonic() + 30
    while walking.ask("GET", f"/v1/jobs/{ids[0]}")[0] != 404 or {path.name.partition(".")[0] for path in folder.iterdir()} != set(ids[1:]):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_damaged_job_file_is_put_aside(tmp_path):
    """The others are read, oldest first; a file under a wrong name is none."""
    folder = JobFolder(tmp_path)
    jobs = [Job(id=new_id(), number=number, model="walk", x=[{"steps": 1, "pace": 1.0}]) for number in (2, 1)]
    for job in jobs:
        folder.write(job)
    (tmp_path / f"{'0' * 32}.json").write_bytes((tmp_path / f"{jobs[0].id}.json").read_bytes())
    (tmp_path / f"{'1' * 32}.json").write_bytes(b'{"id": "')
    (tmp_path / "2.abc.part").write_bytes(b"")
    found, damaged = folder.read()
    assert [job.number for job in found] == [1, 2] and found == jobs[::-1]
    assert sorted(damaged) == [f"{'0' * 32}.json", f"{'1' * 32}.json"]
    assert folder.read()[1] == [] and not list(tmp_path.glob("*.part"))


def test_a_job_survives_kill_9_of_the_server(tmp_path):
    """What was answered 202 is done after the next start, without running again what had finished."""
    first, address = started(tmp_path)
    body = json.dumps({"model": "walk", "x": [{"steps": 1, "pace": 1.0}, {"steps": 60, "pace": 2.0}, {"steps": 61, "pace": 3.0}]}).encode()
    with urllib.request.urlopen(f"{address}/v1/jobs", body, timeout=10) as answer:
        id = json.load(answer)["id"]
    while get(address, f"/v1/jobs/{id}")["progress"]["done"] < 1:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second, address = started(tmp_path)
    try:
        end = time.monotonic() + 30
        while (told := get(address, f"/v1/jobs/{id}"))["state"] != "done":
            assert time.monotonic() < end, told
            time.sleep(0.1)
        answers = get(address, f"/v1/jobs/{id}/result")["answers"]
        assert [each["outputs"]["way"]["value"] for each in answers] == [2.0, 121.0, 184.0]
        assert answers[0]["source"] == "store"
    finally:
        second.terminate()
        assert second.wait(20) is not None


def started(folder):
    """A server process and its address."""
    command = [
        sys.executable,
        "-m",
        "mlforhpc",
        "serve",
        f"{WALKING}:WALK",
        "--port",
        "0",
        "--slots",
        "2",
        "--folder",
        folder / "kept",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
    with process.stdout as said:
        return process, json.loads(said.readline())["address"]


def get(address, path):
    """JSON of a path."""
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        return json.load(answer)
