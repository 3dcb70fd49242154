"""What waits where: jobs (batches in flight) in lanes (slots), first come, first served; no threads in here.

A batch of c slots takes c free lanes and runs in the first; a quick one may also wait behind one other quick batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice

from mlforhpc.core.future import LeanFuture
from mlforhpc.core.record import Outcome
from mlforhpc.core.task import Batch, Call, TaskResult
from mlforhpc.engines._slot import Slot

MOST_FAILURES = 6
_FIRST_PAUSE_S = 0.05
_LOOK_S = 0.01


class Job:
    """A batch, its future, the calls still open and the results so far."""

    __slots__ = ("batch", "began_ns", "future", "open", "results")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.future: Future[list[TaskResult]] = LeanFuture()
        self.open: dict[int, Call] = {call.task: call for call in batch.calls}
        self.results: dict[int, TaskResult] = {}
        self.began_ns = 0

    def end_rest(self, outcome: Outcome, sentence: str, now_ns: int) -> None:
        """Give every open call this result."""
        for task in self.open:
            self.results[task] = TaskResult(task, outcome, sentence, False, now_ns, now_ns, "", 0)
        self.open.clear()

    def resolve(self) -> None:
        """Hand the results over, in the order of the calls."""
        self.future.set_result([self.results[call.task] for call in self.batch.calls])


class Lane:
    """One slot, the jobs in it (the first runs), and what its owner knows about it.

    Attributes:
        taken_by: a wide job that runs in another lane and has this one's core.
        up: its child may be sent something.
        ready: its child has said so.
        deadline_s: monotonic time at which the running call meets its limit.
        verdict: (task, outcome) of a kill under way.
        failures: deaths in a row that no task is to blame for.
        start_at_s: monotonic time at which to start the next child.
        unwanted: tasks in its jobs that were cancelled before the child came to them.
    """

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.jobs: deque[Job] = deque()
        self.taken_by: Job | None = None
        self.up = False
        self.ready = False
        self.deadline_s: float | None = None
        self.verdict: tuple[int, Outcome] | None = None
        self.failures = 0
        self.start_at_s: float | None = None
        self.unwanted: set[int] = set()

    @property
    def free(self) -> bool:
        return self.up and not self.jobs and self.taken_by is None

    @property
    def broken(self) -> bool:
        """Its child does not live long enough to be given anything."""
        return self.failures >= MOST_FAILURES

    def pause(self) -> None:
        """Count a death that no task is to blame for; the next child starts 0.05, 0.15, 0.45 ... s later."""
        self.failures += 1
        self.start_at_s = time.monotonic() + _FIRST_PAUSE_S * 3.0 ** (self.failures - 1)

    def running(self) -> int | None:
        """The task that the child is at; the first open one, if it has not begun any of them."""
        return self.begun() or next((task for job in self.jobs for task in job.open), None)

    def begun(self) -> int | None:
        """The task that the child was at, if that is still open."""
        task = self.slot.task
        return task if any(task in job.open for job in self.jobs) else None

    def holds(self, task: int) -> bool:
        """Whether a job in it has this task open."""
        return any(task in job.open for job in self.jobs)

    def take(self, result: TaskResult) -> Job | None:
        """File a result; the job that it completes."""
        for job in self.jobs:
            if job.open.pop(result.task, None) is None:
                continue
            job.results[result.task] = result
            if job.open:
                return None
            self.jobs.remove(job)
            self.deadline_s = None
            return job
        return None

    def send(self, job: Job) -> bool:
        """Send the open calls of a job; False if some of it must be flushed later."""
        return self.slot.send(list(job.open.values()), cores=job.batch.cores, ranks=job.batch.ranks, announce=job.batch.limit_s is not None)


class Lanes:
    """All lanes, and the jobs that wait for one; `timed` are those with a limit to watch or a child to start."""

    def __init__(self, slots: list[Slot]) -> None:
        self.lanes = [Lane(slot) for slot in slots]
        self.waiting: deque[Job] = deque()
        self.timed = set(self.lanes)
        self._devices = any(slot.devices for slot in slots)  # then tasks without leave the lanes that have them to others

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.lanes)

    @property
    def usable(self) -> int:
        """Lanes whose child can be kept alive."""
        return sum(not lane.broken for lane in self.lanes)

    def hopeless(self) -> list[Job]:
        """Waiting jobs that ask for more lanes than are left; they wait no longer."""
        jobs = [job for job in self.waiting if job.batch.width > self.usable]
        for job in jobs:
            self.waiting.remove(job)
        return jobs

    def drop_waiting(self, result: TaskResult) -> Job | None:
        """Take a task out of the job that waits with it, if one does; that job, if nothing is left of it."""
        for job in self.waiting:
            if job.open.pop(result.task, None) is not None:
                job.results[result.task] = result
                if job.open:
                    return None
                self.waiting.remove(job)
                return job
        return None

    def place(self) -> Iterator[tuple[Lane, Job, bool]]:
        """Put waiting jobs into lanes while the first of them fits: (lane, job, whether it runs at once)."""
        while self.waiting and (found := self._find(self.waiting[0].batch)):
            job = self.waiting.popleft()
            first, *others = found
            for lane in others:
                lane.taken_by = job
            first.jobs.append(job)
            yield first, job, len(first.jobs) == 1

    def leave(self, job: Job) -> None:
        """Free the lanes that a wide job has taken beside its own."""
        if job.batch.width > 1:
            for lane in self.lanes:
                if lane.taken_by is job:
                    lane.taken_by = None

    def next_event_s(self) -> float | None:
        """Seconds until a running call meets its limit or a child is to be started; None if there is no such thing."""
        times = [t for lane in self.timed for t in (lane.deadline_s, lane.start_at_s) if t is not None]
        soonest = max(0.0, min(times) - time.monotonic()) if times else None
        return soonest if not any(lane.unwanted for lane in self.lanes) else min(_LOOK_S, _LOOK_S if soonest is None else soonest)

    def due(self) -> tuple[list[Lane], list[Lane]]:
        """Lanes whose call has met its limit, and lanes whose child is to be started."""
        now = time.monotonic()
        late = [lane for lane in self.timed if lane.deadline_s is not None and lane.deadline_s <= now]
        down = [lane for lane in self.timed if lane.start_at_s is not None and lane.start_at_s <= now]
        self.timed = {lane for lane in self.timed if lane.deadline_s is not None or lane.start_at_s is not None}
        return late, down

    def _find(self, batch: Batch) -> list[Lane] | None:
        able = (lane for lane in self.lanes if lane.free)
        if batch.gpus:  # the first one runs it, with its devices
            free = sorted(able, key=lambda lane: len(lane.slot.devices) < batch.gpus)[: batch.width]
            return free if len(free) == batch.width and len(free[0].slot.devices) >= batch.gpus else None
        free = list(islice(sorted(able, key=lambda lane: len(lane.slot.devices)) if self._devices else able, batch.width))
        if len(free) == batch.width:
            return free
        if batch.quick:
            for lane in self.lanes:
                if lane.up and lane.taken_by is None and len(lane.jobs) == 1 and lane.jobs[0].batch.quick:
                    return [lane]
        return None
