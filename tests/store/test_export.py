"""Tables for other programs, and the summary."""

import csv
import sys

import numpy as np
import pytest

from mlforhpc.core.errors import MissingExtra, StoreError, UsageError
from mlforhpc.store import export, summary


@pytest.fixture
def filled(store, make_record):
    """Two simulations, one failure, a field, a setting whose name is taken."""
    outputs = {"field": np.arange(4.0).reshape(2, 2), "energy": np.asarray(0.1)}
    store.put(make_record(1, size=2, settings={"seed": "fast"}))
    store.put(make_record(2, outcome="failed", outputs={}, standard_errors={}, checks={}, reason='bad, "very"\nbad', cost_s=0.5))
    store.put(make_record(3, simulation="ising", version="2", parameters={"h": 1}, outputs=outputs, standard_errors={})).result()
    return store


def test_csv(filled, make_record, tmp_path):
    """One row a record, one column a number, every digit, empty where there is none."""
    assert export(filled, tmp_path / "all.csv") == 3
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("key", "simulation", "version", "h", "z", "salt", "settings.seed", "dt"),
        *("fidelity", "seed", "outcome", "cost_s", "system", "reason"),
        *("density[0]", "density[0].se", "density[1]", "density[1].se", "energy"),
        *("field[0,0]", "field[0,1]", "field[1,0]", "field[1,1]", "temperature"),
    ]
    first = make_record(1, size=2)
    assert float(rows[0]["density[1]"]) == first.outputs["density"][1]
    assert float(rows[0]["density[0].se"]) == first.standard_errors["density"][0]
    assert (rows[0]["seed"], rows[0]["settings.seed"], rows[0]["z"], rows[0]["salt"]) == ("1", "fast", "2", "NaCl")
    assert (rows[1]["outcome"], rows[1]["reason"], rows[1]["energy"]) == ("failed", 'bad, "very"\nbad', "")
    assert (rows[2]["h"], rows[2]["z"], rows[2]["field[1,0]"]) == ("1.0", "", "2.0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "store"]


def test_parquet(filled, make_record, tmp_path):
    """The same table with types: null where there is none."""
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export(filled, tmp_path / "all.parquet", "electrolyte") == 2
    table = parquet.read_table(tmp_path / "all.parquet")
    assert [str(table.schema.field(name).type) for name in ("h", "z", "salt", "seed", "energy")] == [
        *("double", "int64", "string", "int64", "double"),
    ]
    rows = table.to_pylist()
    assert rows[0]["h"] == make_record(1).parameters["h"]
    assert rows[0]["density[1]"] == make_record(1, size=2).outputs["density"][1]
    assert rows[1]["density[1]"] is None
    assert "field[0,0]" not in rows[0]


def test_parquet_without_its_extra(filled, tmp_path, monkeypatch):
    """Without pyarrow the sentence names the extra, and no file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "mlforhpc.store.parquet", raising=False)
    with pytest.raises(MissingExtra, match=r"The export to Parquet needs .*mlforhpc\[parquet\]"):
        export(filled, tmp_path / "all.parquet")
    assert not list(tmp_path.glob("*all*"))


def test_text_that_is_no_utf_8_is_escaped(store, make_record, tmp_path):
    """A byte of a foreign program in a traceback: the same in both formats."""
    parquet = pytest.importorskip("pyarrow.parquet")
    store.put(make_record(1, size=2, outcome="failed", reason="bad \udcff byte", outputs={}, standard_errors={})).result()
    for name in ("a.csv", "a.parquet"):
        assert export(store, tmp_path / name) == 1
    (row,) = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert row["reason"] == parquet.read_table(tmp_path / "a.parquet").column("reason").to_pylist()[0] == "bad \\udcff byte"


def test_export_of_an_empty_store(store, tmp_path):
    """A header and no rows."""
    assert export(store, tmp_path / "none.csv") == 0
    assert (tmp_path / "none.csv").read_text().startswith("key,simulation,version,fidelity,seed,outcome,cost_s")


def test_refused_exports(store, make_record, tmp_path):
    """Other endings, fields too large for a table, folders that are not there."""
    store.put(make_record(1, size=30_000)).result()
    with pytest.raises(UsageError, match=r"ends with \.csv or \.parquet, found 'all\.xlsx'"):
        export(store, tmp_path / "all.xlsx")
    with pytest.raises(UsageError, match="'density' has 30000 numbers"):
        export(store, tmp_path / "all.csv")
    with pytest.raises(StoreError, match="export"):
        export(store, tmp_path / "missing" / "all.csv", "none")


def test_summary(filled):
    """Counts by outcome, cost and bytes of each simulation and version."""
    first, second = summary(filled)
    assert (first.simulation, first.version, dict(first.counts), first.cost_s) == ("electrolyte", "1", {"ok": 1, "failed": 1}, 1.75)
    assert (second.simulation, second.version, dict(second.counts), second.cost_s) == ("ising", "2", {"ok": 1}, 1.25)
    assert first.size_bytes > second.size_bytes > 40
