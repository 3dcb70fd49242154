"""Local disk or shared file system, and what a shared one allows."""

from pathlib import Path

import pytest

from mlforhpc.core.errors import StoreLocked
from mlforhpc.store import FolderStore
from mlforhpc.store.filesystem import is_shared, type_of

TABLE = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 27 0:30 / /home rw shared:2 - nfs4 server:/home rw
32 31 0:31 / /home/fast\040disk rw - xfs /dev/vdb rw
33 27 0:32 / /scratch rw - lustre mds@tcp:/scratch rw
34 27 0:33 / /mnt rw - ext4 /dev/vdc rw
35 27 0:34 / /mnt rw - fuse.sshfs me@there: rw
36 27 0:35 / /new rw - betterfs none rw
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/tmp/store", "ext4"),
        ("/home/me/store", "nfs4"),
        ("/home/fast disk/store", "xfs"),
        ("/homestead", "ext4"),
        ("/scratch", "lustre"),
        ("/mnt/store", "fuse.sshfs"),
        ("/new/store", "betterfs"),
    ],
)
def test_type_is_that_of_the_deepest_and_latest_mount(folder, expected):
    """Mount points with spaces, inside each other and on top of each other."""
    assert type_of(Path(folder), TABLE) == expected


@pytest.mark.parametrize(("kind", "shared"), [("ext4", False), ("tmpfs", False), ("nfs4", True), ("beegfs", True), ("betterfs", True)])
def test_unknown_counts_as_shared(tmp_path, kind, shared):
    """Known local types are local; everything else is shared, also where mountinfo cannot be read."""
    table = tmp_path / "mountinfo"
    table.write_text(f"27 1 253:0 / / rw - {kind} x rw\n")
    assert is_shared(tmp_path, table) is shared
    assert is_shared(tmp_path, tmp_path / "missing") is True


@pytest.mark.parametrize("second", [True, False], ids=["shared", "local"])
def test_second_writer_is_refused(tmp_path, make_record, same, second):
    """On a shared file system: one writer, named in the sentence; readers may read; the next may write when it has ended."""
    with FolderStore.open(tmp_path / "store", shared=True) as store:
        store.put(make_record(1, size=10_000)).result()
        with pytest.raises(StoreLocked, match=r"one writer on a shared file system, and process \d+ on host .* writes to it"):
            FolderStore.open(tmp_path / "store", shared=second)
        with FolderStore.open(tmp_path / "store", read_only=True) as reader:
            assert same(reader.get(make_record(1).key), make_record(1, size=10_000))
            store.put(make_record(2)).result()
            assert len(list(reader.scan())) == 2
    with FolderStore.open(tmp_path / "store", shared=second) as store:
        store.put(make_record(3)).result()
        assert len(list(store.scan())) == 3


def test_shared_writer_waits_for_no_local_one(tmp_path, writer):
    """A writer on a shared file system is refused while another has the store open as local."""
    with FolderStore.open(tmp_path / "store", shared=False), pytest.raises(StoreLocked):
        FolderStore.open(tmp_path / "store", shared=True)
    process = writer(tmp_path / "store", 0, 5, 1, "shared")
    assert process.wait() == 0


def test_shared_store_has_no_write_ahead_log(tmp_path, make_record):
    """A store that was local becomes a plain one."""
    with FolderStore.open(tmp_path / "store", shared=False) as store:
        store.put(make_record(1)).result()
        assert (tmp_path / "store" / "index.sqlite-wal").exists()
    with FolderStore.open(tmp_path / "store", shared=True) as store:
        store.put(make_record(2)).result()
        assert not (tmp_path / "store" / "index.sqlite-wal").exists()
