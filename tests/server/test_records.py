"""Records over HTTP: pages by ranges, one by its key, exports, usage; wrong questions get a sentence, and nothing leaves the store."""

import csv
import hashlib
import io
import json
import math
import sqlite3
import sys
import threading
from urllib.parse import quote

import numpy as np
import pytest

from mlforhpc.core.record import Record
from mlforhpc.server import records
from mlforhpc.server.configuration import configuration
from mlforhpc.store import FolderStore, export

BUDGET = 50_000_000


def made(i, **changes):
    """Number i of 'wire': two parameters and a text, a profile, a number that may be NaN."""
    fields = {
        "key": hashlib.sha256(f"wire {i}".encode()).hexdigest(),
        "simulation": "wire",
        "version": "1",
        "parameters": {"h": i / 10, "z": i % 3, "salt": "NaCl" if i % 2 else "KCl", "limit": i},
        "settings": {"dt": 0.5},
        "fidelity": 1.0 if i < 100 else 0.5,
        "seed": i,
        "outcome": "ok",
        "outputs": {"density": np.arange(3.0) + i, "energy": np.asarray(float(i))},
        "standard_errors": {"density": np.full(3, 0.5)},
        "checks": {"drift": math.nan},
        "cost_s": 2.0,
    }
    return Record(**{**fields, **changes})


@pytest.fixture(scope="module")
def kept(serve, tmp_path_factory):
    """A server with a budget; 120 records of 'wire' (every tenth failed) and one of 'field', whose arrays are long."""
    folder = tmp_path_factory.mktemp("records") / "kept"
    config = tmp_path_factory.mktemp("configuration") / "service.toml"
    config.write_text('disk_budget = "50 MB"\n[simulations.borehole]\n')
    wanted = configuration(config, said={"port": 0, "slots": 1, "folder": folder}, environment={})
    with serve(wanted) as running:
        store = running.service.campaign.broker.store
        bad = {"outcome": "failed", "outputs": {}, "standard_errors": {}, "reason": "it \udc80 broke"}
        futures = [store.put(made(i, **(bad if i % 10 == 9 else {}))) for i in range(120)]
        long = {"simulation": "field", "parameters": {"q": 1.0}, "outputs": {"u": np.arange(60_000.0).reshape(200, 300), "v": np.ones(2)}}
        futures.append(store.put(made(1_000, standard_errors={}, seed=2**70, **long)))
        for future in futures:
            future.result()
        yield running


def pages(running, question):
    """All records, following `next`."""
    address, found = f"/v1/records?simulation=wire&{question}", []
    while address is not None:
        status, answer = running.ask("GET", address)
        assert status == 200 and answer["damaged"] == [], answer
        found += answer["records"]
        address = answer["next"]
    return found


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("h.min=2&h.max=4", lambda i: 20 <= i <= 40),
        ("h=2", lambda i: i == 20),
        ("h.min=11", lambda i: i >= 110),
        ("z=2&limit=7", lambda i: i % 3 == 2),
        ("z=2.0&salt=KCl", lambda i: i % 6 == 2),
        ("outcome=failed", lambda i: i % 10 == 9),
        ("outcome=ok&h.max=1", lambda i: i <= 8 or i == 10),
        ("fidelity.max=0.6", lambda i: i >= 100),
        ("fidelity=1", lambda i: i < 100),
        ("settings.dt.min=0.5&settings.dt.max=0.5", lambda i: True),
        ("settings.dt=1", lambda i: False),
        ("parameters.limit.min=115&limit=2", lambda i: i >= 115),
        ("version=1&limit=1000", lambda i: True),
        ("version=2", lambda i: False),
    ],
)
def test_a_page_has_what_was_asked_for(kept, question, expected):
    """By ranges and values of parameters and settings, outcome, version and fidelity; `next` leads through all of it."""
    assert [record["seed"] for record in pages(kept, question)] == [i for i in range(120) if expected(i)]


def test_a_record_is_all_of_it(kept):
    """In a page and by its key: what was asked, how it ended, its numbers; null for what JSON has not."""
    (in_page,) = pages(kept, "h=0.5")
    status, record = kept.ask("GET", f"/v1/records/{made(5).key}")
    assert status == 200 and record == in_page
    assert record == {
        "key": made(5).key, "simulation": "wire", "version": "1", "fidelity": 1.0, "seed": 5, "outcome": "ok", "reason": "",
        "limit_s": None, "cost_s": 2.0, "system": "", "parameters": {"h": 0.5, "z": 2, "salt": "NaCl", "limit": 5},
        "settings": {"dt": 0.5}, "checks": {"drift": None}, "outputs": {"density": [5.0, 6.0, 7.0], "energy": 5.0},
        "standard_errors": {"density": [0.5, 0.5, 0.5]}, "left_out": {},
    }  # fmt: skip
    status, failed = kept.ask("GET", f"/v1/records/{made(9).key}")
    assert status == 200 and failed["reason"] == "it ? broke" and failed["outputs"] == {}


def test_long_arrays_are_left_out_of_pages(kept):
    """A page has their shapes; the record by its key has their numbers, and a seed that JSON has no number for as text."""
    status, answer = kept.ask("GET", "/v1/records?simulation=field")
    (in_page,) = answer["records"]
    assert status == 200 and in_page["left_out"] == {"u": [200, 300]} and in_page["outputs"] == {"v": [1.0, 1.0]}
    status, record = kept.ask("GET", f"/v1/records/{in_page['key']}")
    assert status == 200 and record["left_out"] == {} and record["seed"] == str(2**70)
    assert np.array_equal(record["outputs"]["u"], np.arange(60_000.0).reshape(200, 300))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_an_export_is_that_of_the_store(kept, tmp_path, format):
    """Byte for byte."""
    if format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    status, told, content = kept.call("GET", f"/v1/records/export?simulation=wire&format={format}")
    assert status == 200 and told["content-type"] == records.EXPORTS[format]
    assert told["content-disposition"] == f'attachment; filename="records.{format}"' and int(told["content-length"]) == len(content)
    with FolderStore.open(kept.service.campaign.folder / "store", read_only=True) as store:
        assert export(store, tmp_path / f"own.{format}", "wire") == 120
    assert content == (tmp_path / f"own.{format}").read_bytes()
    if format == "csv":
        assert len(list(csv.DictReader(io.StringIO(content.decode())))) == 120
    else:
        assert parquet.read_table(io.BytesIO(content)).column("h").to_pylist() == [i / 10 for i in range(120)]


def test_an_export_leaves_no_file(kept, tmp_path, monkeypatch):
    """Neither one that was sent nor one that could not be made."""
    monkeypatch.setattr(records.tempfile, "tempdir", str(tmp_path))
    assert kept.call("GET", "/v1/records/export?simulation=wire")[0] == 200
    status, answer = kept.ask("GET", "/v1/records/export?simulation=field")
    assert status == 400 and "60000 numbers" in answer["error"]
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_its_package_is_a_sentence(kept, monkeypatch):
    """501, with what to install; here the folder of the answer is asked with a module that cannot be imported."""
    from mlforhpc.server import record_answers

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "mlforhpc.store.parquet", raising=False)
    told = record_answers.export_to(str(kept.service.campaign.folder / "store"), "/nowhere/x.parquet", "wire", ())
    assert told.status == 501 and "pip install 'mlforhpc[parquet]'" in told.content.decode()


def test_usage(kept):
    """Bytes as on the disk, the budget, counts by simulation, version and outcome."""
    status, answer = kept.ask("GET", "/v1/records/usage")
    folder = kept.service.campaign.folder / "store"
    on_disk = sum(path.stat().st_size for path in [*folder.glob("index.sqlite*"), *folder.glob("arrays/*/*")] if "-shm" not in path.name)
    assert status == 200 and answer["used_bytes"] == on_disk and answer["budget_bytes"] == BUDGET
    assert answer["array_bytes"] == 480_144 and answer["records"] == 121
    lines = {line["simulation"]: line for line in answer["simulations"]}
    assert lines["wire"]["counts"] == {"ok": 108, "failed": 12} and lines["wire"]["cost_s"] == 240.0
    assert lines["field"]["counts"] == {"ok": 1} and lines["field"]["size_bytes"] > 480_000


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ("", 400, "Say of which simulation"),
        ("?simulation=", 400, "Say of which simulation"),
        ("?simulation=wirre", 404, "There is no simulation 'wirre'; there are borehole, field, wire. Did you mean 'wire'?"),
        ("?simulation=../../etc/passwd", 404, "no simulation"),
        ("?simulation=wire&hh=1", 400, "has a parameter 'hh'; they have h, z, salt, limit. Did you mean 'h'?"),
        ("?simulation=wire&settings.q=1", 400, "has a setting 'q'; they have dt"),
        ("?simulation=wire&h=abc", 400, "'h' is a number, found 'abc'"),
        ("?simulation=wire&h=nan", 400, "finite numbers"),
        ("?simulation=wire&h.max=inf", 400, "finite numbers"),
        ("?simulation=wire&h.min=-1e999", 400, "finite numbers"),
        ("?simulation=wire&fidelity=nan", 400, "finite numbers"),
        ("?simulation=wire&h.min=2&h.max=1", 400, "give the smaller number first"),
        ("?simulation=wire&h=1&h.min=0", 400, "not for both"),
        ("?simulation=wire&salt.min=1", 400, "is text, such as"),
        ("?simulation=wire&outcome=lost", 400, "ok, failed, timed_out, found 'lost'"),
        ("?simulation=wire&limit=0", 400, "from 1 to 1000, found '0'"),
        ("?simulation=wire&limit=1001", 400, "from 1 to 1000"),
        ("?simulation=wire&limit=-1", 400, "whole number"),
        ("?simulation=wire&limit=ten", 400, "found 'ten'"),
        ("?simulation=wire&after=99999999999999999999", 400, "whole number"),
        ("?simulation=wire&after=9999999999999999999", 400, "whole number"),
        ("?simulation=wire&h=1&h=2", 400, "'h' was said twice"),
        ("/export?format=xlsx", 400, "csv or parquet, found 'xlsx'"),
        ("/export?format=../../x", 400, "csv or parquet"),
        ("/export?path=/etc/passwd", 400, "takes simulation, format, found 'path'"),
        ("/export?simulation=unheard", 404, "no simulation 'unheard'"),
        ("/usage?x=1", 400, "takes no parameters, found 'x'"),
        (f"/{'0' * 64}", 404, "There is no record 000000000000... in the store"),
        (f"/{'A' * 64}", 404, "64 hex digits in lower case"),
        ("/short", 404, "64 hex digits"),
        (f"/{'0' * 63}%0A", 404, "64 hex digits"),
        ("/..%2f..%2fetc%2fpasswd", 404, ""),
        (f"/{'0' * 64}?x=1", 400, "takes no parameters"),
    ],
)
def test_what_is_no_question_gets_a_sentence(kept, question, status, said):
    """4xx and `{"error": ...}`."""
    found, answer = kept.ask("GET", f"/v1/records{question}")
    assert (found, list(answer)) == (status, ["error"]) and said in answer["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_records_are_only_read(kept, method):
    """405, with what it takes."""
    for path in ("", "/usage", "/export", f"/{made(1).key}"):
        assert kept.ask(method, f"/v1/records{path}", b"")[0] == 405


def test_a_served_simulation_without_records_has_an_empty_page(kept):
    """It is known, and has nothing yet."""
    assert kept.ask("GET", "/v1/records?simulation=borehole&rw.min=0") == (200, {"records": [], "damaged": [], "next": None})


def test_odd_names_come_back_in_next(kept):
    """The address of the next page is one that can be asked."""
    store = kept.service.campaign.broker.store
    for i in range(3):
        store.put(made(2_000 + i, simulation="ä & ö=?", parameters={"a b&c": 1.0})).result()
    address, found = f"/v1/records?simulation={quote('ä & ö=?')}&{quote('a b&c')}.min=0&limit=1", []
    while address is not None:
        status, answer = kept.ask("GET", address)
        assert status == 200, answer
        found += [record["seed"] for record in answer["records"]]
        address = answer["next"]
    assert found == [2_000, 2_001, 2_002]
    store.prune(simulation="ä & ö=?", dry_run=False)


def test_a_damaged_record_is_named_in_its_page(kept):
    """200 for the rest of the page; 500 for the record itself, by its key."""
    store = kept.service.campaign.broker.store
    for i in range(3):
        store.put(made(3_000 + i, simulation="rod")).result()
    connection = sqlite3.connect(store.folder / "index.sqlite")
    connection.execute("UPDATE record SET payload = zeroblob(length(payload)) WHERE key = ?", (made(3_001).key,))
    connection.commit()
    connection.close()
    status, answer = kept.ask("GET", "/v1/records?simulation=rod")
    assert status == 200 and [record["seed"] for record in answer["records"]] == [3_000, 3_002]
    (sentence,) = answer["damaged"]
    assert made(3_001).key in sentence and "is damaged" in sentence
    status, answer = kept.ask("GET", f"/v1/records/{made(3_001).key}")
    assert status == 500 and "is damaged" in answer["error"]
    store.discard_damaged()
    store.prune(simulation="rod", dry_run=False)


def test_more_questions_than_may_wait_are_told_to_come_again(kept, monkeypatch):
    """429 with a time; the others are answered."""
    monkeypatch.setattr(records, "WAITING", 2)
    answers = []

    def ask():
        status, told, content = kept.call("GET", "/v1/records/export?simulation=wire")
        answers.append(status)
        if status == 429:
            assert int(told["retry-after"]) >= 1 and "come" not in json.loads(content)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 429}
    assert kept.ask("GET", "/v1/records/usage")[0] == 200


def test_at_the_budget_a_service_answers_and_does_not_keep(serve, tmp_path):
    """A budget that holds nothing: an inference that simulates is answered, the store stays empty, and the trace says why."""
    config = tmp_path / "service.toml"
    config.write_text('disk_budget = "1 kB"\n[simulations.borehole]\n')
    wanted = configuration(config, said={"port": 0, "slots": 1, "folder": tmp_path / "kept"}, environment={})
    with serve(wanted) as running:
        named, _ = running.points("borehole", 1)
        status, answer = running.infer("borehole", named, parameters={"source": "simulation"})
        assert status == 200, answer
        status, usage = running.ask("GET", "/v1/records/usage")
        assert status == 200 and usage["records"] == 0 and usage["budget_bytes"] == 1_000
        said = [json.loads(line) for line in (tmp_path / "kept" / "events.jsonl").read_text().splitlines()]
        (not_kept,) = [event["data"] for event in said if event.get("decision") == "not_kept"]
        assert "may take 1 kB" in not_kept["reason"] and len(not_kept["key"]) == 64
