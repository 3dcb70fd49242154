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


def test_prune_says_what_would_go_and_deletes_with_yes(call, tmp_path):
    """A dry run, then the deletion, as text and as JSON; the rest stays."""
    (tmp_path / "runs.csv").write_text("a,b,y\n" + "".join(f"{i},{i},{i if i % 4 else ''}\n" for i in range(40)))
    kept = tmp_path / "kept"
    call("store", "import", kept, tmp_path / "runs.csv", "--simulation", "beam", "--outputs", "y")
    said = call("store", "prune", kept, "--outcome", "failed")
    assert said.code == 0 and "10 records and 0 array files would go: from" in said.said and "Nothing was deleted; add --yes" in said.said
    assert call("store", "show", kept, "--json").json[0]["counts"] == {"ok": 30, "failed": 10}
    done = call("store", "prune", kept, "--outcome", "failed", "--yes")
    assert done.code == 0 and "10 records and 0 array files are gone: from" in done.said
    assert call("store", "show", kept, "--json").json[0]["counts"] == {"ok": 30}
    done = call("store", "prune", kept, "--simulation", "beam", "--down-to", "1kB", "--yes", "--json")
    assert done.json["lines"] == [
        {"simulation": "beam", "version": "imported", "outcome": "ok", "records": 30, "size_bytes": done.json["lines"][0]["size_bytes"]}
    ]
    assert not done.json["dry_run"] and done.json["after_bytes"] < done.json["before_bytes"]
    assert "That is more than 1 kB" in call("store", "prune", kept, "--down-to", "1kB").said


def test_prune_of_nothing_is_bad_usage(call, tmp_path):
    """Nothing said, a size that is none, an outcome that no store has, and a folder that is no store: exit code 2, nothing is made."""
    (tmp_path / "runs.csv").write_text(RUNS)
    kept = tmp_path / "kept"
    done = call("store", "prune", kept, "--outcome", "ok", "--yes")
    assert done.code == 2 and "There is no store to prune" in done.said and not kept.exists()
    call("store", "import", kept, tmp_path / "runs.csv", "--simulation", "beam", "--outputs", "y")
    for words, said in (((), "Say what may go"), (("--down-to", "lots"), "such as 500MB"), (("--outcome", "lost"), "'lost'")):
        done = call("store", "prune", kept, *words, "--yes")
        assert done.code == 2 and said in done.said
    assert call("store", "show", kept, "--json").json[0]["counts"] == {"ok": 1, "failed": 1}
