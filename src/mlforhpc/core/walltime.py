"""Walltime: how long this process may run, by its user's word or its Slurm job's, and a clean stop shortly before the end.

    now ------------------------------ stop - margin - end        margin = min(30 s, 5 % of what is left)

The stop is a `Stopped` in the main thread, a kind of KeyboardInterrupt: whatever ends cleanly on Ctrl-C does so here.
SIGTERM and SIGUSR1 do the same: a batch system sends the first before SIGKILL, and the second if asked (`--signal`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from mlforhpc.core.errors import Stopped, UsageError

MARGIN_S = 30.0
MARGIN_SHARE = 0.05
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WITH_UNITS = re.compile(r"(\d+(?:\.\d+)?[smhd])+")
_WITH_DAYS = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?")
_WITH_COLONS = re.compile(r"(?:(\d+):)?(\d+):(\d+)")


def seconds(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`, `1h30m`, `1d`, and of Slurm's forms M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.

    Raises:
        UsageError: it is none of these, or nothing.
    """
    text = text.strip().lower()
    found = 0.0
    if _WITH_UNITS.fullmatch(text):
        found = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", text))
    elif text.isdigit():
        found = 60.0 * int(text)
    elif with_days := _WITH_DAYS.fullmatch(text):
        days, hours, minutes, rest = (int(part or 0) for part in with_days.groups())
        found = float(86400 * days + 3600 * hours + 60 * minutes + rest)
    elif with_colons := _WITH_COLONS.fullmatch(text):
        hours, minutes, rest = (int(part or 0) for part in with_colons.groups())
        found = float(3600 * hours + 60 * minutes + rest)
    if found <= 0:
        raise UsageError(
            f"A walltime is spelt 90s, 30m, 2h, 1:30:00 or 1-12:00:00 (a bare number is minutes, as in Slurm), found '{text}'."
        )
    return found


def left_in_job_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds until the Slurm job of this process ends; None outside of one, or if Slurm does not say."""
    job = environment.get("SLURM_JOB_ID")
    if job is None:
        return None
    said = environment.get("SLURM_JOB_END_TIME", "")
    if said.isdigit():  # newer versions set it; Debian's 22.05 does not
        return int(said) - time.time()
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    environment = {**environment, "SLURM_TIME_FORMAT": "standard"}
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env=environment)
        return datetime.fromisoformat(told.stdout.strip()).timestamp() - time.time()
    except (OSError, subprocess.SubprocessError, ValueError):  # no squeue here, no answer, or "N/A": no limit
        return None


def margin_s(left_s: float) -> float:
    """How long before the end a run stops, in s."""
    return min(MARGIN_S, MARGIN_SHARE * left_s)


@contextmanager
def stopping(walltime_s: float | None) -> Iterator[None]:
    """Within this, the end of the walltime, SIGTERM and SIGUSR1 raise `Stopped` in the main thread, once.

    Args:
        walltime_s: from now; None = only what the Slurm job says. The earlier of the two counts.
    """
    left_s = min((left for left in (walltime_s, left_in_job_s()) if left is not None), default=None)
    main = threading.main_thread().ident
    timed_out = threading.Event()

    def time_is_up() -> None:
        timed_out.set()
        if main is not None:
            signal.pthread_kill(main, signal.SIGUSR1)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:  # cleaning up is not stopped again
            signal.signal(each, signal.SIG_IGN)
        raise Stopped("The walltime ends" if timed_out.is_set() else f"Stopped by {signal.Signals(number).name}")

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    timer = threading.Timer(max(left_s - margin_s(left_s), 0.0), time_is_up) if left_s is not None else None
    try:
        if timer is not None:
            timer.daemon = True
            timer.start()
        yield
    finally:
        for each in _SIGNALS:  # the timer may be about to fire, and what it would stop is over
            signal.signal(each, signal.SIG_IGN)
        if timer is not None:
            timer.cancel()
            timer.join()
        for each, handler in before.items():
            signal.signal(each, handler)
