"""An engine whose slots are the workers of another system: the driver's side, the same for dask, ray, parsl and MPI.

    driver (this) --parcels--> gateway process --the system's own submit--> workers, each with a `_post`
           ^------------------- a line of their own: started, marks, kill, clock --------^

A task goes out through the system and comes back through it. A worker that dies cuts its line, so that what it had
begun is lost at once and not when the system notices; a gateway that dies loses what is with it and is started again.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import json
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Capabilities, News, Ref
from mlforhpc.core.errors import MLforHPCError, Unplaceable
from mlforhpc.core.record import Outcome
from mlforhpc.core.task import Batch, TaskResult
from mlforhpc.engines._door import Caller, Door
from mlforhpc.engines._errands import Errands
from mlforhpc.engines._lanes import MOST_FAILURES, Job
from mlforhpc.engines._lending import pieces
from mlforhpc.engines._messages import (
    REPLIES,
    Aligned,
    Began,
    Came,
    Fault,
    Forget,
    Forgo,
    Go,
    Gone,
    Heard,
    Kill,
    Knock,
    Open,
    Place,
    Reply,
    Site,
    Tock,
    Up,
    Waiting,
    Wanted,
)
from mlforhpc.engines._parcels import Parcels
from mlforhpc.engines._post import clock_name
from mlforhpc.engines._recipe import LOOPBACK, Recipe, reachable
from mlforhpc.engines._sharing import SharedFiles
from mlforhpc.engines._system import System
from mlforhpc.engines._wire import Marked

_GRACE_S = 5.0
_RESTART_S = 0.5


class Remote:
    """See the file's docstring. All state is guarded by one lock; futures are resolved and news told outside of it.

    Args:
        recipe: which system.
        clock: of the trace.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
    """

    _LOOKAHEAD = 1  # what a worker has beside it when it ends hides the way through the system

    def __init__(self, recipe: Recipe, clock: Clock, folder: Path | None) -> None:
        """Start the system.

        Raises:
            MLforHPCError: it does not come up; with what it said.
        """
        self.name = recipe.name
        host = recipe.host or (reachable(recipe.address) if recipe.elsewhere else LOOPBACK)
        self.capabilities = Capabilities(gangs=True, remote=recipe.elsewhere, lookahead=self._LOOKAHEAD)
        self.slots = recipe.slots
        self._recipe = recipe
        self._clock = clock
        self._files = SharedFiles(folder)
        self._door = Door(host)
        site = Site(self._door.host, self._door.port, self._door.token, str(self._files.path), importlib.metadata.version("mlforhpc"))
        self._log = self._files.path / "system.log"
        self._system = System(recipe.launcher, self._log, f"{site.host}:{site.port}", site.token)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._errands = Errands(clock)
        self._gateway: Caller | None = None
        self._up = self._ever_up = self._closing = self._open_house = False
        self._greeted: set[Caller] = set()
        self._waiting = 0
        self._refusal = ""
        self._failures = 0
        self._fault = ""
        self._tell = News()
        self._parcels = Parcels(site, recipe.slots, recipe.elsewhere)
        self._thread = threading.Thread(target=self._serve, name=f"mlforhpc-{self.name}", daemon=True)
        self._thread.start()
        atexit.register(self.shutdown)
        self._await_up(recipe.start_s)
        self._parcels = Parcels(site, self.slots, recipe.elsewhere)

    def listen(self, news: News) -> None:
        self._tell = news

    def submit(self, batch: Batch) -> Future[list[TaskResult]]:
        if batch.width > self.slots:
            raise Unplaceable(f"A task asks for {batch.width} cores; engine '{self.name}' has {self.slots} slots.")
        job = Job(batch)
        with self._lock:
            refused = self._closing or self._failures >= MOST_FAILURES
            if refused:
                job.end_rest("cancelled" if self._closing else "lost", self._fault or "The engine was shut down.", self._clock.now_ns())
            else:
                self._place(self._errands.add(job), job)
        if refused:
            job.resolve()
        return job.future

    def share(self, array: NDArray[Any]) -> Ref:
        ref = self._files.share(array)
        if self.capabilities.remote:
            with self._lock:
                self._parcels.lent.add(ref.location)
        return ref

    def release(self, ref: Ref) -> None:
        self._files.release(ref)
        with self._lock:
            lent = ref.location in self._parcels.lent
            self._parcels.lent.discard(ref.location)
        for caller in self._door.workers() if lent else ():
            self._door.send(caller, Forget(str(ref.location)))

    def kill(self, task: int) -> bool:
        with self._lock:
            number = self._errands.of(task)
            if number is None or self._errands.jobs[number].batch.quick:
                return False
            caller = self._errands.where(task)  # None: it waits in the system; no worker shall begin it
            job = self._end(number, "lost", "It was cancelled before it began.") if caller is None else None
        if caller is not None:
            self._door.send(caller, Kill(task))
        elif job is not None:
            for worker in self._door.workers():
                self._door.send(worker, Forgo(number))
            job.resolve()
        return True

    def warm_up(self, timeout_s: float) -> None:
        """Send each slot a greeting, which it holds until all have one (on a patient system, until the first has)."""
        wanted = 1 if self._recipe.patient else self.slots
        with self._changed:
            self._waiting, self._open_house, self._refusal = 0, False, ""
            for _ in range(self.slots):
                greeting = Job(Batch(()))
                self._place(self._errands.add(greeting), greeting)
            there = self._changed.wait_for(
                lambda: self._waiting >= wanted or self._failures >= MOST_FAILURES or self._refusal,
                None if self._recipe.patient else timeout_s,
            )
            self._open_house = True
            callers = list(self._greeted)
            waiting, why = self._waiting, self._refusal or self._fault
        for caller in callers:
            self._door.send(caller, Go())
        if not there or waiting < wanted:
            sentence = f"Engine '{self.name}' has {waiting} of {self.slots} slots after {timeout_s:g} s. {why}"
            raise MLforHPCError(f"{sentence}\n{self._system.last_words()}".rstrip())

    def shutdown(self) -> None:
        with self._lock:
            self._closing = True
        self._door.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        atexit.unregister(self.shutdown)

    # ---- below, everything runs in the engine's thread, except _await_up, _place and _end

    def _await_up(self, timeout_s: float) -> None:
        with self._changed:
            up = self._changed.wait_for(lambda: self._up or self._fault, timeout_s)
            fault = self._fault or ("" if up else f"It is not there after {timeout_s:g} s.")
        if fault:
            said = self._system.last_words()
            self.shutdown()
            raise MLforHPCError(f"Engine '{self.name}' cannot be started. {fault}" + (f"\nIt printed:\n{said}" if said else ""))

    def _place(self, number: int, job: Job, *, whole: bool = False) -> None:
        """Hand a job to the gateway, under the lock; without one it goes when there is one again."""
        if self._up and self._gateway is not None:
            parcel = self._parcels.pack(number, job.batch, list(job.open.values()), whole=whole)
            self._door.send(self._gateway, Place(number, job.batch.width, parcel))

    def _end(self, number: int, outcome: Outcome, sentence: str) -> Job | None:
        """Forget a job, under the lock; whoever called resolves it afterwards."""
        job = self._errands.end(number, outcome, sentence)
        if job is not None and not job.batch.calls and outcome == "lost":  # a greeting
            self._refusal = sentence
            self._changed.notify_all()
        return job

    def _serve(self) -> None:
        try:
            self._start()
            while not self._closing:
                for caller, heard, hung_up in self._door.listen(_RESTART_S):
                    for message in heard:
                        self._hear(caller, message)
                    if hung_up:
                        self._missed(caller)
                if not self._system.running and not self._closing:
                    self._restart()
        finally:  # whatever happens, every future resolves and no process stays
            self._close()

    def _start(self) -> None:
        try:
            self._system.start()
        except OSError as error:
            self._give_up(f"Its gateway cannot be started: {error}.")

    def _restart(self) -> None:
        """The gateway is gone, and with it the system, or what we knew of it."""
        self._system.stop(0.0)
        if self._gateway is not None:
            self._door.dismiss(self._gateway)
        with self._lock:
            self._up, self._gateway = False, None
            self._failures += 1
        self._lose(list(self._errands.jobs), f"The gateway to '{self.name}' ended.")
        if self._failures >= MOST_FAILURES or not self._ever_up:
            self._give_up(f"Its gateway ended {self._failures} times in a row.")
        else:
            self._start()

    def _give_up(self, sentence: str) -> None:
        with self._changed:
            self._fault = sentence
            self._failures = MOST_FAILURES
            self._changed.notify_all()

    def _hear(self, caller: Caller, message: Heard) -> None:
        """One message from the gateway or a worker."""
        match message:
            case Came(number, reply):
                self._came(number, REPLIES.decode(reply))
            case Began():
                self._began(caller, message)
            case Marked(task, name, value):
                self._tell.marked(task, name, value)
            case Wanted(path):
                for piece in pieces(self._files.path, path):
                    self._door.send(caller, piece)
            case Gone(number, sentence):
                self._lose([number], sentence)
            case Knock():
                self._welcome(caller)
            case Tock():
                joined = caller.align(message, self._clock)
                if joined is None:
                    self._door.send(caller, caller.question())
                else:
                    self._door.send(caller, Aligned(joined.offset_ns))
                    self._tell.joined(joined)
            case Waiting():
                self._greet(caller)
            case Up(slots):
                self._opened(slots)
            case Fault(sentence):
                self._give_up(sentence)

    def _welcome(self, caller: Caller) -> None:
        assert caller.knock is not None
        if caller.knock.role == "gateway":
            self._gateway = caller
            r = self._recipe
            self._door.send(caller, Open(r.module, r.slots, r.address, json.dumps(dict(r.options)), str(self._files.path)))
        elif caller.knock.clock == clock_name():
            self._door.send(caller, Aligned(self._clock.offset_ns))
        else:
            self._door.send(caller, caller.question())

    def _opened(self, slots: int) -> None:
        with self._changed:
            self._up = self._ever_up = True
            self.slots = slots
            for number, job in self._errands.jobs.items():
                self._place(number, job)
            self._changed.notify_all()

    def _greet(self, caller: Caller) -> None:
        with self._changed:
            self._greeted.add(caller)
            self._waiting += 1
            go = self._open_house
            self._changed.notify_all()
        if go:
            self._door.send(caller, Go())

    def _began(self, caller: Caller, began: Began) -> None:
        """A task runs; it is ended at once if its parcel was given up meanwhile (dask runs what it lost again unasked)."""
        with self._lock:
            wanted = self._errands.began(began.number, began.task, caller)
        if wanted:
            self._tell.started(began.task, began.slot)
        else:
            self._door.send(caller, Kill(began.task))

    def _came(self, number: int, reply: Reply) -> None:
        with self._lock:
            job = self._errands.jobs.get(number)
            if job is None:
                return  # given up before
            if reply.unknown:
                self._place(number, job, whole=True)
                return
            if not reply.problem:
                self._failures = 0
                self._parcels.learned(reply.slot, list(job.open.values()))
                for answer in reply.answers:
                    job.open.pop(answer.task, None)
                    job.results[answer.task] = answer.result(reply.slot)
            outcome: Outcome = "lost" if reply.problem or job.open else "ok"
            self._end(number, outcome, reply.problem or "Its worker gave no result.")
        job.resolve()

    def _lose(self, numbers: list[int], sentence: str) -> None:
        with self._lock:
            lost = [self._end(number, "lost", sentence) for number in numbers]
        for job in lost:
            if job is not None:
                job.resolve()

    def _missed(self, caller: Caller) -> None:
        """Somebody has hung up: a worker with what it had begun."""
        with self._lock:
            self._greeted.discard(caller)
            numbers = self._errands.at(caller)
        assert caller.knock is not None
        if caller is self._gateway:
            self._system.stop(0.0)  # `_restart` follows
        else:
            self._lose(numbers, f"The worker {caller.knock.host}:{caller.knock.pid} died while it ran this task.")

    def _close(self) -> None:
        """Resolve everything; have workers end what they run; give the gateway a moment to end the system properly."""
        with self._changed:
            self._closing = True
            jobs = [self._end(number, "cancelled", "The engine was shut down.") for number in list(self._errands.jobs)]
            self._changed.notify_all()
        self._door.close()
        self._system.stop(_GRACE_S)
        self._files.remove()
        for job in jobs:
            if job is not None:
                job.resolve()
