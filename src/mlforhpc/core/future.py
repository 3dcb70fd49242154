"""A future that costs a tenth of the standard library's while nobody waits for it, so that 100,000 may be pending.

`concurrent.futures.Future` makes a condition, with lock and deque, and two lists at once: 1.2 KB in fifteen objects.
Here they are made when a thread first waits for the future; one that is over without that never has them. All that
takes a standard future takes this one: `wait`, `as_completed`, `asyncio.wrap_future`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
_PENDING, _FINISHED = "PENDING", "FINISHED"  # as the standard library spells them
_MOMENT = threading.RLock()  # held for a moment: while a future is opened, gets a callback, or ends without having been opened


class LeanFuture(Future[T]):
    """Is pending, then finished. To cancel it is the business of whoever makes it."""

    __slots__ = ("_condition", "_done_callbacks", "_exception", "_opened", "_result", "_state", "_waiters")
    _done_callbacks: Any

    def __init__(self) -> None:
        self._state = _PENDING
        self._result = self._exception = None
        self._opened = False
        self._done_callbacks = ()

    def cancel(self) -> bool:
        """False: it cannot be cancelled."""
        return False

    def cancelled(self) -> bool:
        """False: a task that was cancelled has finished, with an error that says so."""
        return False

    def running(self) -> bool:
        """False: whether a task has started is in the trace."""
        return False

    def done(self) -> bool:
        """Whether it has a result or an error."""
        return self._state == _FINISHED

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call it when the future is over, or now if it is."""
        with _MOMENT:
            if self._state == _PENDING and not self._opened:
                self._done_callbacks = [*self._done_callbacks, fn]
                return
        super().add_done_callback(fn)

    def set_result(self, result: T) -> None:
        """End it."""
        if not self._end(result, None):
            super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        """End it."""
        if not self._end(None, exception):
            super().set_exception(exception)

    def _end(self, result: T | None, exception: BaseException | None) -> bool:
        """End it if it was not opened: then no thread is to be woken."""
        with _MOMENT:
            if self._opened or self._state != _PENDING:
                return False
            self._result, self._exception, self._state = result, exception, _FINISHED
        if self._done_callbacks:
            self._invoke_callbacks()
        return True

    def __getattr__(self, name: str) -> Any:
        """What the standard library's methods look for and was not made yet."""
        if name == "_condition":
            return self._open()
        if name != "_waiters":
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if self._state == _FINISHED:
            return _NOTHING
        self._waiters = []  # whoever asks holds the condition
        return self._waiters

    def _open(self) -> Any:
        with _MOMENT:
            if not self._opened:
                if self._state == _FINISHED:
                    return _NOTHING
                self._done_callbacks = list(self._done_callbacks)
                self._condition = _Gate()  # type: ignore[assignment]
                self._opened = True
            return self._condition


class _Gate:
    """A condition of which only the lock exists until a thread waits in it; `wait` and `as_completed` need no more."""

    __slots__ = ("_lock", "_room")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._room: threading.Condition | None = None

    def acquire(self) -> bool:
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        if self._room is None:
            self._room = threading.Condition(self._lock)
        return self._room.wait(timeout)

    def notify_all(self) -> None:
        if self._room is not None:
            self._room.notify_all()


class _Nothing:
    """The condition and the waiters of a future that ended unopened: it does not change, so nothing is locked or kept.

    One lock for all of them would not do: `wait` locks many futures, in an order that keeps two callers apart only if
    each has its own.
    """

    __slots__ = ()

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return

    def __enter__(self) -> bool:
        return True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return

    def append(self, waiter: object) -> None:
        return

    def remove(self, waiter: object) -> None:
        return

    def __iter__(self) -> Iterator[NoReturn]:
        return iter(())


_NOTHING = _Nothing()
