"""Putting, getting and scanning: what went in comes out, bit for bit."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mlforhpc.core.errors import StoreError, UsageError
from mlforhpc.core.store import Store
from mlforhpc.store import FolderStore


def test_folder_store_keeps_the_contract(store):
    """FolderStore is a Store."""
    assert isinstance(store, Store)


@pytest.mark.parametrize("size", [0, 1, 20, 8192, 100_000], ids=lambda n: f"{n} numbers")
def test_record_comes_back_bit_for_bit(store, make_record, same, size):
    """Arrays below and above the limit of 64 kB, scalars, parameters of every type: nothing changes, also after reopening."""
    record = make_record(3, size=size)
    store.put(record).result()
    assert same(store.get(record.key), record)
    store.close()
    with FolderStore.open(store.folder) as again:
        assert same(again.get(record.key), record)
        assert [same(found, record) for found in again.scan()] == [True]


def test_odd_values_come_back(store, make_record, same):
    """Negative zero, denormals, fields of two axes in Fortran order, big seeds, NumPy scalars, text with lone surrogates."""
    field = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    outputs = {"field": field, "zero": np.asarray(-0.0), "tiny": np.asarray(5e-324), "strided": np.arange(10.0)[::3]}
    record = make_record(1, outputs=outputs, standard_errors={}, seed=2**70, reason="caf\xe9 \udcff", limit_s=2.5)
    store.put(record).result()
    found = store.get(record.key)
    assert same(found, record)
    assert found.outputs["field"].flags.writeable
    scalars = make_record(2, parameters={"h": np.float64(0.1), "z": np.int64(2)}, outputs={"f": np.float32([0.1])}, standard_errors={})
    store.put(scalars).result()
    assert store.get(scalars.key).parameters == {"h": 0.1, "z": 2}
    assert store.get(scalars.key).outputs["f"][0] == float(np.float32(0.1))


def test_large_arrays_are_files_that_numpy_reads(store, make_record):
    """A record above 64 kB leaves one .npy whose name is its sha256."""
    import hashlib

    record = make_record(5, size=10_000)
    store.put(record).result()
    [file] = (store.folder / "arrays").glob("*/*.npy")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem
    flat = np.load(file)
    assert flat.tolist() == [*record.outputs["density"], record.outputs["energy"], *record.standard_errors["density"]]
    assert not any((store.folder / "parts").glob("*/*"))


def test_unknown_key_is_none(store):
    """get of what is not there."""
    assert store.get("0" * 64) is None


@pytest.mark.parametrize("outcome", ["failed", "timed_out"])
def test_failures_are_answers(store, make_record, same, outcome):
    """`failed` and `timed_out` are kept with reason and limit."""
    record = make_record(1, outcome=outcome, outputs={}, standard_errors={}, reason="it diverged", limit_s=60.0)
    store.put(record).result()
    assert same(store.get(record.key), record)


@pytest.mark.parametrize("outcome", ["lost", "cancelled"])
def test_no_answer_is_refused(store, make_record, outcome):
    """`lost` and `cancelled` say nothing about the simulation."""
    with pytest.raises(UsageError, match=rf"keeps the outcomes ok, failed, timed_out, found '{outcome}'"):
        store.put(make_record(1, outcome=outcome))
    assert list(store.scan()) == []


@pytest.mark.parametrize(
    "changes",
    [{"cost_s": float("nan")}, {"parameters": {"h": object()}}, {"outputs": {"y": np.array(["a"])}, "standard_errors": {}}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_no_number_is_refused(store, make_record, changes):
    """A record that could not be read back is refused before anything is written."""
    with pytest.raises(UsageError, match="must"):
        store.put(make_record(1, **changes))


@pytest.mark.parametrize("size", [20, 10_000], ids=["small", "large"])
def test_first_answer_stands(store, make_record, same, size):
    """A second record of the same key is ignored, in the same group and later, and its future resolves."""
    first, second = make_record(1, size=size), make_record(2, size=size, key=make_record(1).key)
    futures = [store.put(first), store.put(second)]
    assert [future.result() for future in futures] == [None, None]
    assert store.put(second).result() is None
    assert [same(found, first) for found in store.scan()] == [True]
    assert not any((store.folder / "parts").glob("*/*"))
    assert len(list((store.folder / "arrays").glob("*/*.npy"))) == (size > 8192)


def test_scan_is_in_order_of_acknowledgement(store, make_record):
    """Over several pages, of all simulations and of one; a record put meanwhile comes at the end."""
    for i in range(450):
        last = store.put(make_record(i, simulation="ab"[i % 2]))
    last.result()
    assert [record.seed for record in store.scan()] == list(range(450))
    pages = store.scan("b")
    assert next(pages).seed == 1
    store.put(make_record(451, simulation="b")).result()
    assert [record.seed for record in pages] == [*range(3, 450, 2), 451]
    assert list(store.scan("c")) == []


def test_any_thread_may_call(store, make_record, same):
    """Puts, gets and scans from eight threads at once."""

    def work(i):
        record = make_record(i)
        store.put(record).result()
        return same(store.get(record.key), record) and any(found.key == record.key for found in store.scan())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(80)))


def test_closing_commits_what_waits(store, make_record):
    """close resolves every future; afterwards the store says that it is closed, and its thread is gone."""
    mine = store._writing.commits._thread
    futures = [store.put(make_record(i)) for i in range(50)]
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(StoreError, match="is closed; open it again"):
        store.put(make_record(51))
    with pytest.raises(StoreError, match=r"[Cc]losed"):
        store.get(make_record(1).key)
    assert not mine.is_alive()
    store.close()
