"""Jobs in the order they came: a few run at a time, each keeps a few simulations in flight, and what ended is kept for a while.

A job is on disk before it is acknowledged and again when it ends; in between a crash costs nothing but time, because the store repeats
no finished run. Everything here runs on the event loop; the disk is waited for in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from starlette.types import ASGIApp

from mlforhpc.core.errors import MLforHPCError, TaskError
from mlforhpc.core.events import Event, Finished, Mark, Submitted
from mlforhpc.core.record import key_of
from mlforhpc.core.space import Value
from mlforhpc.scenarios.online import Busy, Online
from mlforhpc.scenarios.online_runs import seed_of
from mlforhpc.server.job import Job, JobFolder, State, new_id, view
from mlforhpc.server.job_answers import answered, joined, predicted, refused
from mlforhpc.server.log import Log
from mlforhpc.server.stream import Streams

JOBS_WAITING = 64
JOBS_AT_ONCE = 4
JOBS_KEPT = 1_000
RESULT_BYTES_KEPT = 1 << 30


class JobsFull(MLforHPCError):
    """Too many jobs wait."""


class JobQueue:
    """See the file's docstring.

    Attributes:
        jobs: id -> job, oldest first.
        streams: id -> who watches it.
    """

    def __init__(self, onlines: Mapping[str, Online], folder: Path, log: Log, *, slots: int) -> None:
        """All jobs together keep as many simulations submitted as there are `slots`, and leave half of each queue to other callers."""
        in_flight = max(1, min([slots, *(online.terms.queue // 2 for online in onlines.values())]))
        self.jobs: dict[str, Job] = {}
        self.streams: dict[str, Streams] = {}
        self._onlines, self._log = onlines, log
        self._files = JobFolder(folder)
        self._lanes, self._in_flight = asyncio.Semaphore(JOBS_AT_ONCE), in_flight
        self._places = asyncio.Semaphore(in_flight)
        self._disk = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._keys: dict[str, Job] = {}
        self._tasks: dict[int, Job] = {}
        self._number = self._accepting = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Begin the jobs that a former server left; at the end stop, and leave to the next one what is not done."""
        jobs, damaged = await asyncio.to_thread(self._files.read)
        for name in damaged:
            self._log.tell("error", f"The job file '{name}' cannot be read; it was put aside as '.damaged'.")
        for job in jobs:
            self.jobs[job.id], self._number = job, max(self._number, job.number)
            if not job.ended:
                self._begin(job)
        try:
            yield
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for streams in self.streams.values():
                streams.end()

    @property
    def waiting(self) -> int:
        """Jobs that are queued or running."""
        return sum(not self.jobs[id].ended for id in self._running if id in self.jobs) + self._accepting

    async def submit(self, asked: Job) -> Job:
        """The job with its id and number, when it is on disk.

        Raises:
            JobsFull: ask again later.
            OSError: it could not be written, and was not begun.
        """
        if self.waiting >= JOBS_WAITING:
            raise JobsFull(f"{JOBS_WAITING} jobs are queued or running, which is the most; ask again later, or cancel one.")
        self._accepting += 1
        try:
            async with self._disk:
                self._number += 1
                job = msgspec.structs.replace(asked, id=new_id(), number=self._number, submitted_unix_s=time.time())
                await asyncio.to_thread(self._files.write, job)
        finally:
            self._accepting -= 1
        self._begin(job)
        return job

    async def cancel(self, job: Job) -> None:
        """End it, and with it the simulations that nobody else waits for; nothing happens to a job that ended.

        Raises:
            OSError: that could not be written, and it goes on.
        """
        await self._end(job, "cancelled")
        if job.id in self._running:
            self._running[job.id].cancel()

    async def result(self, job: Job) -> bytes:
        """What came out, as JSON; FileNotFoundError where there is nothing."""
        return await asyncio.to_thread(self._files.read_result, job.id)

    def see(self, event: Event) -> None:
        """Take the numbers that running simulations of jobs mark out of the trace."""
        if isinstance(event, Mark):
            job = self._tasks.get(event.task)
            if job is not None:
                job.marks[event.name] = event.value
                self._tell(job)
        elif isinstance(event, Submitted):
            if event.key in self._keys:
                self._tasks[event.task] = self._keys[event.key]
        elif isinstance(event, Finished):
            self._tasks.pop(event.task, None)

    def follow(self, job: Job) -> ASGIApp:
        """A stream of its states."""
        streams = Streams() if job.ended else self.streams[job.id]
        return streams.respond([("state", msgspec.json.encode(view(job)), None)], ended=job.ended)

    def _begin(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.streams[job.id] = Streams()
        task = self._running[job.id] = asyncio.create_task(self._run(job))
        task.add_done_callback(lambda _: self._running.pop(job.id))

    async def _run(self, job: Job) -> None:
        async with self._lanes:
            job.state, job.started_unix_s = "running", time.time()
            self._tell(job)
            try:
                await self._end(job, *await self._done(job))
            except Exception as error:  # a full disk, or what nobody foresaw: this job's end, not the others'
                reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                self._log.tell("error", f"Job {job.id} could not be brought to its end: {reason}.")
                sentence = f"It could not be brought to its end ({reason}); the next start of the server tries again."
                job.state, job.sentence, job.ended_unix_s = "failed", sentence, time.time()
                self._tell(job)

    async def _done(self, job: Job) -> tuple[State, str]:
        """How the job ended, with its result on disk."""
        online = self._onlines.get(job.model)
        if online is None:
            return "failed", f"The simulation '{job.model}' is not served any more."
        answers = await self._answers(job, online)
        async with self._disk:
            await asyncio.to_thread(self._files.write_result, job.id, joined(job, answers))
        if job.points_failed:
            return "failed", f"{job.points_failed} of {len(job.x)} points have no answer; the result says why."
        return "done", ""

    async def _answers(self, job: Job, online: Online) -> list[bytes]:
        """What each point got; a bounded number of them is in flight."""
        answers = [b""] * len(job.x)
        left = iter(range(len(job.x)))

        async def work() -> None:
            for index in left:
                async with self._places:
                    answers[index], good = await self._answer(job, online, job.x[index])
                job.points_done += 1
                job.points_failed += not good
                self._tell(job)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(job.x), self._in_flight)):
                group.create_task(work())
        return answers

    async def _answer(self, job: Job, online: Online, x: Mapping[str, Value]) -> tuple[bytes, bool]:
        """What one point got, and whether that is an answer; it waits while the simulation's queue is full."""
        while True:
            try:
                look = online.look(online.simulation.space.row(x)[None], job.tolerance)
                futures = online.serve(look, job.source)
                break
            except Busy as busy:
                await asyncio.sleep(busy.retry_after_s)
            except MLforHPCError as error:
                return refused(x, str(error), "refused"), False
        if not futures:
            return predicted(x, look), True
        (future,) = futures.values()
        key = _key(online, x)
        self._keys[key] = job
        try:
            return answered(x, await asyncio.wrap_future(future)), True  # if this is cancelled, so is the future
        except TaskError as error:
            return refused(x, str(error), error.outcome), False
        except MLforHPCError as error:
            return refused(x, str(error), "refused"), False
        finally:
            self._keys.pop(key, None)

    async def _end(self, job: Job, state: State, sentence: str = "") -> None:
        """Write that it ended, then let it be so; the first end counts."""
        async with self._disk:
            if job.ended:
                return
            ended = msgspec.structs.replace(job, state=state, sentence=sentence, ended_unix_s=time.time())
            await asyncio.to_thread(self._files.write, ended)
            job.state, job.sentence, job.ended_unix_s = ended.state, ended.sentence, ended.ended_unix_s
        self._tell(job)
        await self._forget()

    async def _forget(self) -> None:
        """Drop the oldest jobs that ended, where there are too many of them or their results take too much room."""
        sizes = await asyncio.to_thread(self._files.result_bytes)
        ended = [job.id for job in self.jobs.values() if job.ended]
        total_bytes = sum(sizes.values())
        dropped = []
        while ended[:-1] and (len(ended) > JOBS_KEPT or total_bytes > RESULT_BYTES_KEPT):
            dropped.append(ended.pop(0))
            total_bytes -= sizes.get(dropped[-1], 0)
            del self.jobs[dropped[-1]]
        for oldest in dropped:
            await asyncio.to_thread(self._files.remove, oldest)

    def _tell(self, job: Job) -> None:
        """Send its state to whoever watches it."""
        if (streams := self.streams.get(job.id)) is not None:
            if len(streams):
                streams.offer("state", msgspec.json.encode(view(job)))
            if job.ended:
                streams.end()
                del self.streams[job.id]


def _key(online: Online, x: Mapping[str, Value]) -> str:
    """Store key of the run that answers a point; the trace names its task by it."""
    simulation, terms = online.simulation, online.terms
    settings: Mapping[str, Value] = {}
    if simulation.settings is not None:
        settings = simulation.settings.point(simulation.settings.row({**simulation.default_settings, **(terms.settings or {})}))
    return key_of(simulation, x, settings=settings, fidelity=terms.fidelity, seed=seed_of(terms, simulation.space.row(x), 0))
