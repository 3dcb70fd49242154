"""Questions: ranges and values over parameters, page by page; what is damaged is named, what is no question is refused."""

import itertools
import math
import sqlite3

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.store import FolderStore, selecting


@pytest.fixture(scope="module")
def filled(tmp_path_factory, make_record):
    """300 records of 'electrolyte', every tenth failed, every 50th of version 2 and with an array file; and one other."""
    with FolderStore.open(tmp_path_factory.mktemp("select") / "s") as store:
        futures = []
        for i in range(300):
            bad = {"outcome": "failed", "outputs": {}, "standard_errors": {}, "reason": "no"} if i % 10 == 9 else {}
            more = {"version": "2", "size": 9_000} if i % 50 == 0 else {}
            more |= {"checks": {"drift": math.nan}} if i % 7 == 0 else {}
            futures.append(store.put(make_record(i, fidelity=0.5 if i % 2 else 1.0, **more, **bad)))
        futures.append(store.put(make_record(1_000, simulation="other", parameters={"q": 1})))
        for future in futures:
            future.result()
        yield store


def seeds(store, *, limit=200, **conditions):
    """All matches, page by page."""
    found, after = [], 0
    while after is not None:
        page = store.select("electrolyte", after=after, limit=limit, **conditions)
        assert page.damaged == () and len(page.records) <= limit
        found += [record.seed for record in page.records]
        after = page.after
    return found


QUESTIONS = {
    "range": ({"where": {"h": (10.0, 20.0)}}, lambda i: 10 <= 3 + i / 7 <= 20),
    "ends belong to it": ({"where": {"h": (3.0, 4.0)}}, lambda i: i <= 7),
    "open above": ({"where": {"h": (40.0, None)}}, lambda i: 3 + i / 7 >= 40),
    "open below": ({"where": {"h": (None, 4.0)}}, lambda i: 3 + i / 7 <= 4),
    "value": ({"where": {"z": 2}}, lambda i: 1 + i % 3 == 2),
    "a float asks for an integer too": ({"where": {"z": 2.0}}, lambda i: 1 + i % 3 == 2),
    "text": ({"where": {"salt": "NaCl"}}, lambda i: True),
    "other text": ({"where": {"salt": "KCl"}}, lambda i: False),
    "text is in no range": ({"where": {"salt": (0.0, None)}}, lambda i: False),
    "both": ({"where": {"z": 2, "h": (10.0, 20.0)}}, lambda i: 1 + i % 3 == 2 and 10 <= 3 + i / 7 <= 20),
    "outcome": ({"outcome": "failed"}, lambda i: i % 10 == 9),
    "version": ({"version": "2"}, lambda i: i % 50 == 0),
    "fidelity": ({"fidelity": 1.0}, lambda i: i % 2 == 0),
    "fidelities": ({"fidelity": (0.6, None)}, lambda i: i % 2 == 0),
    "settings": ({"settings": {"dt": 0.01}}, lambda i: True),
    "other settings": ({"settings": {"dt": (0.02, None)}}, lambda i: False),
    "all": ({}, lambda i: True),
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("limit", [7, 1_000])
def test_the_matches_are_those_of_a_scan(filled, name, limit):
    """In the order of their acknowledgement, none twice, in pages of any size; and `count` agrees."""
    conditions, expected = QUESTIONS[name]
    found = seeds(filled, limit=limit, **conditions)
    assert found == [i for i in range(300) if expected(i)]
    assert filled.count("electrolyte", **conditions) == len(found)


def test_a_match_is_the_whole_record(filled, make_record, same):
    """With its arrays, from a file too."""
    (record,) = filled.select("electrolyte", where={"h": (3.0 + 50 / 7, 3.0 + 50 / 7)}).records
    assert same(record, make_record(50, size=9_000, version="2", fidelity=1.0))


def test_a_page_is_bounded(filled, monkeypatch):
    """In rows that it looks at, and in bytes: it may be empty and not the last."""
    monkeypatch.setattr(selecting, "LOOKED_AT_ROWS", 100)
    page = filled.select("electrolyte", where={"h": (44.0, None)})
    assert page.records == () and page.after == 100
    assert seeds(filled, where={"h": (44.0, None)}) == list(range(287, 300))
    assert len(filled.select("electrolyte", where={"h": (None, 99.0)}, version="2", limit_bytes=70_000).records) == 1


def test_nothing_to_ask(filled):
    """A simulation without records has an empty page."""
    page = filled.select("nothing", where={"x": 1.0})
    assert page.records == () and page.after is None
    assert filled.count("nothing") == 0


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"where": {"hh": 1.0}}, r"No record of simulation 'electrolyte' has a parameter 'hh'; they have h, z, salt. Did you mean 'h'"),
        ({"settings": {"q": 1.0}}, "has a setting 'q'; they have dt"),
        ({"where": {"h": math.nan}}, "finite"),
        ({"where": {"h": (0.0, math.inf)}}, "Parameter 'h' is compared with finite numbers or text, found inf"),
        ({"where": {"h": True}}, "finite numbers or text, found True"),
        ({"where": {"h": (2.0, 1.0)}}, "at least 2.0 and at most 1.0"),
        ({"where": {"salt": ("a", "b")}}, r"range \(low, high\) of numbers"),
        ({"where": {"h": (1.0, 2.0, 3.0)}}, "range"),
        ({"fidelity": math.nan}, "The fidelity"),
        ({"outcome": "lost"}, "ok, failed, timed_out, found 'lost'"),
        ({"limit": 0}, "1 to 1000 records, found limit=0"),
        ({"limit": 1_001}, "limit=1001"),
    ],
)
def test_what_is_no_question_is_refused(filled, conditions, said):
    """With what was found."""
    with pytest.raises(UsageError, match=said):
        filled.select("electrolyte", **conditions)


def test_a_name_that_only_a_middle_version_had_is_known(store, make_record):
    """The first and the last record lack it."""
    for i, name in enumerate(("a", "b", "a")):
        store.put(make_record(i, parameters={name: 1.0})).result()
    assert [record.seed for record in store.select("electrolyte", where={"b": 1.0}).records] == [1]


@pytest.mark.parametrize("what", ["head", "payload", "file"])
def test_a_damaged_record_is_named_and_not_returned(store, make_record, what):
    """Its neighbours are; the page goes on behind it."""
    for i in range(3):
        store.put(make_record(i, size=9_000 if what == "file" else 20)).result()
    if what == "file":
        (file,) = (f for f in store._arrays.files() if f.stem in store.index.row_at(2).head.decode())
        file.write_bytes(bytes(file.stat().st_size))
    else:
        connection = sqlite3.connect(store.folder / "index.sqlite")
        connection.execute(f"UPDATE record SET {what} = zeroblob(length({what})) WHERE id = 2")
        connection.commit()
        connection.close()
    page = store.select("electrolyte")
    assert [record.seed for record in page.records] == [0, 2] and page.after is None
    (sentence,) = page.damaged
    assert make_record(1).key in sentence and "is damaged" in sentence


def test_pages_beside_a_writer_keep_the_log_short(store, make_record):
    """A reader that thinks between its pages holds no transaction: the log is emptied meanwhile."""
    for i in range(400):
        store.put(make_record(i))
    after = 0
    for start in itertools.count(1_000, 500):
        futures = [store.put(make_record(i)) for i in range(start, start + 500)]
        for future in futures:
            future.result()
        page = store.select("electrolyte", where={"h": (None, 60.0)}, after=after, limit=100)
        if page.after is None:
            break
        after = page.after
    assert (store.folder / "index.sqlite-wal").stat().st_size < 12 << 20
