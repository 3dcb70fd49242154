"""Prune: only what was asked for goes, the space comes back, and a kill at any moment leaves a sound store."""

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlforhpc.core.errors import StoreDamaged, StoreError, StoreFull, UsageError
from mlforhpc.store import FolderStore, pruning
from mlforhpc.store.verification import whole

WRITER = Path(__file__).with_name("writer_process.py")


def record_of(make_record, i, **more):
    """Three kinds: every fifth failed, version 1 for the first hundred of each 200, every eighth with an array file."""
    bad = {"outcome": "failed", "outputs": {}, "standard_errors": {}, "reason": "no"} if i % 5 == 4 else {}
    return make_record(i, size=9_000 if i % 8 == 0 else 20, version=str(1 + i // 100), **bad, **more)


@pytest.fixture
def filled(store, make_record):
    """200 records of 'electrolyte' in two versions, and 20 of 'other'."""
    futures = [store.put(record_of(make_record, i)) for i in range(200)]
    futures += [store.put(make_record(1_000 + i, simulation="other", version="a")) for i in range(20)]
    for future in futures:
        future.result()
    return store


def there(store):
    """Numbers of the records, all whole."""
    assert store.check() == []
    return [record.seed for record in store.scan()]


def on_disk(folder):
    """Bytes of index, log and array files."""
    return sum(
        path.stat().st_size for path in [*folder.glob("index.sqlite*"), *folder.glob("arrays/*/*")] if not path.name.endswith("-shm")
    )


@pytest.fixture(params=["room for a copy", "no room"])
def room(request, monkeypatch):
    """The disk has room for a second index, or says that it has not."""
    if request.param == "no room":
        monkeypatch.setattr(pruning.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))


ALL = [*range(200), *range(1_000, 1_020)]
ASKED = {
    "simulation": ({"simulation": "other"}, lambda i: i >= 1_000),
    "outcome": ({"outcome": "failed"}, lambda i: i < 200 and i % 5 == 4),
    "version": ({"version": "1"}, lambda i: i < 100),
    "old versions": ({"old_versions": True}, lambda i: i < 100),
    "two of them": ({"simulation": "electrolyte", "outcome": "ok", "version": "2"}, lambda i: 100 <= i < 200 and i % 5 != 4),
    "none": ({"simulation": "unheard"}, lambda i: False),
    "all": ({"down_to_bytes": 0}, lambda i: True),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_was_asked_for_goes(filled, name, room):
    """A dry run says it and changes nothing; then those go, and the array files that nobody uses any more."""
    asked, goes = ASKED[name]
    before = on_disk(filled.folder)
    said = filled.prune(**asked)
    assert said.dry_run and there(filled) == ALL and on_disk(filled.folder) == before
    done = filled.prune(**asked, dry_run=False)
    assert not done.dry_run and (done.lines, done.array_files, done.before_bytes) == (said.lines, said.array_files, said.before_bytes)
    assert there(filled) == [i for i in ALL if not goes(i)]
    assert done.records == sum(map(goes, ALL))
    assert done.array_files == sum(i % 8 == 0 and i % 5 != 4 for i in range(200) if goes(i))
    assert done.after_bytes == on_disk(filled.folder)
    assert {path.stem for path in filled._arrays.files()} == _used(filled)


def _used(store):
    return {str(sha) for (sha,) in store.index.ask("SELECT json_extract(CAST(head AS TEXT), '$.sha256') FROM record WHERE payload IS NULL")}


def test_the_lines_say_what_went(filled):
    """By simulation, version and outcome, with counts and bytes."""
    lines = filled.prune(outcome="failed").lines
    assert [(line.simulation, line.version, line.outcome, line.records) for line in lines] == [
        ("electrolyte", "1", "failed", 20),
        ("electrolyte", "2", "failed", 20),
    ]
    assert all(5_000 < line.size_bytes < 20_000 for line in lines)


@pytest.mark.parametrize("size", [20, 900, 10_000], ids=["small", "several pages", "array files"])
def test_down_to_a_size_takes_the_oldest(store, make_record, size, room):
    """What stays is the newest, fits the size, and fills most of it; the dry run said about as many."""
    for future in [store.put(make_record(i, size=size)) for i in range(600 if size < 10_000 else 60)]:
        future.result()
    count = len(there(store))
    target = store.prune(outcome="failed").before_bytes // 2
    said = store.prune(down_to_bytes=target)
    done = store.prune(down_to_bytes=target, dry_run=False)
    assert 0.93 * target < on_disk(store.folder) == done.after_bytes <= target
    assert there(store) == list(range(done.records, count))
    assert abs(said.records - done.records) <= 0.1 * count
    assert abs(said.after_bytes - target) < 0.1 * target
    assert store.prune(down_to_bytes=target, dry_run=False).records == 0


def test_what_goes_from_between_gives_space_back(filled, make_record):
    """Every fifth of small rows: their pages stay partly filled, so the index is rewritten; the dry run had reckoned so."""
    for future in [filled.put(record_of(make_record, i)) for i in range(200, 3_000) if i % 8]:
        future.result()
    said, done = filled.prune(outcome="failed"), filled.prune(outcome="failed", dry_run=False)
    assert done.after_bytes == on_disk(filled.folder) <= said.after_bytes < said.before_bytes - sum(line.size_bytes for line in said.lines)


def test_down_to_a_size_within_a_choice(filled):
    """Only failed ones may go, and they are not enough: all of them go, and nothing else."""
    done = filled.prune(outcome="failed", down_to_bytes=0, dry_run=False)
    assert done.records == 40 and done.after_bytes > 0
    assert there(filled) == [i for i in ALL if i >= 1_000 or i % 5 != 4]


def test_a_pruned_store_takes_records_again(tmp_path, make_record):
    """At the budget, prune makes room; the budget holds after it."""
    with FolderStore.open(tmp_path / "s", budget_bytes=2_000_000) as store:
        errors = [future.exception() for future in [store.put(make_record(i, size=500)) for i in range(400)]]
        assert any(errors)
        store.prune(down_to_bytes=1_000_000, dry_run=False)
        errors = [future.exception() for future in [store.put(make_record(i, size=10_000)) for i in range(1_000, 1_020)]]
        assert 3 <= sum(error is None for error in errors) < 20
        assert on_disk(store.folder) <= 2_000_000
        assert there(store)


def test_a_store_from_before_gives_space_back_too(filled, make_record):
    """Its index knows no incremental vacuum: it is rewritten once, which turns that on."""
    filled.close()
    connection = sqlite3.connect(filled.folder / "index.sqlite", isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=NONE")
    connection.execute("VACUUM")
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    connection.close()
    with FolderStore.open(filled.folder) as store:
        done = store.prune(simulation="electrolyte", dry_run=False)
        assert there(store) == list(range(1_000, 1_020))
        assert done.after_bytes == on_disk(store.folder) < 100_000
        assert store._writing.commits._connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_shared_array_file_stays_while_one_record_uses_it(store, make_record):
    """Two records with the same numbers, of which one goes; then the other."""
    for i, version in enumerate(("1", "2")):
        store.put(make_record(0, size=9_000, key=f"{i}" * 64, version=version)).result()
    assert store.prune(version="1", dry_run=False).array_files == 0
    assert len(there(store)) == 1
    assert store.prune(version="2").array_files == 1
    assert store.prune(version="2", dry_run=False).array_files == 1
    assert list(store._arrays.files()) == []


def test_what_a_killed_prune_left_goes_with_the_next(filled):
    """Array files without a record, whatever is asked for."""
    stray = filled._arrays.path("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left")
    assert filled.prune(outcome="timed_out").array_files == 1 and stray.exists()
    assert filled.prune(outcome="timed_out", dry_run=False).array_files == 1 and not stray.exists()
    assert there(filled) == ALL


def test_nothing_said_is_refused(filled):
    """So are outcomes that no store has, negative sizes, and stores opened for reading."""
    with pytest.raises(UsageError, match="Say what may go"):
        filled.prune(dry_run=False)
    with pytest.raises(UsageError, match="found 'lost'"):
        filled.prune(outcome="lost")
    with pytest.raises(UsageError, match="0 bytes or more, found -1"):
        filled.prune(down_to_bytes=-1)
    with FolderStore.open(filled.folder, read_only=True) as reader, pytest.raises(StoreError, match="open it without to prune it"):
        reader.prune(outcome="failed")
    assert there(filled) == ALL


def test_a_damaged_description_stops_it(filled):
    """Which files it uses is not known: nothing goes, and the sentence says what to do."""
    connection = sqlite3.connect(filled.folder / "index.sqlite")
    connection.execute("UPDATE record SET head = zeroblob(length(head)) WHERE id = 1")
    connection.commit()
    connection.close()
    files = sorted(filled._arrays.files())
    for dry_run in (True, False):
        with pytest.raises(StoreDamaged, match="discard_damaged"):
            filled.prune(outcome="failed", dry_run=dry_run)
    assert sorted(filled._arrays.files()) == files
    assert len(filled.discard_damaged()) == 1
    assert filled.prune(outcome="failed", dry_run=False).records == 40


def test_readers_and_writers_go_on_meanwhile(tmp_path, make_record, same):
    """Threads read and another process writes while half of the store goes: nobody meets an error or half a record."""
    with FolderStore.open(tmp_path / "s") as store:
        records = [record_of(make_record, i) for i in range(1_000)]
        for future in [store.put(record) for record in records]:
            future.result()
        stop, errors, reads = threading.Event(), [], [0]

        def read(seed):
            rng = random.Random(seed)
            while not stop.is_set():
                try:
                    record = rng.choice(records)
                    found = store.get(record.key)
                    assert found is None or same(found, record)
                    assert store.select("electrolyte", after=rng.randrange(1_000), limit=20).damaged == ()
                    reads[0] += 1
                except Exception as error:
                    errors.append(error)
                    raise

        threads = [threading.Thread(target=read, args=(n,)) for n in range(2)]
        writer = subprocess.Popen([sys.executable, str(WRITER), str(store.folder), "5000", "300", "5"], stdout=subprocess.PIPE, text=True)
        for thread in threads:
            thread.start()
        done = store.prune(outcome="ok", version="3", dry_run=False), store.prune(outcome="failed", dry_run=False)
        acknowledged = len(writer.communicate()[0].split())
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == [] and reads[0] > 10
        assert [pruned.records for pruned in done] == [80, 200]
        assert acknowledged == 300
        assert there(store) and len(there(store)) == 1_000 - 280 + 300


def test_a_record_that_goes_while_it_is_read_is_not_there(store, make_record):
    """Its row was read, its file is gone with it: no record, and no damage; where only the file is gone, it is damage."""
    for i in range(2):
        store.put(make_record(i, size=9_000, version=str(i))).result()
    rows = [store.index.row(make_record(i).key) for i in range(2)]
    store.prune(version="0", dry_run=False)
    assert whole(rows[0], store.index, store._arrays, store.folder) is None
    for file in store._arrays.files():
        file.unlink()
    with pytest.raises(StoreDamaged, match="cannot be read"):
        whole(rows[1], store.index, store._arrays, store.folder)


@pytest.mark.system
def test_kill_9_while_pruning(tmp_path, make_record):
    """Six kills at random moments: what was not asked for is all there, and the prune after it finishes the work."""
    code = (
        "import sys; from mlforhpc.store import FolderStore, pruning\n"
        "pruning._STEP_ROWS, pruning._STEP_PAGES = 5, 5\n"
        f"store = FolderStore.open({str(tmp_path / 's')!r}, budget_bytes=10**9); print('open', flush=True)\n"
        "store.prune(version=sys.argv[1], dry_run=False); print('done', flush=True)"
    )
    rng, finished, first = random.Random(3), 0, 0
    for round_ in range(6):
        with FolderStore.open(tmp_path / "s") as store:
            for future in [store.put(record_of(make_record, first + i)) for i in range(100)]:
                future.result()
        process = subprocess.Popen([sys.executable, "-c", code, str(1 + first // 100)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        finished += "done" in process.communicate()[0]
        first += 100
        with FolderStore.open(tmp_path / "s", read_only=True) as store:
            assert there(store) == sorted(there(store))
        with FolderStore.open(tmp_path / "s", budget_bytes=10**9) as store:
            if round_ % 2:
                store.prune(version=str(first // 100), dry_run=False)
                assert there(store) == [i for i in there(store) if i < first - 100]
            assert store.usage().array_bytes == sum(file.stat().st_size for file in store._arrays.files())
    assert finished < 6, "no kill came in time"
    with FolderStore.open(tmp_path / "s") as store:
        done = store.prune(down_to_bytes=0, dry_run=False)
        assert there(store) == [] and list(store._arrays.files()) == [] and done.after_bytes < 50_000


def test_a_full_disk_is_a_sentence(small_disk, make_record):
    """To the last byte: nothing goes; with a little space for its log, the prune makes room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with FolderStore.open(small_disk / "s") as store:
        store._writing.commits._connection.execute("PRAGMA wal_autocheckpoint=50")  # of 1,000: the log of a disk that is not so small
        kept = 0
        while store.put(make_record(kept, size=500)).exception() is None:
            kept += 1
        with pytest.raises(StoreFull, match="no space is left"):
            store.prune(down_to_bytes=500_000, dry_run=False)
        assert there(store) == list(range(kept))
        ballast.unlink()
        store.prune(down_to_bytes=500_000, dry_run=False)
        assert on_disk(store.folder) <= 500_000
        assert there(store)[-1] == kept - 1
        store.put(make_record(kept, size=500)).result()
