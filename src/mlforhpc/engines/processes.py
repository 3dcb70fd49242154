"""Engine `processes`: slots of our own on this machine, one child process and one socket pair each.

A thread of this engine hears from all children; calls are sent from whichever thread submits them. A kill takes one
child's process group, and no other slot notices; a dead child costs the one call that it was at ("lost"), the rest of
its batch is sent again to its successor. Children end with the driver, even after `kill -9`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mlforhpc.core.clock import Clock
from mlforhpc.core.engine import Capabilities, News, Ref
from mlforhpc.core.errors import MLforHPCError, Unplaceable, UsageError
from mlforhpc.core.record import Outcome
from mlforhpc.core.task import Batch, TaskResult
from mlforhpc.engines._devices import dealt, found
from mlforhpc.engines._ears import Ears, Sound
from mlforhpc.engines._lanes import Job, Lane, Lanes
from mlforhpc.engines._sharing import SharedFiles
from mlforhpc.engines._slot import Slot
from mlforhpc.engines._wire import Began, Done, Marked, Report

_GRACE_S = 0.5


def create(
    slots: int | None = None,
    *,
    gpus: int | None = None,
    folder: Path | None = None,
    log: Path | None = None,
    clock: Clock | None = None,
) -> Processes:
    """Slots on this machine.

    Args:
        slots: how many; None = the cores that this process may use.
        gpus: how many of this machine's devices; None = all of them.
        folder: where shared arrays and large results go; None = memory or the temporary folder.
        log: file for what tasks print; None = the driver's output.
        clock: of the trace.
    """
    count = _usable_cores() if slots is None else slots
    if count < 1:
        raise UsageError(f"Engine 'processes' needs at least one slot, found slots={count}.")
    devices = found()
    if gpus is not None and gpus > len(devices):
        raise UsageError(f"Engine 'processes' was asked for {gpus} GPUs, found {len(devices)} that this process may use.")
    return Processes(count, devices[:gpus], folder, log, clock or Clock())


class Processes:
    """See the file's docstring. All state is guarded by one lock; futures are resolved and listeners told outside of it."""

    name = "processes"

    def __init__(self, slots: int, devices: list[str], folder: Path | None, log: Path | None, clock: Clock) -> None:
        self.slots = slots
        hands = dealt(devices, slots)
        self.capabilities = Capabilities(gangs=True, gpus=sum(map(len, hands)), gpus_a_task=max(map(len, hands)))
        self._clock = clock
        self._files = SharedFiles(folder)
        self._lanes = Lanes([Slot(str(i), self._files.path, clock, log, hands[i]) for i in range(slots)])
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._unsent: set[Lane] = set()
        self._closing = False
        self._tell = News()
        self._ears = Ears()
        self._thread = threading.Thread(target=self._serve, name="mlforhpc-processes", daemon=True)
        self._thread.start()
        atexit.register(self.shutdown)

    def listen(self, news: News) -> None:
        self._tell = news

    def submit(self, batch: Batch) -> Future[list[TaskResult]]:
        if batch.width > self.slots:
            raise Unplaceable(f"A task asks for {batch.width} cores; engine 'processes' has {self.slots} slots.")
        job = Job(batch)
        with self._lock:
            if self._closing or batch.width > self._lanes.usable:
                job.end_rest("cancelled" if self._closing else "lost", "The engine has no slot for it any more.", self._clock.now_ns())
                begun = None
            else:
                self._lanes.waiting.append(job)
                begun = self._place()
        if begun is None:
            job.resolve()
        else:
            self._tell_started(begun)
        return job.future

    def share(self, array: NDArray[Any]) -> Ref:
        return self._files.share(array)

    def release(self, ref: Ref) -> None:
        self._files.release(ref)

    def kill(self, task: int) -> bool:
        emptied = None
        with self._lock:
            for lane in self._lanes:
                if lane.up and lane.verdict is None and lane.running() == task:
                    self._end(lane, task, "lost")
                    return True
                if lane.holds(task):  # behind others of its batch; see _drop_unwanted
                    lane.unwanted.add(task)
                    self._ears.wake()
                    return False
            emptied = self._lanes.drop_waiting(self._cancelled(task, ""))
        if emptied is not None:
            emptied.resolve()
        return False

    def warm_up(self, timeout_s: float) -> None:
        with self._news:
            ok = self._news.wait_for(lambda: any(x.broken for x in self._lanes) or all(x.ready for x in self._lanes), timeout_s)
            ready = sum(lane.ready for lane in self._lanes)
        if ready < self.slots:
            why = f"not within {timeout_s:g} s" if not ok else "their processes end while starting"
            raise MLforHPCError(f"Engine 'processes' started {ready} of {self.slots} slots ({why}); see what they printed.")

    def shutdown(self) -> None:
        with self._lock:
            self._closing = True
        self._ears.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        atexit.unregister(self.shutdown)

    # ---- below, everything runs in the engine's thread, except _place, _send, _end and _tell_started

    def _serve(self) -> None:
        try:
            for lane in self._lanes:
                lane.start_at_s = 0.0
            while not self._closing:
                self._turn()
        finally:  # whatever happens, every future resolves and no process stays
            self._close()

    def _turn(self) -> None:
        with self._lock:
            timeout = self._lanes.next_event_s()
        for sound in self._ears.listen(timeout):
            self._attend(sound)
        if self._lanes.timed:
            self._keep_time()
        if self._unsent:
            self._watch_unsent()
        if any(lane.unwanted for lane in self._lanes):
            self._drop_unwanted()

    def _drop_unwanted(self) -> None:
        """End a child that has come to a task that was cancelled behind others of its batch; its successor does not get such tasks."""
        with self._lock:
            for lane in self._lanes:
                if lane.unwanted:
                    lane.unwanted = {task for task in lane.unwanted if lane.holds(task)}
                    if lane.up and lane.verdict is None and lane.begun() in lane.unwanted:
                        self._end(lane, lane.begun(), "cancelled")

    def _start(self, lane: Lane) -> None:
        """Start the lane's child, outside the lock: it takes milliseconds that no other slot should feel."""
        lane.start_at_s = None
        try:
            lane.slot.spawn()
        except OSError as error:
            lane.pause()
            self._lanes.timed.add(lane)
            self._give_up_if_broken(lane, f"cannot be started ({error})")
            return
        self._ears.add(lane)
        with self._lock:
            lane.up = True
            dropped = [lane.take(self._cancelled(task, lane.slot.name)) for task in lane.unwanted]
            lane.unwanted.clear()
            completed = [job for job in dropped if job is not None]
            for job in completed:
                self._lanes.leave(job)
            for job in lane.jobs:
                self._send(lane, job)
            begun = self._place()
        self._tell_started(begun)
        for job in completed:
            job.resolve()

    def _attend(self, sound: Sound) -> None:
        """Hear what a child says, or that it has died."""
        lane = sound.lane
        if sound.writable:
            with self._lock:
                lane.slot.line.flush()
        if sound.readable:
            reports, hung_up = lane.slot.line.receive()
            self._hear(lane, reports)
            if hung_up or sound.died:
                self._bury(lane)

    def _hear(self, lane: Lane, reports: list[Report]) -> None:
        completed: list[Job] = []
        begun: list[tuple[int, str]] = []
        marks: list[Marked] = []
        with self._lock:
            for report in reports:
                if type(report) is Done:
                    lane.failures = 0
                    for answer in report.answers:
                        job = lane.take(answer.result(lane.slot.name))
                        if job is not None:
                            completed.append(job)
                            self._lanes.leave(job)
                elif type(report) is Began:
                    self._set_deadline(lane, report.started_ns)
                elif type(report) is Marked:
                    marks.append(report)
                else:
                    lane.ready = True
                    self._news.notify_all()
            if completed:
                begun = [(next(iter(job.open)), lane.slot.name) for job in lane.jobs]
                begun += self._place()
        for mark in marks:
            self._tell.marked(mark.task, mark.name, mark.value)
        self._tell_started(begun)
        for job in completed:
            job.resolve()

    def _cancelled(self, task: int, slot: str) -> TaskResult:
        now = self._clock.now_ns()
        return TaskResult(task, "cancelled", "", False, now, now, slot, 0)

    def _set_deadline(self, lane: Lane, started_ns: int) -> None:
        if lane.jobs and lane.jobs[0].batch.limit_s is not None:
            lane.jobs[0].began_ns = started_ns
            lane.deadline_s = (started_ns - self._clock.offset_ns) / 1e9 + lane.jobs[0].batch.limit_s
            self._lanes.timed.add(lane)

    def _keep_time(self) -> None:
        with self._lock:
            late, down = self._lanes.due()
            for lane in late:
                if lane.verdict is None:
                    self._end(lane, lane.running(), "timed_out")
        for lane in down:
            self._start(lane)

    def _end(self, lane: Lane, task: int | None, outcome: Outcome) -> None:
        """Kill a lane's child; the selector then hears of its death."""
        lane.deadline_s = None
        lane.verdict = (task or 0, outcome)
        lane.slot.kill()

    def _bury(self, lane: Lane) -> None:
        """Clear up after a dead child, blame the call that it was at, and start its successor with the rest."""
        self._hear(lane, lane.slot.line.receive()[0])
        with self._lock:
            lane.up = lane.ready = False
            task, outcome = lane.verdict or (lane.begun(), "lost")
            self._ears.remove(lane)
            how = lane.slot.reap()
            completed = self._blame(lane, task, outcome, how) if task else None
            lane.verdict = lane.deadline_s = None
            lane.start_at_s = 0.0
            self._lanes.timed.add(lane)
            if not task:
                lane.pause()
        if completed is not None:
            completed.resolve()
        self._give_up_if_broken(lane, how)

    def _blame(self, lane: Lane, task: int, outcome: Outcome, how: str) -> Job | None:
        job = next((job for job in lane.jobs if task in job.open), None)
        if job is None:
            return None  # its result arrived after all
        now = self._clock.now_ns()
        sentence = f"The process of slot {lane.slot.name} {how} while it ran this task."
        completed = lane.take(TaskResult(task, outcome, sentence, False, job.began_ns or now, now, lane.slot.name, 0))
        if completed is not None:
            self._lanes.leave(completed)
        return completed

    def _give_up_if_broken(self, lane: Lane, how: str) -> None:
        """Let a lane go whose child cannot be kept alive; what fits into no other is lost."""
        if not lane.broken:
            return
        sentence = f"The process of slot {lane.slot.name} {how}, {lane.failures} times in a row, without any task at fault."
        with self._lock:
            lane.start_at_s = None
            jobs = list(lane.jobs)
            lane.jobs.clear()
            jobs += self._lanes.hopeless()
            for job in jobs:
                self._lanes.leave(job)
                job.end_rest("lost", sentence, self._clock.now_ns())
            self._news.notify_all()
        for job in jobs:
            job.resolve()

    def _place(self) -> list[tuple[int, str]]:
        """Send what fits, under the lock; the tasks that begin at once."""
        begun = []
        for lane, job, at_once in self._lanes.place():
            job.began_ns = self._clock.now_ns()
            self._send(lane, job)
            if at_once:
                begun.append((job.batch.calls[0].task, lane.slot.name))
        return begun

    def _send(self, lane: Lane, job: Job) -> None:
        if not lane.send(job):
            self._unsent.add(lane)
            self._ears.wake()

    def _tell_started(self, begun: list[tuple[int, str]]) -> None:
        for task, slot in begun:
            self._tell.started(task, slot)

    def _watch_unsent(self) -> None:
        """Have the selector say when a child whose socket was full can take more."""
        with self._lock:
            for lane in [lane for lane in self._unsent if lane.up]:
                self._ears.await_room(lane, not lane.slot.line.sent)
                if lane.slot.line.sent:
                    self._unsent.discard(lane)

    def _close(self) -> None:
        """End every child: the idle ones by themselves, the busy ones at once."""
        with self._lock:
            self._closing = True
            jobs = [*(job for lane in self._lanes for job in lane.jobs), *self._lanes.waiting]
            self._lanes.waiting.clear()
            for lane in self._lanes:
                lane.up = False
                if lane.slot.alive:
                    lane.slot.hang_up() if lane.ready and not lane.jobs else lane.slot.kill()
            end = time.monotonic() + _GRACE_S
            for lane in self._lanes:
                lane.slot.reap(max(0.001, end - time.monotonic()))
                lane.jobs.clear()
            for job in jobs:
                job.end_rest("cancelled", "The engine was shut down.", self._clock.now_ns())
            self._news.notify_all()
        self._ears.close()
        self._files.remove()
        for job in jobs:
            job.resolve()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
