"""The write-ahead log stays bounded, and commits of several processes take turns."""

import fcntl
from concurrent.futures import TimeoutError

import pytest


def _log_bytes(store):
    return (store.folder / "index.sqlite-wal").stat().st_size


def test_log_stays_bounded_beside_a_scan_that_pauses(store, make_record):
    """A scan that stops in the middle of a page keeps no transaction: 29 MB go through a log that stays below 12."""
    for i in range(300):
        last = store.put(make_record(i))
    last.result()
    paused = store.scan()
    next(paused)
    for i in range(300, 900):
        last = store.put(make_record(i, size=3000))
        if i % 50 == 0:
            last.result()
    last.result()
    assert 0 < _log_bytes(store) < 12e6
    assert sum(1 for _ in paused) == 899


def test_log_stays_bounded_when_much_waits(store, make_record):
    """29 MB that wait at once are committed in groups of a few MB."""
    with store._writing.commits._lock:
        futures = [store.put(make_record(i, size=3000)) for i in range(600)]
    for future in futures:
        future.result()
    assert 0 < _log_bytes(store) < 12e6


def test_a_commit_waits_for_its_turn(store, make_record):
    """While another process holds commit.lock nothing is committed; afterwards it is."""
    with (store.folder / "commit.lock").open("r+b") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        future = store.put(make_record(1))
        with pytest.raises(TimeoutError):
            future.result(timeout=0.2)
        assert store.get(make_record(1).key) is None
    future.result(timeout=30)
    assert store.get(make_record(1).key) is not None
