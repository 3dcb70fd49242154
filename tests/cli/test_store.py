"""`mlforhpc store import`: a table of runs into a store, once."""

from __future__ import annotations

RUNS = "a,b,y\n1,2,3\n2,3,\n"


def test_a_table_is_kept_once(call, tmp_path):
    """Two records, one failed; the second time none; `show` counts them."""
    (tmp_path / "runs.csv").write_text(RUNS)
    words = ("store", "import", tmp_path / "kept", tmp_path / "runs.csv", "--simulation", "beam", "--outputs", "y")
    first = call(*words)
    assert first.code == 0 and "2 records of simulation 'beam', version 'imported', added" in first.said
    assert "Bounds from the data" in first.said and "1 of the 2 runs have no outputs" in first.said
    again = call(*words, "--json")
    assert again.json["new"] == 0 and again.json["runs"] == 2
    assert "0 records of simulation 'beam', version 'imported', added" in call(*words).said
    (row,) = call("store", "show", tmp_path / "kept", "--json").json
    assert (row["simulation"], row["counts"], row["cost_s"]) == ("beam", {"ok": 1, "failed": 1}, 0.0)
    assert call("store", "check", tmp_path / "kept").out == "Every record is whole.\n"


def test_a_bad_table_writes_nothing(call, tmp_path):
    """Exit code 2 with place and column; no store is made."""
    (tmp_path / "runs.csv").write_text(RUNS.replace("3\n2", "x\n2"))
    done = call("store", "import", tmp_path / "kept", tmp_path / "runs.csv", "--simulation", "beam", "--outputs", "y")
    assert done.code == 2 and "line 2, column 'y': wanted a number, found 'x'" in done.said and not (tmp_path / "kept").exists()
    (tmp_path / "runs.csv").write_text(RUNS)
    done = call("store", "import", tmp_path / "kept", tmp_path / "runs.csv", "--outputs", "y", "--parameter", "a=0:1")
    assert done.code == 2 and "line 3: Parameter 'a' must be a number in [0, 1]" in done.said and not (tmp_path / "kept").exists()
