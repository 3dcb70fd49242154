"""Our post in a worker of another system: takes parcels from it, runs them, and keeps a line to the driver.

`run` is the one function that dask, ray, parsl and MPI know of us. Parcels of quick tasks run in the worker's own
process; all others in a slot child of the thread that took them, so that a crash, a time limit or a cancelled task
costs that child and nothing else. When the driver is gone, so are the children.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import sys
import threading
import time
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path

import msgspec

from mlforhpc.core.clock import Clock
from mlforhpc.core.task import Batch, Call, Function
from mlforhpc.engines._host_cores import cores_of_host
from mlforhpc.engines._lending import Borrowed
from mlforhpc.engines._messages import (
    PACK,
    PARCELS,
    TOLD,
    Aligned,
    Began,
    Forget,
    Forgo,
    Go,
    Heard,
    Kill,
    Knock,
    Parcel,
    Piece,
    Reply,
    Site,
    Tick,
    Tock,
    Waiting,
)
from mlforhpc.engines._wire import Answer, Frames, Marked, frame
from mlforhpc.engines._worker import Worker

_CONNECT_S = 20.0
_MOST_GREETING_S = 60.0
_MOST_FUNCTIONS = 500

_posts: dict[tuple[int, Site], Post] = {}  # by process too: a system may fork its workers
_posts_lock = threading.Lock()


def run(parcel: bytes) -> bytes:
    """What became of a parcel; never raises."""
    try:
        opened = PARCELS.decode(parcel)
        with _posts_lock:
            post = _posts.get((os.getpid(), opened.site))
            if post is None or post.gone:
                post = _posts[os.getpid(), opened.site] = Post(opened.site)
        reply = post.run(opened)
    except Exception as error:
        reply = Reply(problem=f"A worker on {platform.node()} cannot work for this campaign: {error}")
    return PACK.encode(reply)


@cache
def clock_name() -> str:
    """Names the monotonic clock that this process reads: the boot, and the time namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return platform.node()


class Post:
    """See the file's docstring; one for each driver that this process works for.

    Attributes:
        gone: the line to the driver is cut.
    """

    def __init__(self, site: Site) -> None:
        """Connect, and have the clock aligned.

        Raises:
            OSError: the driver cannot be reached.
            RuntimeError: it runs another version of this package.
        """
        version = importlib.metadata.version("mlforhpc")
        if version != site.version:
            raise RuntimeError(f"the driver runs version {site.version} of mlforhpc, and this worker has {version}; install the same.")
        self.gone = False
        self._name = f"{platform.node()}:{os.getpid()}"
        self._borrowed = Borrowed(Path(site.folder), self._say)
        self._folder = Path(site.folder) if self._borrowed.near else Path(site.folder, "elsewhere")  # is not there: results travel
        self._lock, self._lock_of_line = threading.Lock(), threading.Lock()
        self._workers: list[Worker] = []
        self._mine = threading.local()
        self._inline = threading.Lock()
        self._functions: dict[str, bytes] = {}
        self._sys_path: list[str] = []
        self._forgone: set[int] = set()
        self._go, self._aligned = threading.Event(), threading.Event()
        self._clock = Clock()
        try:
            self._line = socket.create_connection((site.host, site.port), timeout=_CONNECT_S)
        except OSError as error:
            raise OSError(f"the driver cannot be reached at {site.host}:{site.port} ({error}); set the engine's option 'host'.") from None
        self._line.settimeout(None)
        self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._say(Knock(site.token, "worker", platform.node(), os.getpid(), clock_name(), version))
        threading.Thread(target=self._listen, name="mlforhpc-post", daemon=True).start()
        if not self._aligned.wait(_CONNECT_S):
            raise OSError(f"the driver at {site.host}:{site.port} does not answer; is it the one that sent this task?")

    def run(self, parcel: Parcel) -> Reply:
        """Run a parcel's calls, or hold a greeting until all slots have one."""
        if not parcel.calls:
            self._say(Waiting())
            self._go.wait(_MOST_GREETING_S)
            return Reply(self._name)
        if parcel.number in self._forgone:
            self._forgone.discard(parcel.number)
            return Reply(self._name, problem="It was cancelled before it began.")
        unknown = self._learn(parcel)
        if unknown:
            return Reply(self._name, unknown=unknown)
        for path in parcel.shared:
            self._borrowed.fetch(path)
        calls = tuple(Call(task, Function(name, self._functions.get(name)), arguments) for task, name, arguments in parcel.calls)
        batch = Batch(calls, parcel.cores, parcel.ranks, isolated=parcel.isolated, limit_s=parcel.limit_s)
        with cores_of_host(parcel.site.token, batch.width) if parcel.shared_hosts else nullcontext():
            return self._run(batch, parcel.number)

    def _run(self, batch: Batch, number: int) -> Reply:
        worker = self._worker()
        if batch.isolated or not self._inline.acquire(blocking=False):
            began = partial(self._tell_began, number)
            results = worker.run(batch._replace(isolated=True), began)
        else:
            try:
                results = worker.run(batch)
            finally:
                self._inline.release()
        return Reply(worker.name, [Answer.of(result) for result in results])

    def _learn(self, parcel: Parcel) -> list[str]:
        """Keep what the parcel brings along; the functions that it should have brought."""
        with self._lock:
            if parcel.sys_path != self._sys_path:
                self._sys_path = parcel.sys_path
                sys.path += [entry for entry in parcel.sys_path if entry not in sys.path]
            if len(self._functions) > _MOST_FUNCTIONS:
                self._functions.clear()
            self._functions.update(parcel.functions)
            return [name for _, name, _ in parcel.calls if ":" not in name and name not in self._functions]

    def _worker(self) -> Worker:
        """This thread's own."""
        worker: Worker | None = getattr(self._mine, "worker", None)
        if worker is None:
            with self._lock:
                name = self._name if not self._workers else f"{self._name}.{len(self._workers)}"
                worker = self._mine.worker = Worker(name, self._clock, self._folder, self._tell_mark)
                self._workers.append(worker)
        return worker

    def _tell_began(self, number: int, task: int, slot: str) -> None:
        self._say(Began(number, task, slot))

    def _tell_mark(self, task: int, name: str, value: float) -> None:
        self._say(Marked(task, name, value))

    def _say(self, message: Heard) -> None:
        try:
            with self._lock_of_line:
                self._line.sendall(frame(message))
        except OSError:
            self._leave()

    def _listen(self) -> None:
        """Hear the driver, in a thread of its own; when it hangs up, end what runs for it."""
        frames, room = Frames(), memoryview(bytearray(1 << 16))
        try:
            while size := self._line.recv_into(room):
                for body in frames.feed(room[:size]):
                    self._hear(body)
        except (OSError, msgspec.MsgspecError):
            pass
        self._leave()

    def _hear(self, body: bytes | memoryview) -> None:
        message = TOLD.decode(body)
        if isinstance(message, Tick):
            self._say(Tock(time.monotonic_ns()))
        elif isinstance(message, Aligned):
            self._clock = Clock(message.offset_ns)
            self._aligned.set()
        elif isinstance(message, Go):
            self._go.set()
        elif isinstance(message, Kill):
            any(worker.kill(message.task) for worker in list(self._workers))
        elif isinstance(message, Forgo):
            self._forgone.add(message.number)
        elif isinstance(message, Piece):
            self._borrowed.take(message)
        elif isinstance(message, Forget):
            self._borrowed.forget(message.path)

    def _leave(self) -> None:
        self.gone = True
        self._go.set()
        for worker in list(self._workers):
            worker.close()
        self._borrowed.leave()
