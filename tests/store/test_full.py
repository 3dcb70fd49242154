"""A full disk: said clearly, nothing acknowledged lost, usable again."""

import contextlib
import shutil

import numpy as np
import pytest

from mlforhpc import Output, Real, Space, simulation
from mlforhpc.campaign import Campaign
from mlforhpc.core.errors import StoreFull, TaskError
from mlforhpc.store import FolderStore


def _fill(store, make_record, size):
    """Put until the disk is full; what was acknowledged, and the error."""
    kept = []
    for i in range(100_000):
        record = make_record(i, size=size)
        try:
            store.put(record).result()
        except StoreFull as error:
            return kept, error
        kept.append(record)
    raise AssertionError("never full")


@pytest.mark.parametrize("size", [500, 20_000], ids=["small records", "array files"])
def test_full_disk(small_disk, make_record, same, size):
    """On a disk of 4 MB: StoreFull through the future; all kept; with space again, the refused record is taken."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    with FolderStore.open(small_disk / "store") as store:
        kept, error = _fill(store, make_record, size)
        assert "no space is left" in str(error)
        assert "free some space" in str(error)
        assert len(kept) > 2
        assert all(same(store.get(record.key), record) for record in kept)
        ballast.unlink()
        again = make_record(len(kept), size=size)
        store.put(again).result()
        assert same(store.get(again.key), again)
        assert store.check() == []
        assert not any((store.folder / "parts").glob("*/*"))
    with FolderStore.open(small_disk / "store") as store:
        assert len(list(store.scan())) == len(kept) + 1


def test_full_index(store, make_record):
    """The same without a small disk, by SQLite's own limit; in a group, the records that fit are kept."""
    connection = store._writing.commits._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 10}")
    kept, _ = _fill(store, make_record, 500)
    futures = [store.put(make_record(10_000 + i, size=500)) for i in range(3)]
    assert all(isinstance(future.exception(), StoreFull) for future in futures)
    assert [record.key for record in store.scan()] == [record.key for record in kept]
    connection.execute("PRAGMA max_page_count=1000000")
    store.put(make_record(len(kept))).result()
    assert store.check() == []


@pytest.mark.parametrize("full", ["disk", "budget"])
def test_a_campaign_stops_and_a_service_goes_on(small_disk, full):
    """The disk under trace and store, or the budget, is full: "must" raises; "may" answers everything, keeps what fits, and says so."""
    space = Space(a=Real(0, 1))
    wide = simulation(lambda a: np.full(6_000, a), space=space, outputs=[Output(name="y", shape=(6_000,))], version="1", name="wide")
    budget = {"budget_bytes": 1_500_000} if full == "budget" else {}
    for keep in ("must", "may"):
        with contextlib.suppress(StoreFull), Campaign(small_disk / keep, engine="serial", keep=keep, **budget) as campaign:
            records, errors = [], []
            for i in range(100):
                try:
                    records.append(campaign.broker.simulate(wide, {"a": i / 100}, seed=0).result())
                except (StoreFull, TaskError) as error:
                    errors.append(error)
            if keep == "must":
                assert errors and all(record.kept for record in records)
            else:
                assert errors == [] and len(records) == 100
                assert [record.outputs["y"][0] for record in records] == [i / 100 for i in range(100)]
                assert {record.kept for record in records} == {True, False}
            store = campaign.broker.store
            assert {record.key for record in store.scan()} == {record.key for record in records if record.kept}
            assert store.check() == []
        shutil.rmtree(small_disk / keep)
