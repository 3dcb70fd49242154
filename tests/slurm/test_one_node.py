"""The one-node Slurm of these tests itself: it answers, runs, cancels, limits and refuses like a large one."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.system


def test_srun_answers(slurm):
    """A command runs on the node, and its output comes back."""
    done = subprocess.run(["srun", "-n", "2", "bash", "-c", "echo rank $SLURM_PROCID"], capture_output=True, text=True, timeout=60)
    assert sorted(done.stdout.splitlines()) == ["rank 0", "rank 1"], done.stderr


def test_a_batch_script_runs_with_the_environment_of_whoever_submits(slurm, monkeypatch):
    """sbatch runs it, keeps what it says, and its exit code."""
    monkeypatch.setenv("TOLD", "by the submitter")
    job = slurm.submit(script="#!/bin/bash\necho $SLURM_JOB_ID $TOLD\nexit 3\n")
    facts = slurm.wait(job)
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "3:0")
    assert slurm.said(job) == f"{job} by the submitter\n"


def test_two_jobs_share_the_node_and_a_third_waits(slurm):
    """Cores are what is allocated: two jobs of one core run at once, a third does not."""
    jobs = [slurm.submit("--cpus-per-task=1", script="#!/bin/bash\nsleep 60\n") for _ in range(3)]
    slurm.running(*jobs[:2])
    assert slurm.facts(jobs[2])["JobState"] == "PENDING"


def test_scancel_ends_a_job(slurm):
    """A running job is gone at once, and its state says why."""
    job = slurm.submit(script="#!/bin/bash\nsleep 60\n")
    slurm.running(job)
    slurm.cancel(job)
    assert slurm.wait(job)["JobState"] == "CANCELLED"


def test_a_job_meets_its_time_limit(slurm):
    """SIGTERM to what it runs, then the end; the state says why."""
    job = slurm.submit("--time=1", script="#!/bin/bash\nsleep 600\n")
    slurm.running(job)
    slurm.end_soon(job)
    assert slurm.wait(job, timeout_s=90)["JobState"] == "TIMEOUT"


def test_a_job_of_two_nodes_is_refused(slurm):
    """There is one node; sbatch says so instead of queueing for ever."""
    with pytest.raises(RuntimeError, match="Batch job submission failed"):
        slurm.submit("--nodes=2", script="#!/bin/bash\nhostname\n")
