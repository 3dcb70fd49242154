"""Acknowledged means synced: the order of system calls, and the settings that make SQLite sync."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlforhpc.store import FolderStore

WRITER = Path(__file__).with_name("writer_process.py")


@pytest.mark.parametrize(("shared", "mode", "synchronous"), [(False, "wal", 2), (True, "delete", 3)], ids=["local", "shared"])
def test_sqlite_syncs_at_each_commit(tmp_path, shared, mode, synchronous):
    """Local: WAL, FULL. Shared: rollback journal whose deletion is synced as well, EXTRA."""
    with FolderStore.open(tmp_path / "store", shared=shared) as store:
        connection = store._writing.commits._connection
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == mode
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == synchronous


def test_large_array_is_synced_before_it_gets_its_name(store, make_record, monkeypatch):
    """fsync of the part, rename, fsync of the folder; all before the future resolves."""
    import os

    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(f"fsync {Path(f'/proc/self/fd/{fd}').readlink()}"), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda path, target: (events.append(f"rename {target}"), replace(path, target))[1])
    future = store.put(make_record(1, size=10_000))
    future.add_done_callback(lambda _: events.append("acknowledged"))
    future.result()
    [target] = (store.folder / "arrays").glob("*/*.npy")
    wanted = [r"fsync .*/parts/.*/.*", rf"rename {target}", rf"fsync {target.parent}", "acknowledged"]
    places = [next(i for i, event in enumerate(events) if re.fullmatch(pattern, event)) for pattern in wanted]
    assert places == sorted(places), events


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace: apt-get install strace")
@pytest.mark.parametrize("mode", ["local", "shared"])
def test_everything_is_synced_before_it_is_acknowledged(tmp_path, mode):
    """As the kernel sees it: no key is printed while a write to the index, or an array file's name, is not synced."""
    log = tmp_path / "calls"
    traced = "trace=fsync,fdatasync,pwrite64,write,rename,unlink"
    command = ["strace", "-f", "-y", "-s", "70", "-e", traced, "-o", log, sys.executable, WRITER, tmp_path / "store", "0", "4", "1", mode]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if "ptrace" in run.stderr:
        pytest.skip("strace may not trace here")
    assert run.returncode == 0, run.stderr
    unsynced, acknowledged = set(), 0
    for call in log.read_text().splitlines():
        unsynced = _after(call, unsynced)
        if re.search(r' write\(1<.*"[0-9a-f]{64}\\n', call):
            acknowledged += 1
            assert not unsynced, f"{call} while not synced: {unsynced}"
    assert acknowledged == 4


def _after(call, unsynced):
    """Files and folders with changes that a power cut could undo, after one more system call."""
    if found := re.search(r" (?:pwrite64|write)\(\d+<([^>]*(?:-wal|index\.sqlite|/parts/[^>]*))>", call):
        return unsynced | {found[1]}
    if found := re.search(r" f(?:data)?sync\(\d+<([^>]*)>", call):
        return unsynced - {found[1]}
    if found := re.search(r' rename\("[^"]*", "([^"]*)/[^"/]*"', call):
        return unsynced | {found[1]}
    if found := re.search(r' unlink\("([^"]*)/index\.sqlite-journal"', call):
        return unsynced | {found[1]}
    return unsynced
