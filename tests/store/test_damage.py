"""A flipped bit is found, named, and never returned."""

import random
import sqlite3

import pytest

from mlforhpc.core.errors import StoreDamaged, StoreError
from mlforhpc.store import FolderStore


def _filled(folder, make_record, count, size=20):
    with FolderStore.open(folder) as store:
        records = [make_record(i, size=size) for i in range(count)]
        for future in [store.put(record) for record in records]:
            future.result()
    return records


def _flip(file, at, bit=1):
    content = bytearray(file.read_bytes())
    content[at] ^= bit
    file.write_bytes(content)


def _place(record, part):
    """Bytes that occur once, in the row of this record."""
    return {
        "numbers": record.outputs["density"][3:5].tobytes(),
        "parameters": f'"h":{record.parameters["h"]}'.encode(),
        "key": record.key.encode() + b"electrolyte",
        "simulation": b"electrolyte1ok",
    }[part]


@pytest.mark.parametrize("part", ["numbers", "parameters", "key", "simulation"])
def test_flipped_byte_in_a_row(tmp_path, make_record, part):
    """In the numbers, the description and the columns: get, scan and check name the record, and it is not returned."""
    folder = tmp_path / "store"
    records = _filled(folder, make_record, 1)
    content = (folder / "index.sqlite").read_bytes()
    wanted = _place(records[0], part)
    assert content.count(wanted) == 1
    _flip(folder / "index.sqlite", content.index(wanted) + 4)
    with FolderStore.open(folder) as store:
        if part != "key":  # get reads the key from SQLite's own index of keys, which is whole: what it returns is right
            with pytest.raises(StoreDamaged, match="is damaged"):
                store.get(records[0].key)
        with pytest.raises(StoreDamaged, match="is damaged"):
            list(store.scan())
        assert any("is damaged" in sentence for sentence in store.check())
        assert store.discard_damaged()
        assert store.check() == []
        assert store.get(records[0].key) is None


def test_flipped_byte_in_an_array_file(tmp_path, make_record):
    """The sentence names key, simulation, parameters and file; the other record is still there."""
    folder = tmp_path / "store"
    records = _filled(folder, make_record, 2, size=10_000)
    with FolderStore.open(folder) as store:
        sha256 = store._arrays.path(_sha256_of(folder, records[1].key))
        _flip(sha256, 4000)
        with pytest.raises(StoreDamaged) as error:
            store.get(records[1].key)
        for said in (records[1].key, "'electrolyte'", f"h={records[1].parameters['h']}", "z=2", "salt=NaCl", "seed=1", str(sha256)):
            assert said in str(error.value)
        assert store.check() == [str(error.value)]
        assert store.get(records[0].key) is not None
        sha256.unlink()
        with pytest.raises(StoreDamaged, match="cannot be read"):
            store.get(records[1].key)


def test_discarded_record_can_be_simulated_again(tmp_path, make_record, same):
    """discard_damaged removes it and says which; the next put is kept, and heals the array file."""
    folder = tmp_path / "store"
    records = _filled(folder, make_record, 2, size=10_000)
    with FolderStore.open(folder) as store:
        _flip(store._arrays.path(_sha256_of(folder, records[1].key)), -1)
        sentences = store.check()
        assert store.discard_damaged() == sentences
        assert len(sentences) == 1
        assert store.check() == []
        assert store.get(records[1].key) is None
        store.put(records[1]).result()
        assert same(store.get(records[1].key), records[1])


def test_random_flips_never_return_a_wrong_record(tmp_path, make_record, same):
    """100 single flipped bits anywhere in the index: every record that is returned is the one that was put."""
    folder, rng = tmp_path / "store", random.Random(1)
    records = {record.key: record for record in _filled(folder, make_record, 60)}
    file = folder / "index.sqlite"
    whole, found = file.read_bytes(), 0
    for _ in range(100):
        file.write_bytes(whole)
        _flip(file, rng.randrange(len(whole)), 1 << rng.randrange(8))
        returned, damaged = _survey(folder, records)
        assert all(same(record, records[key]) for key, record in returned)
        found += damaged
    assert found > 40


def _survey(folder, records):
    """Everything that get and scan return, and whether anybody noticed damage."""
    returned, damaged = [], False
    try:
        with FolderStore.open(folder, read_only=True) as store:
            for key in records:
                try:
                    record = store.get(key)
                    returned += [(key, record)] if record else []
                except StoreError:
                    damaged = True
            try:
                returned += [(record.key, record) for record in store.scan()]
            except StoreError:
                damaged = True
            damaged = damaged or bool(store.check())
    except StoreError:
        damaged = True
    return returned, damaged


def test_check_goes_on_after_an_unreadable_page(tmp_path, make_record):
    """Pages of the index overwritten: check says so, and names nothing that is whole."""
    folder = tmp_path / "store"
    _filled(folder, make_record, 300)
    content = bytearray((folder / "index.sqlite").read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(4096)
    (folder / "index.sqlite").write_bytes(content)
    with FolderStore.open(folder) as store:
        sentences = store.check()
    assert sentences
    assert all(str(folder) in sentence for sentence in sentences)


def _sha256_of(folder, key):
    import json

    connection = sqlite3.connect(folder / "index.sqlite")
    try:
        return json.loads(connection.execute("SELECT head FROM record WHERE key = ?", (key,)).fetchone()[0])["sha256"]
    finally:
        connection.close()
