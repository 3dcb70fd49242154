"""A budget: what would exceed it is refused, what was acknowledged stays, and the bytes on the disk are never more."""

import hashlib
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlforhpc.core.errors import OverBudget, StoreFull, UsageError
from mlforhpc.store import FolderStore

WRITER = Path(__file__).with_name("writer_process.py")


def on_disk(folder):
    """Bytes of index, log and array files, by looking."""
    return sum(
        path.stat().st_size for path in [*folder.glob("index.sqlite*"), *folder.glob("arrays/*/*")] if not path.name.endswith("-shm")
    )


def fill(store, make_record, size, first=0):
    """Put until refused, small ones in groups: what was acknowledged, and the first error."""
    kept = []
    group = 50 if size < 100 else 1
    for start in range(first, first + 100_000, group):
        records = [make_record(i, size=size) for i in range(start, start + group)]
        errors = [future.exception() for future in [store.put(record) for record in records]]
        kept += [record for record, error in zip(records, errors, strict=True) if error is None]
        if any(errors):
            return kept, next(filter(None, errors))
    raise AssertionError("never full")


@pytest.mark.parametrize("size", [20, 500, 10_000], ids=["small", "several pages", "array files"])
@pytest.mark.parametrize("shared", [False, True], ids=["local", "shared"])
def test_at_the_budget_nothing_more_is_kept(tmp_path, make_record, same, size, shared):
    """One by one: refused with a sentence that says the way out; the disk holds no more than the budget, and most of it is used."""
    budget = 3_000_000
    with FolderStore.open(tmp_path / "s", shared=shared, budget_bytes=budget) as store:
        kept, error = fill(store, make_record, size)
        assert isinstance(error, OverBudget) and isinstance(error, StoreFull)
        assert "may take 3 MB" in str(error) and "mlforhpc store prune" in str(error) and "larger budget" in str(error)
        assert 0.8 * budget < on_disk(store.folder) <= budget
        assert store.usage().used_bytes == on_disk(store.folder) and store.usage().budget_bytes == budget
        store.put(kept[3]).result()  # it is there already: the first answer stands
        assert all(same(store.get(record.key), record) for record in kept)
        assert store.check() == []
        assert not any((store.folder / "parts").glob("*/*"))
    with FolderStore.open(tmp_path / "s", shared=shared, budget_bytes=2 * budget) as store:
        more, _ = fill(store, make_record, size, first=len(kept))
        assert len(kept) * 0.8 < len(more) < len(kept) * 1.2
        assert len(list(store.scan())) == len(kept) + len(more)
        assert on_disk(store.folder) <= 2 * budget


def test_it_is_reached_within_a_group(tmp_path, make_record):
    """2,000 records wait at once: those that fit are kept and acknowledged, the rest is refused, and none of both."""
    with FolderStore.open(tmp_path / "s", budget_bytes=1_000_000) as store:
        with store._writing.commits._lock:  # hold the first commit up, so that the rest waits together
            futures = [store.put(make_record(i)) for i in range(2_000)]
        kept = [i for i, future in enumerate(futures) if future.exception() is None]
        assert 400 < len(kept) < 1_000
        assert all(isinstance(futures[i].exception(), OverBudget) for i in set(range(2_000)) - set(kept))
        assert [record.seed for record in store.scan()] == kept
        assert on_disk(store.folder) <= 1_000_000


def test_a_budget_of_nothing_keeps_nothing(tmp_path, make_record):
    """Zero is a budget; below what the store takes already, what is there can be read."""
    with FolderStore.open(tmp_path / "s", budget_bytes=0) as store:
        assert isinstance(store.put(make_record(0)).exception(), OverBudget)
        assert isinstance(store.put(make_record(1, size=10_000)).exception(), OverBudget)
    with FolderStore.open(tmp_path / "s") as store:
        store.put(make_record(0)).result()
        assert store.usage().budget_bytes is None
    with FolderStore.open(tmp_path / "s", budget_bytes=0) as store:
        assert store.get(make_record(0).key) is not None
        assert isinstance(store.put(make_record(1)).exception(), OverBudget)
        store.put(make_record(0)).result()


@pytest.mark.parametrize("budget", [-1, 1.5, True, float("nan"), "1GB"])
def test_what_is_no_budget_is_refused(tmp_path, budget):
    """Before anything is made."""
    with pytest.raises(UsageError, match="whole number of bytes"):
        FolderStore.open(tmp_path / "s", budget_bytes=budget)
    assert not (tmp_path / "s").exists()


def test_an_array_that_two_records_share_counts_once(tmp_path, make_record):
    """The second record of the same numbers adds a row and no file."""
    with FolderStore.open(tmp_path / "s", budget_bytes=1_000_000) as store:
        for i in range(30):
            store.put(make_record(0, size=10_000, key=hashlib.sha256(f"x{i}".encode()).hexdigest())).result()
        usage = store.usage()
    assert usage.array_bytes == sum(f.stat().st_size for f in (tmp_path / "s" / "arrays").rglob("*.npy")) == 160_136


def test_two_processes_share_one_budget(tmp_path, make_record, writer):
    """Two writers, one without a budget of its own, fill the store: this one counts what the other kept, array files too."""
    budget = 4_000_000
    with FolderStore.open(tmp_path / "s", budget_bytes=budget) as store:
        process = writer(store.folder, 5_000, 60, 5)
        kept, error = fill(store, make_record, 10_000)
        assert isinstance(error, OverBudget)
        assert process.wait() == 0, process.stderr.read()
        assert store._writing.budget.array_bytes() == sum(f.stat().st_size for f in store.folder.glob("arrays/*/*"))
        assert len(list(store.scan())) == len(kept) + 60
        assert store.check() == []


def test_two_processes_with_the_same_budget_stay_within_it(tmp_path, make_record):
    """Both write until refused; the disk holds no more than the budget."""
    code = (
        "import runpy, sys; from mlforhpc.store import FolderStore\n"
        f"make = runpy.run_path({str(WRITER)!r})['make_record']; first = int(sys.argv[1])\n"
        f"store = FolderStore.open({str(tmp_path / 's')!r}, budget_bytes=4_000_000)\n"
        "futures = [store.put(make(first + i, size=10_000 if i % 3 == 0 else 20)) for i in range(300)]\n"
        "kept = [f.exception() is None for f in futures]; assert True in kept and False in kept; store.close(); print(sum(kept))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(1_000 * n)], stdout=subprocess.PIPE, text=True) for n in range(2)]
    kept = sum(int(process.communicate()[0]) for process in processes)
    assert on_disk(tmp_path / "s") <= 4_000_000
    with FolderStore.open(tmp_path / "s", read_only=True) as store:
        assert len(list(store.scan())) == kept and store.check() == []


def test_kill_9_keeps_the_count_right(tmp_path, writer):
    """A writer of array files is killed at any moment: the count that it leaves is never too low, and exact after the next opening."""
    folder = tmp_path / "s"
    FolderStore.open(folder, budget_bytes=10**9).close()
    for round_ in range(4):
        process = writer(folder, 100_000 * round_, 50_000, 20)
        for _ in range(30 + 17 * round_):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = sum(f.stat().st_size for f in folder.glob("arrays/*/*"))
        assert there <= int((folder / "commit.lock").read_text())
        with FolderStore.open(folder, budget_bytes=10**9) as store:
            assert store.usage().array_bytes == there
            assert store.check() == []


def test_a_reader_does_not_stop_the_log_from_being_cut(tmp_path, make_record):
    """A reader that holds an old state for a while: commits go on, and once it has gone the log is within the budget again."""
    with FolderStore.open(tmp_path / "s", budget_bytes=1_200_000) as store:
        store.put(make_record(0)).result()
        reader = sqlite3.connect(store.folder / "index.sqlite", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchone()
        for i in range(1, 400):
            store.put(make_record(i)).result()
        reader.close()
        store.put(make_record(400)).result()
        assert on_disk(store.folder) <= 1_200_000
        assert len(list(store.scan())) == 401


def test_threads_at_the_budget(tmp_path, make_record):
    """Eight threads put array files until each is refused: within the budget, nothing left in parts/."""
    with FolderStore.open(tmp_path / "s", budget_bytes=3_000_000) as store:

        def work(first):
            fill(store, make_record, 10_000, first=first)

        threads = [threading.Thread(target=work, args=(1_000 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 2_500_000 < on_disk(store.folder) <= 3_000_000
        assert not any((store.folder / "parts").glob("*/*"))
