"""The slot child: one process that runs calls one after another for the driver at the other end of its socket.

It ends when the socket is closed, and with its whole process group (the task's own subprocesses included) when the
driver dies: the kernel signals the group when the lifeline, a pipe that only the driver holds, is closed. That needs
no Python in the child, so it works while a task holds the interpreter lock.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from mlforhpc.core import gang
from mlforhpc.core.clock import Clock
from mlforhpc.core.task import Call, Function
from mlforhpc.engines._envelope import Envelope
from mlforhpc.engines._threads import Threads
from mlforhpc.engines._wire import REQUESTS, Answer, Began, Done, Frames, Hello, Marked, Ready, Report, Run, frame

_HOLD_BACK_S = 0.001
_TASK = struct.Struct("<Q")


def main() -> None:
    """Entry point: arguments are the file descriptors of socket, lifeline and progress word."""
    connection, lifeline, progress = (int(argument) for argument in sys.argv[-3:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_driver(lifeline)
    for fd in (connection, lifeline, progress):
        os.set_inheritable(fd, False)
    child = _Child(socket.socket(fileno=connection), mmap.mmap(progress, _TASK.size))
    os.close(progress)
    child.serve()


class _Child:
    """The loop between socket and envelope."""

    def __init__(self, connection: socket.socket, progress: mmap.mmap) -> None:
        self._connection = connection
        self._progress = progress
        self._cores = 1
        self._threads = Threads()
        self._functions: dict[str, bytes] = {}
        self._send_lock = threading.Lock()
        self._room = memoryview(bytearray(1 << 18))

    def serve(self) -> None:
        """Run what comes until the driver hangs up."""
        frames = Frames()
        while data := self._receive():
            for body in frames.feed(data):
                request = REQUESTS.decode(body)
                if isinstance(request, Hello):
                    self._greet(request)
                else:
                    self._run(request)

    def _greet(self, hello: Hello) -> None:
        sys.path[:] = hello.sys_path
        self._envelope = Envelope(hello.slot, Clock(hello.offset_ns), Path(hello.folder), self._marked)
        self._send(Ready())

    def _run(self, run: Run) -> None:
        if run.forget:
            self._functions.clear()
            self._envelope.forget()
        self._functions.update(run.functions)
        if run.sys_path is not None:
            sys.path[:] = run.sys_path
        if run.cores != self._cores:
            self._threads.set(run.cores)
            self._cores = run.cores
        os.environ[gang.VARIABLE] = str(run.ranks)
        answers: list[Answer] = []
        sent_at = time.monotonic()
        for task, reference, arguments in run.calls:
            _TASK.pack_into(self._progress, 0, task)
            call = Call(task, Function(reference, self._functions.get(reference)), arguments)
            answers.append(Answer.of(self._envelope.run(call, began=self._began if run.announce else None)))
            if time.monotonic() - sent_at > _HOLD_BACK_S:
                self._send(Done(answers))
                answers, sent_at = [], time.monotonic()
        if answers:
            self._send(Done(answers))

    def _began(self, task: int, started_ns: int) -> None:
        self._send(Began(task, started_ns))

    def _marked(self, task: int, name: str, value: float) -> None:
        self._send(Marked(task, name, value))

    def _send(self, report: Report) -> None:
        try:
            with self._send_lock:  # a task may mark from a thread of its own
                self._connection.sendall(frame(report))
        except OSError:
            os._exit(1)  # the driver is gone

    def _receive(self) -> memoryview:
        try:
            return self._room[: self._connection.recv_into(self._room)]
        except OSError:
            return self._room[:0]


def _end_with_driver(lifeline: int) -> None:
    """Have the kernel kill this process group when the other end of the lifeline is closed.

    PR_SET_PDEATHSIG would kill this process alone, and before its group is signalled.
    """
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        if select.select([lifeline], [], [], 0)[0]:  # it was closed before we asked
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)
