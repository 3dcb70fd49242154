"""`mlforhpc surrogate`: own simulations and tables, from the command to the run folder; what a person sees, and every way to fail."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mlforhpc as ml
from mlforhpc.core import document
from mlforhpc.core.document import ResultDocument
from mlforhpc.core.manifest import Manifest
from mlforhpc.store import FolderStore

SERIAL = ("--engine", "serial")
KEPT = (*SERIAL, "--validation-runs", 4)
SPACE = ("--parameter", "a=0:1:m", "--parameter", "b=1:2")


def folder_of(done) -> Path:
    """The run folder that `--json` names."""
    return Path(done.json["folder"])


def keys_run(folder: Path) -> list[str]:
    """Store keys of the simulations that ended well, once for each time they ran."""
    events = []
    for line in (folder / "events.jsonl").read_text().splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # torn by a kill
    keys = {e["task"]: e["key"] for e in events if e["e"] == "submitted" and e["kind"] == "simulate"}
    return [keys[e["task"]] for e in events if e["e"] == "finished" and e["outcome"] == "ok" and e["task"] in keys]


def table(folder: Path, rows: int = 16, name: str = "runs.csv") -> Path:
    """Runs of y = a b and a profile of three numbers, one of them failed."""
    rng = np.random.default_rng(0)
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "y", "p0", "p1", "p2"])
        for i in range(rows):
            a, b = rng.random(), 1 + rng.random()
            writer.writerow([a, b, *(["", "", "", ""] if i == 3 else [a * b, a, a + b, b])])
    return folder / name


def test_a_plain_function_becomes_a_run_folder(call, wave, tmp_path):
    """The folder of a benchmark's run, a surrogate that answers, the error of held-out runs, and a manifest that says what was asked."""
    done = call(
        "surrogate", f"{wave}:wave", *SPACE, "--outputs", "y:N:scale=1", "--budget", 16, "--validation-runs", 8, *SERIAL,
        "--into", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    folder = folder_of(done)
    names = {path.name for path in folder.iterdir()}
    assert {"manifest.json", "events.jsonl", "store", "result.json", "artifacts", "report.html", "log.txt"} <= names
    loaded = ml.load(folder)
    assert abs(float(loaded.predict(np.array([[0.5, 1.5]])).mean["y"][0]) - 1.25) < 1e-3
    result = document.decode((folder / "result.json").read_bytes(), ResultDocument).result
    assert (result.verdict.status, result.verdict.target, result.verdict.ranked) == ("VALID", None, False)
    assert "no tolerance was given" in result.verdict.reason and "8 held-out runs" in result.verdict.reason
    assert result.headline["error q"].value < 1e-3 and result.quality["checked_runs"] == 8
    assert {figure.name for figure in result.figures} == {"parity", "coverage", "errors", "sensitivity"}
    assert {t.name for t in result.tables} == {"parameters", "outputs", "surrogate", "cost", "sensitivity"}
    manifest = document.decode((folder / "manifest.json").read_bytes(), Manifest)
    assert (manifest.benchmark, manifest.size, manifest.benchmark_class) == ("surrogate-wave", "16 runs", "own-simulation")
    assert manifest.configuration["budget"] == "16" and manifest.configuration["parameter"] == "a=0:1:m; b=1:2"


def test_the_reported_error_can_be_calculated_again(call, wave, tmp_path):
    """From artifacts/quality.npz alone: the root of the mean square of p - r over the declared scale of 1."""
    words = ("--budget", 12, "--validation-runs", 6, *SERIAL, "--into", tmp_path, "--json")
    done = call("surrogate", f"{wave}:made", *words)
    arrays = np.load(folder_of(done) / "artifacts" / "quality.npz")
    q = float(np.sqrt(np.mean((arrays["y.p"] - arrays["y.r"]) ** 2)))
    assert done.json["quality"]["q"] == pytest.approx(q) and len(arrays["y.r"]) == 6
    assert np.allclose(arrays["y.r"], arrays["x"][:, 0] * (arrays["x"][:, 1] + 1))


def test_what_a_person_sees(call, wave, tmp_path):
    """Verdict, error, where the files are, and the command that asks the surrogate - which works as it stands."""
    done = call("surrogate", f"{wave}:made", "--budget", 8, *SERIAL, "--into", tmp_path)
    assert done.code == 0
    for words in ("✓ VALID", "error q", "8 runs left out of the fit in turn", "report:", "surrogate:"):
        assert words in done.said
    ask = next(line for line in done.out.splitlines() if line.startswith("ask it:")).split("mlforhpc ")[1].split()
    answer = call(*ask)
    assert answer.code == 0 and "inside the data" in answer.out


def test_failed_runs_are_told(call, wave, tmp_path):
    """Where, how many, and why: on the terminal and in the report."""
    words = ("--outputs", "s,p[4]", "--budget", 16, "--validation-runs", 4, *SERIAL, "--into", tmp_path)
    done = call("surrogate", f"{wave}:pair", *SPACE, *words)
    assert done.code == 0 and re.search(r"Without outputs: \d of 16 runs, at a 0\.[789]", done.said) and "the solver diverged" in done.said
    (folder,) = tmp_path.glob("*surrogate-pair*")
    page = (folder / "report.html").read_text()
    assert "Runs without outputs" in page and "FloatingPointError: the solver diverged" in page


@pytest.mark.parametrize(("tolerance", "code", "status"), [(0.2, 0, "VALID"), (1e-12, 1, "INVALID")])
def test_a_tolerance_gives_the_verdict_and_the_exit_code(call, wave, tmp_path, tolerance, code, status):
    """The one-sided upper limit of the error against it; INVALID is exit code 1, with the reason."""
    done = call("surrogate", f"{wave}:made", "--budget", 12, "--tolerance", tolerance, *KEPT, "--into", tmp_path, "--json")
    verdict = done.json["verdict"]
    assert (done.code, verdict["status"], verdict["target"]) == (code, status, tolerance) and not verdict["ranked"]
    assert "4 held-out runs" in verdict["reason"] and f"target {tolerance:g}" in verdict["reason"]


def test_an_executable_from_toml(call, tmp_path):
    """A shell script in two slots: every run's area is pi r^2, and so is the surrogate's."""
    (tmp_path / "disc.sh").write_text('read r < "$1"; awk -v r="$r" \'BEGIN { printf "area = %.12g\\n", 3.141592653589793 * r * r }\'\n')
    (tmp_path / "in.template").write_text("{radius}\n")
    (tmp_path / "disc.toml").write_text(
        'name = "disc"\ncommand = ["sh", "disc.sh", "in.txt"]\nlimit_s = 10\n[templates]\n"in.txt" = "in.template"\n'
        '[parameters]\nradius = { low = 1, high = 2, unit = "m" }\n[outputs]\narea = { pattern = \'area = (\\S+)\', unit = "m2" }\n'
    )
    done = call(
        "surrogate", tmp_path / "disc.toml", "--budget", 12, "--validation-runs", 4, "--slots", 2, "--into", tmp_path / "runs", "--json"
    )
    assert done.code == 0, done.err
    with FolderStore.open(folder_of(done) / "store", read_only=True) as store:
        records = list(store.scan("disc"))
    assert len(records) == 16
    assert all(float(r.outputs["area"]) == pytest.approx(np.pi * r.parameters["radius"] ** 2) for r in records)
    answer = call("predict", folder_of(done), "--at", "radius=1.5", "--json").json["answers"][0]
    assert answer["outputs"]["area"]["mean"] == pytest.approx(np.pi * 2.25, rel=1e-3)


def test_report_cite_and_replay_work_on_the_folder(call, wave, tmp_path):
    """As on a benchmark's: one page, the simulation's references, every decision again - without the file it came from."""
    done = call("surrogate", f"{wave}:made", "--budget", 10, *KEPT, "--into", tmp_path, "--json")
    wave.unlink()
    folder = folder_of(done)
    assert call("report", folder, "--output", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").read_text() == (folder / "report.html").read_text()
    assert "Somebody, Waves, 2020" in call("cite", folder).out
    rows = call("replay", folder, "--json")
    assert rows.code == 0 and [r["decision"] for r in rows.json] == ["strategy", "ask", "learned"]


@pytest.mark.system
def test_replay_asks_our_simulations_what_runs_cost(call, tmp_path):
    """Active learning chose by the costs that the slit's simulation tells; its decisions come out the same."""
    slit = tmp_path / "slit.py"
    slit.write_text("from mlforhpc.simulations import nanoconfinement\n\nmade = nanoconfinement.create()\n")
    how = ("--fidelity", 0.0005, "--strategy", "variance", "--learner", "gaussian_process")
    done = call("surrogate", f"{slit}:made", "--budget", 26, *how, *SERIAL, "--validation-runs", 1, "--into", tmp_path, "--json")
    assert done.code == 0, done.err
    rows = call("replay", folder_of(done), "--json").json
    assert all(r["same"] for r in rows) and sum(r["decision"] == "ask" for r in rows) > 1


def test_a_table_is_learned_and_replayed(call, tmp_path):
    """16 rows, one of them failed; bounds from the data and said so; a profile; the runs are kept in the folder's store."""
    done = call("surrogate", "--table", table(tmp_path), "--outputs", "y,profile=p0..p2", *KEPT, "--into", tmp_path / "runs", "--json")
    assert done.code == 0, done.err
    assert any(note.startswith("Bounds from the data") for note in done.json["notes"])
    loaded = ml.load(folder_of(done))
    answer = loaded.predict(np.array([[0.5, 1.5]]))
    assert float(answer.mean["y"][0]) == pytest.approx(0.75, abs=0.01)
    assert answer.mean["profile"][0] == pytest.approx([0.5, 2.0, 1.5], abs=0.01)
    assert done.json["quality"]["training_runs"] == 11 and "S(infinity)" not in done.json["headline"]
    replayed = call("replay", folder_of(done), "--json")
    assert replayed.code == 0 and [r["same"] for r in replayed.json] == [True]
    page = (folder_of(done) / "report.html").read_text()
    assert "Bounds from the data" in page and "Surrogate against simulation" in page and "Arrays" in page


def test_rows_can_be_set_aside(call, tmp_path):
    """5 of the 15 good rows are not fitted and check the surrogate."""
    words = ("--outputs", "y", "--parameters", "a,b", "--validation-runs", 5, *SERIAL, "--into", tmp_path / "runs", "--json")
    done = call("surrogate", "--table", table(tmp_path), *words)
    assert done.json["quality"]["training_runs"] == 10 and done.json["quality"]["checked_runs"] == 5
    assert "5 held-out runs" in done.json["verdict"]["reason"]


def test_an_exported_store_is_a_table(call, wave, tmp_path):
    """What one run simulated is learned again from its export: the same runs, under the same keys, give the same answers."""
    first = folder_of(call("surrogate", f"{wave}:made", "--budget", 12, *KEPT, "--into", tmp_path / "runs", "--json"))
    assert call("store", "export", first / "store", tmp_path / "all.csv").code == 0
    words = ("--outputs", "y", "--parameter", "a=0:1:m", "--parameter", "b=1:2", *KEPT, "--into", tmp_path / "runs", "--json")
    again = folder_of(call("surrogate", "--table", tmp_path / "all.csv", *words))
    x = np.array([[0.2, 1.7], [0.9, 1.1]])
    assert np.allclose(ml.load(first).predict(x).mean["y"], ml.load(again).predict(x).mean["y"], rtol=1e-3)
    with FolderStore.open(first / "store", read_only=True) as a, FolderStore.open(again / "store", read_only=True) as b:
        assert {r.key for r in a.scan()} == {r.key for r in b.scan()}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "What to learn is said by SIMULATION"),
        (["{wave}:made", "--table", "runs.csv"], "give one of the two"),
        (["{wave}:made"], "How much may be simulated was not said: give --budget 60"),
        (
            ["{wave}:made", "--budget", "ten"],
            "budget must be a number of runs, at least 2, or slot time such as '10 core-min', found 'ten'",
        ),
        (["{wave}:made", "--budget", "1"], "at least 2"),
        (["{wave}:made", "--budget", "8", "--learner", "gaussian_proces"], "Did you mean 'gaussian_process'?"),
        (["{wave}:made", "--budget", "8", "--strategy", "sobl"], "Did you mean 'sobol'?"),
        (["{wave}:made", "--budget", "8", "--engine", "seral"], "Did you mean 'serial'?"),
        (["{wave}:made", "--budget", "8", "--se", "e"], "--se is for a table; leave it out"),
        (["{wave}:made", "--budget", "8", "--tolerance", "0"], "--tolerance"),
        (["{wave}:made", "--budget", "8", "--outputs", "y"], "leave out --parameter and --outputs"),
        (["{wave}:wave", "--budget", "8"], "plain function, whose parameters and outputs were not said"),
        (["{wave}:wave", "--budget", "8", "--parameter", "a=0:1", "--outputs", "y"], "needs an argument 'b'"),
        (["{wave}:wave", "--budget", "8", "--parameter", "a=1:0", "--outputs", "y"], "NAME=LOW:HIGH"),
        (["{wave}:wav", "--budget", "8"], "Did you mean 'wave'?"),
        (["nowhere.toml", "--budget", "8"], "cannot be opened"),
        (["--table", "{folder}/none.csv", "--outputs", "y"], "no such file"),
        (["--table", "{folder}/bad.csv", "--outputs", "y"], "line 3, column 'y': wanted a number, found 'x'"),
        (["--table", "{folder}/bad.csv"], "name them with --outputs"),
        (
            ["--table", "{folder}/bad.csv", "--outputs", "y", "--budget", "8"],
            "--budget is for a simulation, and a table has its runs already",
        ),
        (["--table", "{folder}/one.csv", "--outputs", "y"], "at least 2 runs with outputs, found 1 of 2"),
        (["--resume", "{folder}"], "is no run folder that can be resumed"),
    ],
)
def test_bad_usage_is_a_sentence_and_leaves_nothing(call, wave, tmp_path, words, sentence):
    """Exit code 2, wanted, found, way out, no traceback, and no folder."""
    (tmp_path / "bad.csv").write_text("a,y\n1,2\n2,x\n")
    (tmp_path / "one.csv").write_text("a,y\n1,2\n2,\n")
    done = call("surrogate", *(word.format(wave=wave, folder=tmp_path) for word in words), "--into", tmp_path / "runs")
    assert done.code == 2 and sentence in done.said and "Traceback" not in done.said
    assert not list((tmp_path / "runs").glob("*"))


def test_a_simulation_that_always_fails_says_why_and_keeps_its_runs(call, wave, tmp_path):
    """No two runs with outputs: exit code 2 with the commonest reason; the failed runs stay in the folder."""
    space = ("--parameter", "a=0.8:1", "--parameter", "b=1:2")
    done = call("surrogate", f"{wave}:pair", *space, "--outputs", "s,p[4]", "--budget", 4, *SERIAL, "--into", tmp_path / "runs")
    assert done.code == 2 and "found 0 of 4" in done.said and "the solver diverged" in done.said
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"What was simulated is kept in {folder}." in done.err
    with FolderStore.open(folder / "store", read_only=True) as store:
        assert [r.outcome for r in store.scan()] == ["failed"] * 4


SLOW = "import time\nimport mlforhpc as ml\ndef slow(a, b):\n    time.sleep(0.1)\n    return a + b\n"
SLOW += "sim = ml.simulation(slow, space=ml.Space(a=ml.Real(0, 1), b=ml.Real(0, 1)), outputs='y')\n"


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_run_goes_on(call, tmp_path, how, code):
    """Ctrl-C ends cleanly and says how to go on; after that, and after kill -9, no finished simulation runs twice."""
    (tmp_path / "cli_slow.py").write_text(SLOW)
    words = [
        "surrogate",
        str(tmp_path / "cli_slow.py"),
        "--budget",
        "24",
        "--validation-runs",
        "2",
        "--slots",
        "2",
        "--into",
        str(tmp_path / "runs"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlforhpc", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        found := [f for f in (tmp_path / "runs").glob("*/events.jsonl") if len(keys_run(f.parent)) > 3]
    ):
        time.sleep(0.02)
    os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()
    _out, err = process.communicate(timeout=30)
    folder = found[0].parent
    assert process.returncode == code and "Traceback" not in err
    assert how != signal.SIGINT or f"mlforhpc surrogate --resume {folder}" in err
    before = keys_run(folder)
    assert 3 < len(before) < 24
    other = call(*words[:2], "--budget", 25, "--resume", folder)
    assert other.code == 2 and "was begun with budget 24, found 25" in other.said
    done = call(*words, "--resume", folder, "--json")
    assert done.code == 0, done.err
    assert sorted(keys_run(folder)) == sorted(set(keys_run(folder))) and len(keys_run(folder)) == 26
    assert folder_of(call("surrogate", "--resume", folder, "--json")) == folder_of(call("run", "--resume", folder, "--json")) == folder


def test_a_changed_simulation_is_another_one(call, tmp_path):
    """A run is never finished with another version of the function than it was begun with."""
    (tmp_path / "cli_line.py").write_text("def line(a):\n    return 2 * a\n")
    words = (f"{tmp_path / 'cli_line.py'}:line", "--parameter", "a=0:1", "--outputs", "y", "--budget", 6, *KEPT)
    folder = folder_of(call("surrogate", *words, "--into", tmp_path, "--json"))
    (folder / "result.json").unlink()
    (tmp_path / "cli_line.py").write_text("def line(a):\n    return 3 * a\n")
    done = call("surrogate", "--resume", folder)
    assert done.code == 2 and "it was changed since" in done.said


def test_a_changed_table_is_another_one(call, tmp_path):
    """The same of a table: its content is part of the configuration."""
    path = table(tmp_path)
    folder = folder_of(call("surrogate", "--table", path, "--outputs", "y", "--parameters", "a,b", *KEPT, "--into", tmp_path, "--json"))
    (folder / "result.json").unlink()
    assert call("surrogate", "--resume", folder, "--json").code == 0
    path.write_text(path.read_text().replace("0.6", "0.7"))
    done = call("surrogate", "--resume", folder)
    assert done.code == 2 and "was begun with content of the table" in done.said


def test_a_tolerance_alone_decides_how_many_runs(call, wave, tmp_path):
    """No budget: it simulates until runs left out show the tolerance, foresees nothing false, and the verdict is the last look's."""
    done = call("surrogate", f"{wave}:made", "--tolerance", 0.05, "--into", tmp_path, "--json")
    result = document.decode((folder_of(done) / "result.json").read_bytes(), ResultDocument).result
    assert done.code == 0 and result.verdict.status == "VALID" and "the tolerance was reached" in result.verdict.reason
    (course,) = [t for t in result.tables if t.name == "course"]
    assert course.rows[-1][2] <= 0.05 and "tolerance 0.05 reached" in course.caption
