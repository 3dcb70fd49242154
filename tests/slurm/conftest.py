"""Slurm for real, on one node: munged, slurmctld and slurmd as children of the test session, with keys, ports and state of their own.

They end with the session (the daemons also after `kill -9` of it), need root, and touch no other Slurm of this machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CORES = 2  # of the node, whatever the machine has, so that two tests see the same queue
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmi2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
EnforcePartLimits=ALL
ReturnToService=2
OverTimeLimit=0
KillWait=5
InactiveLimit=0
SlurmctldTimeout=30
SlurmdTimeout=30
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory_mb} State=UNKNOWN
PartitionName=compute Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """The running Slurm, and what tests do with it.

    Attributes:
        folder: its configuration, state and logs.
        scripts: where jobs are submitted and write what they say.
    """

    folder: Path
    scripts: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def submit(self, *words: object, script: str | None = None) -> int:
        """sbatch with these words; the script is a text. The job's number."""
        if script is not None:
            path = self.scripts / f"script-{time.monotonic_ns()}.sh"
            path.write_text(script)
            words = (*words, path)
        said = run("sbatch", "--parsable", "--output=%j.out", "--error=%j.err", *words, cwd=self.scripts)
        return int(said.split(";")[0])

    def facts(self, job: int) -> dict[str, str]:
        """What Slurm says of a job, running or over: JobState, ExitCode, EndTime, ..."""
        words = run("scontrol", "show", "job", job, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def running(self, *jobs: int) -> None:
        """Wait until they run."""
        until(lambda: all(self.facts(job)["JobState"] == "RUNNING" for job in jobs), 60, f"jobs {jobs} run")

    def wait(self, job: int, timeout_s: float = 60) -> dict[str, str]:
        """Facts of a job once it is over."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        until(lambda: self.facts(job)["JobState"] in over, timeout_s, f"job {job} is over")
        return self.facts(job)

    def end_soon(self, job: int) -> None:
        """Let a running job meet its time limit within half a minute: limits are whole minutes, but a running job's can be cut."""
        run("scontrol", "update", f"JobId={job}", "TimeLimit=0")

    def cancel(self, job: int) -> None:
        run("scancel", job)

    def until(self, true: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for something that this process is not told of."""
        until(true, timeout_s, what)

    def jobs(self) -> list[int]:
        """Numbers of the jobs that wait or run."""
        return [int(line) for line in run("squeue", "--noheader", "--format=%i").split()]

    def said(self, job: int) -> str:
        """What a job wrote, output and errors."""
        return "".join(path.read_text() for path in (self.scripts / f"{job}.{end}" for end in ("out", "err")) if path.exists())

    def logs(self) -> str:
        """The daemons' logs, for a failure."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def run(*words: object, cwd: Path | None = None) -> str:
    """A command's output; its errors are the failure."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def until(true: Callable[[], object], timeout_s: float, what: str) -> None:
    """Wait for something that this process is not told of."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s until {what}")
        time.sleep(0.1)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm of one node with two cores, idle; `SLURM_CONF` and `PATH` are set for everything that is started from here."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name, path=_path()) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's slurmctld, slurmd, slurm-client, munge; missing: {', '.join(missing) or 'root'}")
    folder = tmp_path_factory.mktemp("slurm")
    made = Slurm(folder=folder, scripts=tmp_path_factory.mktemp("jobs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", _path())
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in (os.environ.get("PYTHONPATH", ""), str(made.scripts)) if path))
        try:
            _start(made)
            yield made
        finally:
            _stop(made)


@pytest.fixture(autouse=True)
def idle(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing of one test is left in the queue of the next."""
    yield
    if "slurm" in request.fixturenames:
        _clear(request.getfixturevalue("slurm"))


def _path() -> str:
    """The environment's scripts and the daemons, before everything else."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin", "/usr/bin"])


def _start(slurm: Slurm) -> None:
    folder = slurm.folder
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(host=host, ports=_free_ports(2), folder=folder, cores=CORES, memory_mb=memory_mb)
    (folder / "slurm.conf").write_text(text)
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    _daemon(slurm, "munged", "--foreground", "--force", *(f"--{option}={folder / name}" for option, name in files.items()))
    until((folder / "munge.socket").exists, 20, "munged listens")
    _daemon(slurm, "slurmctld", "-D")
    _daemon(slurm, "slurmd", "-D")
    with contextlib.suppress(TimeoutError):
        until(lambda: "idle" in _node_state(), 60, "the node is idle")
    if "idle" not in _node_state():
        raise RuntimeError(f"Slurm did not come up:\n{slurm.logs()}")


def _daemon(slurm: Slurm, *words: object) -> None:
    """Start a daemon in a process group of its own, so that Ctrl-C reaches it last; it dies with this process."""
    log = slurm.folder / f"{words[0]}.log"
    libc = ctypes.CDLL(None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=lambda: libc.prctl(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
        )
    slurm.daemons.append(process)


def _node_state() -> str:
    done = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, timeout=30)
    return done.stdout


def _clear(slurm: Slurm) -> None:
    """End every job, and wait until they are gone."""
    run("scancel", "--user=root")
    until(lambda: not slurm.jobs(), 60, "the queue is empty")


def _stop(slurm: Slurm) -> None:
    with contextlib.suppress(RuntimeError, TimeoutError, subprocess.TimeoutExpired):
        _clear(slurm)
    for process in reversed(slurm.daemons):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
