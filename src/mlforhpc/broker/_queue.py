"""Which tasks start next: strictly first come, first served, so that a wide task is never overtaken for ever.

A task starts when its cores (and memory) are free, an exclusive one when everything is. Tasks of functions that
measure under 5 ms go in batches, and one batch more a slot than runs, so that a slot never waits for the driver; all
others go one by one, so that none waits behind another while a slot is free (an engine with `lookahead` has a queue
of its own: a task of one core may wait there, so that a slot does not wait for the way through the engine).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from mlforhpc.broker.task import Task
from mlforhpc.core.engine import Capabilities
from mlforhpc.core.errors import Unplaceable
from mlforhpc.core.task import Resources

_QUICK_NS = 5_000_000
_BATCH_NS = 2_000_000
_LARGEST_BATCH = 32
_FADE = 0.8
_MOST_FUNCTIONS = 1024


@dataclass(slots=True, eq=False)
class Placement:
    """Tasks that went to the engine as one batch, and what they hold until it is back."""

    tasks: list[Task]
    quick: bool

    @property
    def resources(self) -> Resources:
        return self.tasks[0].resources


class Queue:
    """The pending tasks, and an account of what is in flight.

    Args:
        slots: cores of the engine.
        memory_bytes: of its host; 0 = unknown, not accounted for.
        capabilities: of the engine.
    """

    def __init__(self, slots: int, memory_bytes: int, capabilities: Capabilities) -> None:
        self.pending: deque[Task] = deque()
        self._slots = slots
        self._memory_bytes = memory_bytes
        self._capabilities = capabilities
        self._cores = 0
        self._gpus = 0
        self._memory = 0
        self._quick = 0
        self._placed = 0
        self._exclusive = False
        self._pace = Pace()

    def check(self, resources: Resources) -> None:
        """Refuse what could never be placed.

        Raises:
            Unplaceable: it says what was asked and what there is.
        """
        asked = resources.cores * resources.ranks
        if resources.cores < 1 or resources.memory_bytes < 0 or resources.gpus < 0 or resources.ranks < 1:
            raise Unplaceable(f"A task needs at least one core and one rank, and nothing negative; found {resources}.")
        if asked > self._slots:
            raise Unplaceable(f"A task asks for {asked} cores, the engine has {self._slots} slots; ask for fewer or start more slots.")
        if self._memory_bytes and resources.memory_bytes > self._memory_bytes:
            raise Unplaceable(f"A task asks for {resources.memory_bytes} bytes of memory, the host has {self._memory_bytes}.")
        most = self._capabilities.gpus_a_task
        if resources.gpus > most:
            raise Unplaceable(f"A task asks for {resources.gpus} GPUs, a slot of this engine has at most {most}; see its option 'gpus'.")
        if resources.ranks > 1 and not self._capabilities.gangs:
            raise Unplaceable(f"A task asks for {resources.ranks} ranks that start together; this engine has no gangs, use 'processes'.")

    def next(self) -> Placement | None:
        """What to start now, taken out of the queue; None if the first task must wait."""
        while self.pending and (self.pending[0].concluded or self.pending[0].cancelling):
            self.pending.popleft()
        if not self.pending or self._exclusive:
            return None
        head = self.pending[0]
        if self._is_quick(head):
            if self._quick >= 2 * (self._slots - self._cores):
                return None
            placement = Placement(self._batch(), True)
        elif self._fits(head.resources):
            placement = Placement([self.pending.popleft()], False)
        else:
            return None
        self._account(placement, 1)
        return placement

    def release(self, placement: Placement) -> None:
        """Its batch is back."""
        self._account(placement, -1)

    def learn(self, task: Task, duration_ns: int) -> None:
        """Take note of how long a function takes."""
        self._pace.add(task.function.reference, duration_ns)

    def _account(self, placement: Placement, sign: int) -> None:
        resources = placement.resources
        self._placed += sign
        if placement.quick:
            self._quick += sign
        else:
            self._cores += sign * resources.cores * resources.ranks
        self._gpus += sign * resources.gpus
        self._memory += sign * resources.memory_bytes
        if resources.exclusive:
            self._exclusive = sign > 0

    def _fits(self, resources: Resources) -> bool:
        if resources.exclusive and self._placed:
            return False
        if self._memory_bytes and self._memory + resources.memory_bytes > self._memory_bytes:
            return False
        if resources.gpus and self._gpus + resources.gpus > self._capabilities.gpus:
            return False
        plain = resources.cores == resources.ranks == 1 and not (resources.gpus or resources.memory_bytes or resources.exclusive)
        room = self._slots * (1 + self._capabilities.lookahead if plain else 1)
        return self._cores + self._quick + resources.cores * resources.ranks <= room

    def _is_quick(self, task: Task) -> bool:
        r = task.resources
        plain = (
            r.cores == r.ranks == 1
            and not (r.exclusive or r.memory_bytes or r.gpus or task.isolated)
            and task.limit_s is None
            and task.attempt == 1
        )
        return plain and self._pace.quick(task.function.reference)

    def _batch(self) -> list[Task]:
        share = -(-len(self.pending) // (2 * self._slots))
        tasks = [self.pending.popleft()]
        total_ns = self._pace.mean_ns(tasks[0].function.reference)
        while self.pending and len(tasks) < min(share, _LARGEST_BATCH) and self._is_quick(self.pending[0]):
            total_ns += self._pace.mean_ns(self.pending[0].function.reference)
            if total_ns > _BATCH_NS:
                break
            task = self.pending.popleft()
            if not (task.concluded or task.cancelling):
                tasks.append(task)
        return tasks


class Pace:
    """How long functions take: a running mean and a fading maximum, of the functions used last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def add(self, reference: str, duration_ns: int) -> None:
        """Note one duration."""
        mean, peak = self._known.pop(reference, (float(duration_ns), 0.0))
        self._known[reference] = mean + 0.1 * (duration_ns - mean), max(float(duration_ns), _FADE * peak)
        if len(self._known) > _MOST_FUNCTIONS:
            self._known.popitem(last=False)

    def mean_ns(self, reference: str) -> float:
        """Running mean."""
        return self._known[reference][0]

    def quick(self, reference: str) -> bool:
        """Whether all recent calls took under 5 ms; False for a function not seen yet."""
        known = self._known.get(reference)
        return known is not None and known[1] < _QUICK_NS
