"""Gangs in a Slurm job: the ranks are a step of it; they start together and die together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import mlforhpc as ml
from mlforhpc.core.choice import EngineChoice
from mlforhpc.core.errors import TaskError
from mlforhpc.core.gang import gang
from mlforhpc.core.task import Resources

pytestmark = pytest.mark.system
WAIT_S = 120.0
RANK = (
    "import os, pathlib, sys, time;"
    "p = pathlib.Path(sys.argv[1], 'rank-' + os.environ['SLURM_PROCID']); p.with_suffix('.part').write_text(str(os.getpid()));"
    "p.with_suffix('.part').rename(p); print(os.environ['SLURM_STEP_ID'], os.environ['SLURM_PROCID']); time.sleep(float(sys.argv[2]))"
)


def ranks(folder, seconds):
    """Start the gang; what each rank says."""
    words = gang().command([sys.executable, "-c", RANK, folder, str(seconds)])
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr}")
    return sorted(line.split() for line in done.stdout.splitlines())


def together(broker, folder):
    """Two ranks that end by themselves, then two that are cancelled; what the first said, how the second ended."""
    said = broker.submit("simulate", ranks, _made(folder / "first"), 0.0, resources=Resources(ranks=2)).result(WAIT_S)
    second = broker.submit("simulate", ranks, _made(folder / "second"), 600.0, resources=Resources(ranks=2))
    deadline = time.monotonic() + WAIT_S
    while not all((folder / "second" / f"rank-{i}").exists() for i in range(2)):
        assert not second.done() and time.monotonic() < deadline, second
        time.sleep(0.1)
    broker.cancel(second)
    try:
        second.result(WAIT_S)
    except TaskError as error:
        return said, error.outcome
    return said, "ok"


def holds(folder, said, outcome):
    """Both ranks were of one step; after the cancellation none is left."""
    assert [rank for _, rank in said] == ["0", "1"] and said[0][0] == said[1][0]
    assert outcome == "cancelled"
    pids = [int((folder / "second" / f"rank-{i}").read_text()) for i in range(2)]
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, "a rank outlived its gang"
        time.sleep(0.1)


def test_a_gang_in_a_job_of_ones_own(slurm, tmp_path):
    """Engine `processes` in a batch job of two cores."""
    script = f"#!/bin/bash\n#SBATCH --ntasks=1 --cpus-per-task=2\n{sys.executable} {__file__} {tmp_path}\n"
    job = slurm.submit(script=script)
    facts = slurm.wait(job, timeout_s=WAIT_S)
    assert facts["JobState"] == "COMPLETED", slurm.said(job)
    holds(tmp_path, *json.loads((tmp_path / "result.json").read_text()))


def test_a_gang_in_a_job_of_parsls(slurm, tmp_path):
    """Engine `parsl`: the lead runs in a worker of Parsl's job, its ranks are another step of that job."""
    options = {
        "provider": "slurm",
        "partition": "compute",
        "slots_per_node": 2,
        "cores_per_node": 2,
        "walltime": "00:10:00",
        "exclusive": False,
    }
    with ml.Campaign(tmp_path / "campaign", engine=EngineChoice(name="parsl", options=options)) as campaign:
        campaign.warm_up()
        said, outcome = together(campaign.broker, tmp_path)
        holds(tmp_path, said, outcome)


def _made(folder):
    folder.mkdir()
    return str(folder)


if __name__ == "__main__":  # in the batch job
    where = Path(sys.argv[1])
    with ml.Campaign(where / "campaign", engine="processes", slots=2) as campaign:
        result = together(campaign.broker, where)
    (where / "result.json").write_text(json.dumps(result))
    os._exit(0)
