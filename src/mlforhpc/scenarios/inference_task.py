"""The task that serves one surrogate by one backend, or through the server: a folder, a process in it, and what came out.

Nothing of it needs a folder that driver and worker share, so it runs on any engine and any host.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlforhpc.scenarios import inference_child, inference_http
from mlforhpc.scenarios.inference_job import HTTP, JOB, OUTCOME, SURROGATE, Job, Outcome, read, write

BACK = ("*/mlperf_log_summary.txt", "*/mlperf_log_detail.txt", SURROGATE)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a task brings back: the outcome; LoadGen's logs and the surrogate, by their path below the process's folder."""

    outcome: Outcome
    files: Mapping[str, bytes]


def serve(job: Job, files: Mapping[str, bytes]) -> Reply:
    """One process that serves and is driven; `files` are put into its folder.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    child = inference_http if job.backend == HTTP else inference_child
    with tempfile.TemporaryDirectory(prefix="mlforhpc-infer-") as place:
        folder = Path(place)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        write(folder / JOB, job)
        one_thread = dict.fromkeys(_THREADS, "1")
        command = [sys.executable, "-m", child.__name__, str(folder)]
        ended = subprocess.run(command, env={**os.environ, **one_thread}, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(f"The process that serves by '{job.backend}' ended with {ended.returncode}: {ended.stderr[-2000:]}")
        back = {str(path.relative_to(folder)): path.read_bytes() for pattern in BACK for path in sorted(folder.glob(pattern))}
        return Reply(outcome=read(folder / OUTCOME, Outcome), files=back)
