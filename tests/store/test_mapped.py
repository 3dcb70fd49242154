"""Large arrays are pages of their files: mapped, not read, private to whoever writes to them, and whole after the file is gone."""

import gc
import mmap

import numpy as np
import psutil

from mlforhpc.store import FolderStore


def base_of(array):
    """What an array's numbers lie in."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def test_a_large_array_is_mapped(store, make_record, same):
    """From `get`, `scan` and `select`; a small one lies in the index and is read."""
    large, small = make_record(0, size=20_000), make_record(1)
    for record in (large, small):
        store.put(record).result()
    for found in (store.get(large.key), next(store.scan()), store.select("electrolyte").records[0]):
        assert isinstance(base_of(found.outputs["density"]), mmap.mmap)
        assert same(found, large)
    assert isinstance(base_of(store.get(small.key).outputs["density"]), bytearray)


def test_it_is_not_held_in_memory_of_its_own(store, make_record):
    """A record of 200 MB, its hash compared, is 200 MB of shared pages that the system may drop, not of this process's own."""
    record = make_record(0, size=12_500_000)
    store.put(record).result()
    del record
    gc.collect()
    process = psutil.Process()
    before = process.memory_full_info().uss
    found = store.get(make_record(0).key)
    assert found.outputs["density"][123] != 0.0
    areas = [area for area in process.memory_maps(grouped=False) if area.path.endswith(".npy")]
    assert sum(area.size for area in areas) >= 200_000_000 and sum(area.private_dirty for area in areas) == 0
    del found, areas
    gc.collect()
    assert process.memory_full_info().uss - before < 20 << 20


def test_writing_to_it_changes_no_file(store, make_record, same):
    """Arrays are writable, and the next `get` has the numbers that were put."""
    record = make_record(0, size=20_000)
    store.put(record).result()
    store.get(record.key).outputs["density"][:] = 0.0
    assert same(store.get(record.key), record)
    assert store.check() == []


def test_it_outlives_its_file(store, make_record, same):
    """What was read before a prune stays readable after it."""
    record = make_record(0, size=20_000)
    store.put(record).result()
    found = store.get(record.key)
    assert store.prune(outcome="ok", dry_run=False).array_files == 1
    assert store.get(record.key) is None
    assert same(found, record)


def test_many_at_once_leave_file_descriptors(store, make_record, same):
    """Each map holds one: above 128 records at once the rest is read, and all have their numbers."""
    records = [make_record(i, size=9_000) for i in range(140)]
    for future in [store.put(record) for record in records]:
        future.result()
    held = list(store.scan())
    mapped = [isinstance(base_of(record.outputs["density"]), mmap.mmap) for record in held]
    assert sum(mapped) == 128
    assert all(same(a, b) for a, b in zip(held, records, strict=True))
    del held
    gc.collect()
    assert isinstance(base_of(store.get(records[139].key).outputs["density"]), mmap.mmap)


def test_on_a_shared_file_system_they_are_read(tmp_path, make_record):
    """Another host may delete a file there, and a mapped page that is gone ends the process."""
    with FolderStore.open(tmp_path / "s", shared=True) as store:
        store.put(make_record(0, size=20_000)).result()
        assert isinstance(base_of(store.get(make_record(0).key).outputs["density"]), bytearray)
    with FolderStore.open(tmp_path / "s", shared=True, read_only=True) as store:
        assert isinstance(base_of(store.get(make_record(0).key).outputs["density"]), bytearray)
