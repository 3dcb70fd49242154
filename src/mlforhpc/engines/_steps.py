"""Steps of a Slurm job that a gang's lead has started: they run on when srun is killed with -9, so they are cancelled by name."""

from __future__ import annotations

import os
import shlex
import subprocess

from mlforhpc.core.gang import step_name


def end_steps(pid: int) -> None:
    """Have the steps of this lead ended, in the background; nothing to do outside of a Slurm job."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    listed = f"squeue --noheader --steps --job={shlex.quote(job)} --format='%i %j'"
    named = f'while read -r step name; do [ "$name" = {shlex.quote(step_name(pid))} ] && scancel --signal=KILL "$step"; done'
    subprocess.run(["sh", "-c", f"({listed} | {named}) < /dev/null > /dev/null 2>&1 &"], check=False)
