"""A slot: one child process in its own process group, its socket, its lifeline and its progress word.

The progress word (8 bytes of shared memory) holds the number of the task that the child is at, so that a death is
blamed on the right call of a batch. Nothing here waits or locks; the owner does.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import mlforhpc
from mlforhpc.core.clock import Clock
from mlforhpc.core.task import Call
from mlforhpc.engines._devices import DEVICES
from mlforhpc.engines._keeper import descendants
from mlforhpc.engines._line import Line
from mlforhpc.engines._steps import end_steps
from mlforhpc.engines._threads import environment
from mlforhpc.engines._wire import REPORTS, Hello, Report, Run, frame

_START = "import sys; sys.path.insert(0, sys.argv[1]); from mlforhpc.engines._child import main; main()"
_ROOT = str(Path(mlforhpc.__file__).parent.parent)
_TASK = struct.Struct("<Q")
_MOST_FUNCTIONS = 500
_RANKS_OWN = ("PMI_", "PMIX_", "OMPI_", "HYDI_", "HYDRA_", "MPI_LOCAL")

_LIFELINES: set[int] = set()


def _let_go() -> None:
    """In a process forked from the driver: it must not keep the slots alive."""
    while _LIFELINES:
        os.close(_LIFELINES.pop())


os.register_at_fork(after_in_child=_let_go)


class Slot:
    """One child process, to be started (and started again) with `spawn`.

    Args:
        name: in results and trace.
        folder: for large results.
        clock: the driver's.
        log: file that gets the child's output; None = the driver's own output.
        devices: GPUs of its own.
    """

    def __init__(self, name: str, folder: Path, clock: Clock, log: Path | None = None, devices: Sequence[str] = ()) -> None:
        self.name = name
        self.devices = devices
        self._folder = folder
        self._clock = clock
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the child; frames may be sent at once."""
        ours, theirs = socket.socketpair()
        self.line: Line[Report] = Line(ours, REPORTS)
        lifeline, self._lifeline = os.pipe()
        _LIFELINES.add(self._lifeline)
        word = _shared_word()
        self._progress = mmap.mmap(word, _TASK.size)
        fds = (theirs.fileno(), lifeline, word)
        with contextlib.ExitStack() as stack:
            stack.callback(theirs.close)
            stack.callback(os.close, lifeline)
            stack.callback(os.close, word)
            log = stack.enter_context(self._log.open("ab")) if self._log else None
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, _ROOT, *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                process_group=0,  # no new session: Linux schedules each as one party, and the driver would starve beside ours
                env={**_environment(), **({DEVICES: ",".join(self.devices)} if self.devices else {})},
            )
        self.pidfd = os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None
        self._known: set[str] = set()
        self._gang = False
        self._sys_path = list(sys.path)
        self.line.post(frame(Hello(self._sys_path, self._clock.offset_ns, str(self._folder), self.name)))

    @property
    def alive(self) -> bool:
        """Whether a child was started and not reaped yet."""
        return self._process is not None

    @property
    def task(self) -> int:
        """The task that the child is at, or was at last; 0 before the first."""
        return int(_TASK.unpack_from(self._progress)[0])

    def send(self, calls: Sequence[Call], *, cores: int, ranks: int, announce: bool) -> bool:
        """Send calls to run in order; False if some of it must wait for `line.flush`."""
        self._gang = self._gang or ranks > 1
        forget = len(self._known) > _MOST_FUNCTIONS
        if forget:
            self._known.clear()
        new = {c.function.reference: c.function.pickled for c in calls if c.function.pickled and c.function.reference not in self._known}
        self._known.update(new)
        changed = list(sys.path) if sys.path != self._sys_path else None
        self._sys_path = changed or self._sys_path
        data = [(c.task, c.function.reference, c.arguments) for c in calls]
        return self.line.post(frame(Run(data, cores, ranks, announce, forget, new, changed)))

    def kill(self) -> None:
        """End the child's whole process group now, and what its task has put into other groups; `reap` follows."""
        if self._process is not None:
            elsewhere = descendants(self._process.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for pid in elsewhere:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def hang_up(self) -> None:
        """Ask an idle child to end by itself."""
        with contextlib.suppress(OSError):
            self.line.socket.shutdown(socket.SHUT_WR)

    def reap(self, grace_s: float = 0.0) -> str:
        """Give the child `grace_s` to end, end what is left of its group, release everything; how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "was not running"
        if grace_s > 0 and hasattr(os, "waitid"):
            _await_exit(process.pid, grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # before wait(): until then nobody else can get this group's number
        code = process.wait()
        if self._gang:
            end_steps(process.pid)
        self.line.close()
        _LIFELINES.discard(self._lifeline)
        os.close(self._lifeline)
        self._progress.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
        return f"was ended by signal {_signal_name(-code)}" if code < 0 else f"ended by itself with exit code {code}"


def _environment() -> dict[str, str]:
    """Ours, with one thread, and without what makes a rank of an MPI job one: a simulation with MPI in it begins a job of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_RANKS_OWN)} | environment(1)


def _shared_word() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("mlforhpc-slot")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _TASK.size)
    return fd


def _await_exit(pid: int, grace_s: float) -> None:
    end = time.monotonic() + grace_s
    while time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
        time.sleep(0.005)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
