"""What may be opened: new and empty folders, stores, copies; what is refused, with a sentence."""

import shutil
import signal
import sqlite3
import subprocess

import pytest

from mlforhpc.core.errors import StoreDamaged, StoreError, UsageError
from mlforhpc.store import FolderStore


def _state(folder):
    """Every file with its content and time of change."""
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in [folder, *folder.rglob("*")]}


def _filled(folder, make_record, count=5):
    with FolderStore.open(folder) as store:
        for i in range(count):
            store.put(make_record(i, size=10_000 if i == 0 else 20)).result()
    return folder


def test_folder_that_is_no_store(tmp_path):
    """A folder with other things in it is refused and left as it was."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreDamaged, match=r"is not a store: it has 'notes.txt'.*Choose an empty or a new folder"):
        FolderStore.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_above_stores_is_told_where_they_are(tmp_path, make_record):
    """A run folder holds two stores; whoever names it instead of one of them reads both paths."""
    for name in ("referee", "store"):
        _filled(tmp_path / name, make_record, count=1)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(StoreDamaged, match=f"Stores lie below it: {tmp_path / 'referee'}, {tmp_path / 'store'}"):
        FolderStore.open(tmp_path, read_only=True)


def test_file_that_is_no_folder(tmp_path):
    """A path that is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreDamaged, match="is a file"):
        FolderStore.open(tmp_path / "file")


def test_database_of_another_program(tmp_path):
    """An SQLite file that is not ours is refused and left as it was."""
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    connection.execute("CREATE TABLE t(a)")
    connection.close()
    before = (tmp_path / "index.sqlite").read_bytes()
    with pytest.raises(StoreDamaged, match="written by another program"):
        FolderStore.open(tmp_path)
    assert (tmp_path / "index.sqlite").read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_newer_schema_version(tmp_path, make_record, read_only):
    """A store of a later mlforhpc says which version it has and how to read it."""
    folder = _filled(tmp_path / "store", make_record)
    connection = sqlite3.connect(folder / "index.sqlite")
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(StoreDamaged, match=r"has schema version 2, and this mlforhpc reads up to 1\. Update"):
        FolderStore.open(folder, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_damaged_header(tmp_path, make_record, read_only):
    """An index that SQLite does not recognise."""
    folder = _filled(tmp_path / "store", make_record)
    with (folder / "index.sqlite").open("r+b") as file:
        file.write(b"garbage")
    with pytest.raises(StoreDamaged, match=r"its index 'index\.sqlite' is damaged.*Restore that file from a copy"):
        FolderStore.open(folder, read_only=read_only)


@pytest.mark.parametrize("read_only", [False, True])
def test_lost_index(tmp_path, make_record, read_only):
    """Arrays without an index are no new store."""
    folder = _filled(tmp_path / "store", make_record)
    (folder / "index.sqlite").unlink()
    with pytest.raises(StoreDamaged, match=r"has lost its 'index\.sqlite'"):
        FolderStore.open(folder, read_only=read_only)


def test_nothing_to_read(tmp_path):
    """read_only creates nothing."""
    with pytest.raises(UsageError, match="no store to read at"):
        FolderStore.open(tmp_path / "store", read_only=True)
    assert not (tmp_path / "store").exists()


def test_unwritable_folder(small_disk, make_record):
    """A disk mounted read-only: writing is refused with the way out, reading works."""
    folder = _filled(small_disk / "store", make_record)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match=r"Cannot open the store .*(Read-only|readonly).*read_only=True"):
        FolderStore.open(folder)
    with pytest.raises(StoreError, match="permission was refused"):
        FolderStore.open(small_disk / "another")
    with FolderStore.open(folder, read_only=True) as store:
        assert [record.seed for record in store.scan()] == [0, 1, 2, 3, 4]
        assert store.check() == []


def test_reading_changes_nothing(tmp_path, make_record):
    """A read-only store leaves every file and folder as it was, and refuses to write."""
    folder = _filled(tmp_path / "store", make_record)
    before = _state(folder)
    with FolderStore.open(folder, read_only=True) as store:
        assert len(list(store.scan())) == 5
        assert store.check() == []
        with pytest.raises(StoreError, match="opened with read_only=True"):
            store.put(make_record(9))
        with pytest.raises(StoreError, match="opened with read_only=True"):
            store.discard_damaged()
        assert _state(folder) == before
    assert _state(folder) == before


@pytest.mark.parametrize("lose_memory_file", [False, True], ids=["in place", "copied"])
@pytest.mark.parametrize("mode", ["local", "shared"])
def test_reading_after_a_crash_changes_nothing(tmp_path, writer, mode, lose_memory_file):
    """The log of a killed writer is read too, also in a copy that lacks SQLite's shared memory file."""
    folder = tmp_path / "store"
    process = writer(folder, 0, 50_000, 5, mode)
    acknowledged = {process.stdout.readline().strip() for _ in range(40)}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if lose_memory_file:
        folder = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    before = _state(folder)
    with FolderStore.open(folder, read_only=True) as store:
        assert acknowledged <= {record.key for record in store.scan()}
        assert store.check() == []
    assert _state(folder) == before


def test_reader_sees_what_a_writer_adds(tmp_path, store, make_record):
    """Reading beside a writer of another process, and the writer leaving first."""
    store.put(make_record(1)).result()
    with FolderStore.open(store.folder, read_only=True) as reader:
        assert len(list(reader.scan())) == 1
        store.put(make_record(2)).result()
        assert len(list(reader.scan())) == 2
        store.close()
        assert len(list(reader.scan())) == 2
        with FolderStore.open(store.folder) as again:
            again.put(make_record(3)).result()
            assert len(list(reader.scan())) == 3


def test_closed_store_is_plain_files(tmp_path, make_record):
    """The last writer leaves no log beside the index: the folder can be copied file by file."""
    folder = _filled(tmp_path / "store", make_record)
    assert sorted(path.name for path in folder.iterdir()) == ["arrays", "commit.lock", "index.sqlite", "parts", "writers.lock"]
