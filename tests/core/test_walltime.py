"""How long a process may run: its spelling, the Slurm job's end, and the stop before it."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from mlforhpc.core.errors import Stopped, UsageError
from mlforhpc.core.walltime import left_in_job_s, margin_s, seconds, stopping


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        *(("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("0.5h", 1800), (" 2H ", 7200)),
        *(("90", 5400), ("1:30", 90), ("1:30:00", 5400), ("2-12", 216000), ("1-00:30", 88200), ("1-12:00:01", 129601)),
    ],
)
def test_a_walltime_is_spelt_with_units_or_as_in_slurm(text, expected_s):
    """Our units, and each of Slurm's six forms; worked out by hand."""
    assert seconds(text) == expected_s


@pytest.mark.parametrize("text", ["", "0", "0s", "soon", "1:2:3:4", "-5", "5 s m", "1-", "h"])
def test_anything_else_is_refused(text):
    """With a sentence that shows how."""
    with pytest.raises(UsageError, match="is spelt 90s, 30m"):
        seconds(text)


def test_the_margin_is_5_percent_or_30_seconds():
    """A short job keeps most of its time, a long one ends half a minute early."""
    assert (margin_s(60), margin_s(600), margin_s(86400)) == (3, 30, 30)


def test_the_end_of_the_slurm_job_is_found_in_its_environment():
    """SLURM_JOB_END_TIME is in seconds since the epoch; outside of a job there is no end."""
    left_s = left_in_job_s({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": str(int(time.time()) + 100)})
    assert left_s is not None and 98 < left_s <= 100
    assert left_in_job_s({"SLURM_JOB_END_TIME": "100"}) is None


def test_a_slurm_that_does_not_answer_means_no_end():
    """Neither the variable nor a command `squeue`: the run is not refused, it just is not stopped by us."""
    assert left_in_job_s({"SLURM_JOB_ID": "7", "PATH": "/nowhere"}) is None


def test_the_walltime_interrupts_a_wait_a_little_early():
    """Of 1 s, 0.05 s are the margin; a wait without end is left by `Stopped`, a kind of KeyboardInterrupt."""
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="The walltime ends") as caught, stopping(1.0):
        threading.Event().wait()
    assert 0.9 <= time.monotonic() - began < 2 and isinstance(caught.value, Stopped)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_once_and_the_cleaning_up_is_left_alone(number):
    """A second signal changes nothing; afterwards the process's own handlers are back."""
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"Stopped by {number.name}"), stopping(None):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(number) is before


def test_work_that_ends_in_time_is_not_stopped_later():
    """The timer ends with the work."""
    threads = threading.active_count()
    with stopping(60.0):
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
