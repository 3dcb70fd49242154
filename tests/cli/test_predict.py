"""`mlforhpc predict`: one point or a table of them, with intervals and the data's reach."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

import mlforhpc as ml
from mlforhpc.core.learner import Dataset
from mlforhpc.learners import gaussian_process

SPACE = ml.Space(a=ml.Real(0, 1, unit="m"), k=ml.Integer(1, 3), metal=ml.Choice(("steel", "copper")))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A surrogate of a number and a profile of 20, from runs in the lower half of a."""
    x = SPACE.decode(np.random.default_rng(0).random((40, 3)) * [0.5, 1, 1])
    y = {"drag": x[:, 0] * x[:, 1], "profile": x[:, :1] * np.arange(20.0)}
    outputs = (ml.Output(name="drag", unit="N"), ml.Output(name="profile", shape=(20,)))
    ones = np.ones(40)
    data = Dataset(space=SPACE, outputs=outputs, x=x, y=y, y_se={}, outcome=("ok",) * 40, fidelity=ones, cost_s=ones)
    path = tmp_path_factory.mktemp("saved") / "s.safetensors"
    gaussian_process.create(folds=4).fit(data, seed=0).save(path)
    return path


AT = ("--at", "a=0.25", "--at", "k=2", "--at", "metal=steel")


def test_one_point_as_json(call, saved):
    """The surrogate's own numbers, bit for bit, for each of the options."""
    x = SPACE.row({"a": 0.25, "k": 2, "metal": "steel"})[None]
    for words, asked in (((), {}), (("--coverage", 0.5, "--of", "mean"), {"coverage": 0.5, "of": "mean"}), (("--joint",), {"joint": True})):
        done = call("predict", saved, *AT, *words, "--json")
        (answer,) = done.json["answers"]
        p = ml.load(saved).predict(x, **asked)
        assert answer["point"] == {"a": 0.25, "k": 2, "metal": "steel"} and answer["inside"] is True
        assert answer["outputs"]["drag"]["mean"] == p.mean["drag"][0] == pytest.approx(0.5, abs=1e-3)
        assert answer["outputs"]["profile"]["upper"] == p.upper["profile"][0].tolist()
        assert done.json["coverage"] == asked.get("coverage", 0.9) and done.json["joint"] is asked.get("joint", False)


def test_one_point_for_a_person(call, saved):
    """Answer with its unit, interval, some of a long profile and the way to all of it, and whether to believe it."""
    said = call("predict", saved, *AT).said
    assert re.search(r"drag 0\.(5|49999)\d* N \[", said) and "90 % interval for a run" in said
    assert all(f"profile[{i}]" in said for i in (0, 9, 19)) and "profile[1]" not in said
    assert "profile has 20 numbers, 9 are shown; --json or --output FILE gives all." in said
    assert "The point is inside the data." in said
    far = call("predict", saved, "--at", "a=1", "--at", "k=3", "--at", "metal=copper", "--joint", "--of", "mean").said
    assert "The point is outside the data: do not believe the interval." in far and "90 % simultaneous interval for the mean" in far


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet"])
def test_a_table_of_points(call, saved, tmp_path, name):
    """What the table had, then answer and ends of every number; a name that is taken says whose it is."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / "points.csv").write_text("id,a,k,metal,drag\nfirst,0.25,2,steel,0.5\nsecond,1.0,3,copper,3\n")
    done = call("predict", saved, "--table", tmp_path / "points.csv", "--output", tmp_path / name)
    assert done.code == 0 and "1 of 2 points are outside the data" in done.said and f"2 answers in {tmp_path / name}" in done.out
    from mlforhpc.store.sheet import read_sheet

    sheet = read_sheet(tmp_path / name)
    assert sheet.titles[:9] == ["id", "a", "k", "metal", "drag", "surrogate.drag", "drag.lower", "drag.upper", "profile[0]"]
    assert len(sheet.titles) == 5 + 3 + 60 + 1 and list(sheet.columns["inside"]) == ["true", "false"]
    p = ml.load(saved).predict(np.array([[0.25, 2, 0], [1.0, 3, 1]]))
    assert np.array_equal(sheet.numbers("surrogate.drag"), p.mean["drag"])
    assert np.array_equal(sheet.numbers("profile[7].lower"), p.lower["profile"][:, 7])


def test_many_points_for_a_person(call, saved, tmp_path):
    """Twenty of them, and the way to the rest."""
    with (tmp_path / "points.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "k", "metal"], *([0.2 + i / 200, 2, "steel"] for i in range(30))])
    said = call("predict", saved, "--table", tmp_path / "points.csv").said
    assert "20 of 30 points are shown; --json or --output FILE gives all." in said and "All points are inside the data." in said
    assert all(title in said for title in ("a (m)", "k", "metal", "drag (N)", "profile", "data")) and said.count("inside") == 21


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give one of the two"),
        ((*AT, "--table", "points.csv"), "give one of the two"),
        (AT[:4], "Parameter 'metal' is missing"),
        (("--at", "a", *AT), "A point is spelt --at NAME=VALUE for each of a, k, metal; found 'a'"),
        (("--at", "a=0.1", *AT), "Parameter 'a' was given twice"),
        (("--at", "b=1", *AT), "Unknown parameter 'b'"),
        (("--at", "a=2", *AT[2:]), "Parameter 'a' must be a number in [0, 1] m, found 2.0"),
        (("--at", "a=big", *AT[2:]), "must be a number in [0, 1] m, found 'big'"),
        (("--at", "a=nan", *AT[2:]), "must be a number in [0, 1] m, found nan"),
        (("--at", "k=1.5", *AT[:2], *AT[4:]), "must be a whole number in [1, 3], found 1.5"),
        (("--at", "metal=stel", *AT[:4]), "Did you mean 'steel'?"),
        ((*AT, "--coverage", "1.5"), "Coverage must lie between 0 and 1"),
        ((*AT, "--output", "/nowhere/a.csv"), "cannot be written"),
        ((*AT, "--output", "a.txt"), "ends with .csv or .parquet"),
        (("--table", "{folder}/none.csv"), "no such file"),
        (("--table", "{folder}/few.csv"), "has no column 'metal' (a parameter)"),
        (("--table", "{folder}/far.csv"), "line 3: Parameter 'a' must be a number in [0, 1] m, found 7"),
        (("--table", "{folder}/gap.csv"), "line 2, column 'k': wanted a value, found nothing"),
    ],
)
def test_bad_usage_is_a_sentence(call, saved, tmp_path, words, sentence):
    """Exit code 2, wanted, found, way out."""
    (tmp_path / "few.csv").write_text("a,k\n0.1,1\n")
    (tmp_path / "far.csv").write_text("a,k,metal\n0.1,1,steel\n7,1,steel\n")
    (tmp_path / "gap.csv").write_text("a,k,metal\n0.1,,steel\n")
    done = call("predict", saved, *(word.format(folder=tmp_path) for word in words))
    assert done.code == 2 and sentence in done.said and "Traceback" not in done.said


def test_a_file_that_is_no_surrogate(call, saved, tmp_path):
    """A missing one is bad usage, a damaged one is exit code 3."""
    assert call("predict", tmp_path / "none.safetensors", *AT).code == 2
    assert call("predict", tmp_path, *AT).code == 2
    (tmp_path / "torn.safetensors").write_bytes(saved.read_bytes()[:300])
    done = call("predict", tmp_path / "torn.safetensors", *AT)
    assert done.code == 3 and "not a complete safetensors file" in done.said
