"""Several processes, and processes that die: nothing acknowledged is lost."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from mlforhpc.store import FolderStore

WRITER = Path(__file__).with_name("writer_process.py")


def test_three_processes_write_at_once(tmp_path, writer, make_record, same):
    """Three writers with 200 records each, large ones among them: all are there, each one whole."""
    processes = [writer(tmp_path / "store", 1000 * n, 200, 10) for n in range(3)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with FolderStore.open(tmp_path / "store") as store:
        found = {record.seed: record for record in store.scan()}
        assert sorted(found) == [1000 * n + i for n in range(3) for i in range(200)]
        assert all(same(found[i], make_record(i, size=10_000 if i % 10 == 0 else 20)) for i in found)
        assert store.check() == []


def test_kill_9_loses_nothing_acknowledged(tmp_path, writer):
    """Eight rounds: a writer is killed at a random moment, what it had got acknowledged is there, what it left is swept."""
    folder, rng, acknowledged = tmp_path / "store", random.Random(0), set()
    for round_ in range(8):
        process = writer(folder, 100_000 * round_, 50_000, rng.choice([1, 10, 100]))
        acknowledged |= {process.stdout.readline().strip() for _ in range(rng.randrange(1, 100))}
        process.send_signal(signal.SIGKILL)
        acknowledged |= {line for line in process.communicate()[0].split("\n") if len(line) == 64}
    assert len(list((folder / "parts").iterdir())) == 1, "each round sweeps what the one before left"
    with FolderStore.open(folder) as store:
        assert acknowledged <= {record.key for record in store.scan()}
        assert store.check() == []
        assert len(list((folder / "parts").iterdir())) == 1
    assert list((folder / "parts").iterdir()) == []


def test_parts_of_a_living_writer_are_not_swept(store, make_record, writer):
    """A second process that opens the store leaves alone what the first is writing."""
    part = store._arrays.write("ab" * 32, b"half a record")
    assert writer(store.folder, 0, 5, 5).wait() == 0
    assert part.path.exists()


def test_a_writer_that_forgets_to_close_loses_nothing(tmp_path, make_record):
    """At the end of the interpreter what was put is committed."""
    code = (
        f"import runpy; from mlforhpc.store import FolderStore; make = runpy.run_path({str(WRITER)!r})['make_record']\n"
        f"store = FolderStore.open({str(tmp_path / 'store')!r})\n"
        "for i in range(100): store.put(make(i))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with FolderStore.open(tmp_path / "store") as store:
        assert len(list(store.scan())) == 100
