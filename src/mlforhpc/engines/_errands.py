"""What is under way in another system: jobs by number, which task is in which, and at which worker it has begun.

No threads and no locks in here; the owner has them.
"""

from __future__ import annotations

from mlforhpc.core.clock import Clock
from mlforhpc.core.record import Outcome
from mlforhpc.engines._door import Caller
from mlforhpc.engines._lanes import Job


class Errands:
    """See the file's docstring.

    Attributes:
        jobs: number -> job; one without calls is a greeting.
    """

    def __init__(self, clock: Clock) -> None:
        self.jobs: dict[int, Job] = {}
        self._clock = clock
        self._last = 0
        self._number_of: dict[int, int] = {}
        self._runs_at: dict[int, Caller] = {}

    def add(self, job: Job) -> int:
        """Take a job; its number."""
        self._last += 1
        self.jobs[self._last] = job
        self._number_of.update((call.task, self._last) for call in job.batch.calls)
        return self._last

    def of(self, task: int) -> int | None:
        """The number of a task's job; None if it is over."""
        return self._number_of.get(task)

    def where(self, task: int) -> Caller | None:
        """The worker at which a task has begun."""
        return self._runs_at.get(task)

    def at(self, worker: Caller) -> list[int]:
        """The numbers of what has begun at a worker."""
        return [self._number_of[task] for task, caller in self._runs_at.items() if caller is worker]

    def began(self, number: int, task: int, worker: Caller) -> bool:
        """Note it; False if the job was given up."""
        if number not in self.jobs:
            return False
        self._runs_at[task] = worker
        return True

    def end(self, number: int, outcome: Outcome, sentence: str) -> Job | None:
        """Forget a job, and give its open calls this result; None if it is over already."""
        job = self.jobs.pop(number, None)
        if job is None:
            return None
        for call in job.batch.calls:
            self._number_of.pop(call.task, None)
            self._runs_at.pop(call.task, None)
        job.end_rest(outcome, sentence, self._clock.now_ns())
        return job
