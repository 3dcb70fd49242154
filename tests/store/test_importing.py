"""Tables of runs as records: what columns mean, what is taken from the data, and a sentence for everything that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc import simulation
from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.record import Record, key_of
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.store import FolderStore, export
from mlforhpc.store.importing import import_runs, read_runs
from mlforhpc.store.sheet import read_sheet, write_sheet

RUNS = """a,metal,y,y_err,p0,p1,p2,p10
1.0,steel,2.0,0.1,0,1,2,3
2.5,copper,4.0,0.2,1,2,3,4
3.0,steel,,,,,,
"""


def write(folder, text=RUNS, name="runs.csv"):
    """A table in a file."""
    (folder / name).write_text(text)
    return folder / name


def test_columns_become_parameters_outputs_and_errors(tmp_path):
    """Bounds and options from the data and said so, an array in the order of its numbers, the scale a standard deviation."""
    runs = read_runs(write(tmp_path), outputs=["y", "profile=p*"], se=["y_err"])
    assert (runs.simulation.name, runs.simulation.version) == ("runs", "imported")
    assert runs.simulation.space == Space(a=Real(1.0, 3.0), metal=Choice(("copper", "steel")))
    assert runs.simulation.outputs == (Output(name="y", scale=1.0), Output(name="profile", shape=(4,), scale=0.5))
    first, second, third = runs.records
    assert first.parameters == {"a": 1.0, "metal": "steel"} and first.cost_s == 0.0 and first.fidelity == 1.0
    assert float(first.outputs["y"]) == 2.0 and float(first.standard_errors["y"]) == 0.1
    assert second.outputs["profile"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (third.outcome, third.reason, dict(third.outputs)) == ("failed", "'y' is missing in runs.csv.", {})
    assert runs.notes == ("Bounds from the data, as they were not given: a 1 to 3; metal one of copper, steel.",)


def test_a_dataset_from_a_table(tmp_path):
    """What a learner sees: the space's encoding, NaN where a run failed."""
    runs = read_runs(write(tmp_path), outputs=["y"], parameters=["a"], space={"a": Real(0, 4, unit="m")})
    data = Dataset.of_records(runs.simulation, runs.records)
    assert data.x.tolist() == [[1.0], [2.5], [3.0]] and data.ok.tolist() == [True, True, False]
    assert data.space == Space(a=Real(0, 4, unit="m")) and np.isnan(data.y["y"][2])
    assert "Columns that were left out: metal, y_err, p0, p1, p2, p10." in runs.notes


@pytest.mark.parametrize("columns", ["p=p0..p2", "p=p*", "p"])
def test_the_spellings_of_an_array(tmp_path, columns):
    """A range, a pattern (of numbers alone: `pressure` is no part of p*), and an export's brackets."""
    text = "pressure,p2,p0,p1\n9,3,1,2\n8,6,4,5\n"
    if columns == "p":
        text = text.replace("p2,p0,p1", "p[2],p[0],p[1]")
    runs = read_runs(write(tmp_path, text), outputs=[columns])
    assert [r.outputs["p"].tolist() for r in runs.records] == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert runs.simulation.space.names == ("pressure",)


def test_a_range_keeps_leading_zeros_and_brackets(tmp_path):
    """p08..p10 and q[0]..q[1]."""
    text = "x,p08,p09,p10,q[0],q[1]\n1,1,2,3,4,5\n2,6,7,8,9,0\n"
    runs = read_runs(write(tmp_path, text), outputs=["p=p08..p10", "q=q[0]..q[1]"])
    assert runs.records[0].outputs["p"].tolist() == [1.0, 2.0, 3.0] and runs.records[1].outputs["q"].tolist() == [9.0, 0.0]


def test_what_a_table_says_of_its_runs(tmp_path):
    """Outcome, cost, fidelity, seed and reason mean what they mean in an export; they are no parameters."""
    text = "x,y,outcome,cost_s,fidelity,seed,reason\n1,2,ok,3.5,0.5,7,\n2,5,failed,1,1,8,it diverged\n3,,timed_out,9,1,9,\n"
    runs = read_runs(write(tmp_path, text), outputs=["y"])
    assert [(r.outcome, r.cost_s, r.fidelity, r.seed) for r in runs.records] == [
        ("ok", 3.5, 0.5, 7),
        ("failed", 1.0, 1.0, 8),
        ("timed_out", 9.0, 1.0, 9),
    ]
    assert runs.records[1].reason == "it diverged" and not runs.records[1].outputs and runs.simulation.space.names == ("x",)


def test_semicolons_tabs_and_a_byte_order_mark(tmp_path):
    """What spreadsheets write; a column without a title is not read."""
    for name, delimiter in (("a.csv", ";"), ("b.tsv", "\t")):
        path = tmp_path / name
        path.write_text(
            "\ufeff"
            + RUNS.replace("a,metal", ",a,metal")
            .replace("\n1", "\n0,1")
            .replace("\n2", "\n1,2")
            .replace("\n3", "\n2,3")
            .replace(",", delimiter)
        )
        assert read_runs(path, outputs=["y"], parameters=["a"]).simulation.space == Space(a=Real(1.0, 3.0))


def test_importing_twice_adds_nothing(tmp_path, store):
    """Keys follow from the content; a row changed is another run."""
    runs = read_runs(write(tmp_path), outputs=["y"], parameters=["a"], simulation="beam", version="2")
    assert import_runs(store, runs) == 3 and import_runs(store, runs) == 0
    assert [(r.simulation, r.version, r.outcome) for r in store.scan("beam")] == [("beam", "2", o) for o in ("ok", "ok", "failed")]
    changed = read_runs(write(tmp_path, RUNS.replace("4.0", "5.0")), outputs=["y"], parameters=["a"], simulation="beam", version="2")
    assert import_runs(store, changed) == 1


def test_repetitions_are_kept_and_identical_rows_count_once(tmp_path):
    """The same parameters with other outputs are another run; the same in everything is the same run, and said so."""
    runs = read_runs(write(tmp_path, "x,y\n1,2\n1,3\n2,4\n1,2\n"), outputs=["y"])
    assert [float(r.outputs["y"]) for r in runs.records] == [2.0, 3.0, 4.0] and len({r.key for r in runs.records}) == 3
    assert "1 rows repeat another one in everything and count once." in runs.notes


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_an_export_comes_back_as_it_was(tmp_path, same, name):
    """Whole-number parameters, choices, a field, standard errors, failures: every record, every bit, under the same key."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    sim = simulation(
        lambda a, k, c: 0.0,
        name="s",
        version="1",
        space=Space(a=Real(0, 1), k=Integer(1, 3), c=Choice(("x", "y"))),
        outputs=[Output(name="f", shape=(2, 2)), Output(name="n")],
    )
    records = [make(sim, i) for i in range(6)]
    with FolderStore.open(tmp_path / "first") as first, FolderStore.open(tmp_path / "second") as second:
        for record in records:
            first.put(record).result()
        export(first, tmp_path / name)
        runs = read_runs(tmp_path / name, outputs=["f", "n"])
        assert import_runs(first, runs) == 0 and import_runs(second, runs) == 6
        for record in records:
            assert same(second.get(record.key), record)
    assert isinstance(runs.simulation.space.parameters["k"], Integer)


def make(sim, i):
    """The i-th record of a simulation; the last one failed."""
    rng = np.random.default_rng(i)
    x = {"a": float(rng.random()), "k": 1 + i % 3, "c": "xy"[i % 2]}
    ok = i < 5
    outputs = {"f": rng.random((2, 2)), "n": np.asarray(rng.random())} if ok else {}
    return Record(
        key=key_of(sim, x, settings={}, fidelity=0.5, seed=i),
        simulation="s",
        version="1",
        parameters=x,
        settings={},
        fidelity=0.5,
        seed=i,
        outcome="ok" if ok else "failed",
        outputs=outputs,
        standard_errors={"f": np.full((2, 2), 0.1)} if ok else {},
        reason="" if ok else "it broke",
        cost_s=0.25 + i,
        system="a host",
    )


def test_an_export_of_two_simulations_or_versions_says_which(tmp_path, store, make_record):
    """One simulation and version at a time; checks and settings are no parameters."""
    for i in range(2):
        store.put(make_record(i, size=2))
        store.put(make_record(i + 10, simulation="ising", size=2, parameters={"J": i / 3})).result()
    store.put(make_record(20, version="2", size=2)).result()
    export(store, tmp_path / "all.csv")
    with pytest.raises(UsageError, match=r"runs of the simulations electrolyte, ising; choose one with --simulation"):
        read_runs(tmp_path / "all.csv", outputs=["density"])
    with pytest.raises(UsageError, match=r"runs of the versions 1, 2; choose one with --version"):
        read_runs(tmp_path / "all.csv", outputs=["density"], simulation="electrolyte")
    runs = read_runs(tmp_path / "all.csv", outputs=["density"], simulation="electrolyte", version="1")
    assert len(runs.records) == 2 and runs.simulation.space.names == ("h", "z", "salt")
    assert runs.notes[1] == "Columns that were left out: dt, energy, temperature."
    ising = read_runs(tmp_path / "all.csv", outputs=["density"], simulation="ising")
    assert ising.simulation.space.names == ("J",) and len(ising.records) == 2
    with pytest.raises(UsageError, match=r"holds runs of the simulation electrolyte, ising, wanted 'isin'"):
        read_runs(tmp_path / "all.csv", outputs=["density"], simulation="isin")


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("", {}, r"has no rows"),
        ("a,y\n", {}, r"has no rows below its header"),
        ("a,y\n1,2\n1,2,3\n", {}, r"line 3: wanted 2 cells as in the header, found 3"),
        ("a,a,y\n1,2,3\n", {}, r"has the column 'a' twice"),
        (
            "a,y\n1,2\nx,3\n2,3\n",
            {},
            r"line 3, column 'a': wanted a number, as in the other rows, found 'x'\. If it is an option: --parameter a=",
        ),
        ("a,y\n1,2\n,3\n2,3\n", {}, r"line 3, column 'a': wanted a value: a parameter of a run is never missing"),
        ("a,y\n1,2\n2,bad\n", {}, r"line 3, column 'y': wanted a number, found 'bad'"),
        ("a,y\n1,2\n1,3\n", {}, r"column 'a': it is 1 in every row, so that nothing can be learned about it"),
        ("a,b\n1,2\n", {}, r"has no column 'y' and no columns 'y\[0\]'"),
        ("a,yy\n1,2\n", {}, r"Did you mean 'yy'\?"),
        ("y\n1\n", {}, r"has no column left for a parameter"),
        ("a,y\n1,2\n2,3\n", {"outputs": []}, r"Which columns .* are outputs was not said"),
        ("a,y\n1,2\n2,3\n", {"outputs": ["y", "y"]}, r"Output 'y' was named twice"),
        ("a,y\n1,2\n2,3\n", {"outputs": ["a=y"]}, r"'a' cannot name a parameter and an output"),
        ("a,y\n1,2\n2,3\n", {"parameters": ["y"]}, r"cannot be a parameter and part of an output"),
        ("a,y\n1,2\n2,3\n", {"parameters": ["b"]}, r"has no column 'b' \(a parameter\); it has a, y"),
        ("a,y\n1,2\n2,3\n", {"outputs": ["p=y0..z3"]}, r"A range of columns looks like 'p0\.\.p63'"),
        ("a,y0\n1,2\n2,3\n", {"outputs": ["p=y0..y1"]}, r"no column 'y1' \(part of output 'p'\)"),
        ("a,y0\n1,2\n2,3\n", {"outputs": ["p=y*"]}, r"at least two columns 'y\*' .* found y0"),
        ("a,y[0],y[2]\n1,2,3\n2,3,4\n", {}, r"lacks the column 'y\[1\]' of output 'y'"),
        ("a,y,e\n1,2,0.1\n2,3,-1\n", {"se": ["e"]}, r"line 3, column 'e': wanted a standard error of 0 or more, found '-1'"),
        ("a,y,e\n1,2,0.1\n2,3,1\n", {"se": ["e", "e"]}, r"There are 1 outputs and 2 columns of standard errors"),
        ("a,y,e\n1,2,0.1\n2,3,1\n", {"se": ["z=e"]}, r"Standard errors were given for 'z', which is no output"),
        ("a,y,e0,e1\n1,2,0,1\n2,3,1,1\n", {"se": ["y=e*"]}, r"has 1 columns, its standard errors 'e\*' have 2"),
        ("a,y,outcome\n1,2,fine\n2,3,ok\n", {}, r"line 2, column 'outcome': wanted one of ok, failed, timed_out, found 'fine'"),
        ("a,y,fidelity\n1,2,2\n2,3,1\n", {}, r"line 2, column 'fidelity': wanted a fidelity in \(0, 1\], found '2'"),
        ("a,y,cost_s\n1,2,long\n2,3,1\n", {}, r"line 2, column 'cost_s': wanted a number, found 'long'"),
        ("a,y,seed\n1,2,1.5\n2,3,1\n", {}, r"line 2, column 'seed': wanted a whole number"),
        ("a,y,seed\n1,2,1\n1,3,1\n2,3,1\n", {}, r"line 3, asks what line 2 asks .* and has other outputs"),
        ("a,y\n1,2\n5,3\n", {"space": {"a": Real(0, 4)}}, r"line 3: Parameter 'a' must be a number in \[0, 4\], found '5'"),
        ("a,y\n1,2\n2,3\n", {"space": {"b": Real(0, 4)}}, r"There is no parameter 'b' in .*; it has a"),
        ("d,y\n" + "".join(f"day {i},1\n" for i in range(30)), {}, r"column 'd': 30 different texts in 30 rows are no options"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, asked, sentence):
    """File, place, column, what was wanted and what was found."""
    with pytest.raises(UsageError, match=sentence):
        read_runs(write(tmp_path, text), **{"outputs": ["y"], **asked})


def test_files_that_are_no_tables(tmp_path):
    """No file, another format, bytes that are no text, a Parquet file that is none."""
    for name, sentence in (("no.csv", "no such file"), ("a.xlsx", r"ends with \.csv, \.tsv or \.parquet"), ("b.csv", "not UTF-8")):
        if name != "no.csv":
            (tmp_path / name).write_bytes(b"a,y\n\xff,1\n")
        with pytest.raises(UsageError, match=sentence):
            read_runs(tmp_path / name, outputs=["y"])
    pytest.importorskip("pyarrow")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_runs(tmp_path / "c.parquet", outputs=["y"])


def test_what_was_recorded_cannot_be_simulated(tmp_path):
    """A sentence, not a crash."""
    sim = read_runs(write(tmp_path), outputs=["y"], parameters=["a"]).simulation
    with pytest.raises(UsageError, match="known by its records alone"):
        sim.simulate({}, settings={}, fidelity=1.0, seed=0, workdir=tmp_path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_written_sheet_is_read_again(tmp_path, name):
    """Text, floats with every digit, missing cells."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    write_sheet(tmp_path / name, ["a", "b"], [[0.1, "x"], [None, "y,z"]])
    sheet = read_sheet(tmp_path / name)
    assert sheet.numbers("a")[0] == 0.1 and np.isnan(sheet.numbers("a")[1]) and list(sheet.columns["b"]) == ["x", "y,z"]
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_out_of_bounds_keeps_its_kind(tmp_path):
    """So that callers can tell it."""
    with pytest.raises(OutOfBounds):
        read_runs(write(tmp_path, "a,y\n1,2\n5,3\n"), outputs=["y"], space={"a": Real(0, 4)})
