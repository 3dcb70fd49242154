"""A future that costs a tenth of the standard library's while nobody waits for it, so that 100,000 may be pending.

`concurrent.futures.Future` makes a condition, with lock and deque, and two lists at once: 1.2 KB. Here they are made
when somebody first waits for the future or asks to be called; one that is over without that never has them. All that
takes a standard future takes this one: `wait`, `as_completed`, `asyncio.wrap_future`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, NoReturn

_PENDING, _FINISHED = "PENDING", "FINISHED"  # as the standard library spells them
_OPENING = threading.RLock()  # held for a moment: a future is opened, or ends without having been


class LeanFuture(Future[Any]):
    """Is pending, then finished. To cancel it is the business of whoever makes it."""

    __slots__ = ("_condition", "_done_callbacks", "_exception", "_opened", "_result", "_state", "_waiters")

    def __init__(self) -> None:
        self._state = _PENDING
        self._result = self._exception = None
        self._opened = False

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

    def set_result(self, result: Any) -> None:
        """End it."""
        if not self._end(result, None):
            super().set_result(result)

    def set_exception(self, exception: BaseException | None) -> None:
        """End it."""
        if not self._end(None, exception):
            super().set_exception(exception)

    def _end(self, result: Any, exception: BaseException | None) -> bool:
        """End it if it was not opened: then nobody is to be told."""
        with _OPENING:
            if self._opened or self._state != _PENDING:
                return False
            self._result, self._exception, self._state = result, exception, _FINISHED
        return True

    def __getattr__(self, name: str) -> Any:
        """What the standard library's methods look for and was not made yet."""
        if name == "_condition":
            return self._open()
        if name not in ("_waiters", "_done_callbacks"):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        if self._state == _FINISHED:
            return _NOTHING
        made: list[Any] = []  # whoever asks holds the condition
        setattr(self, name, made)
        return made

    def _open(self) -> _Gate | _Nothing:
        with _OPENING:
            if not self._opened:
                if self._state == _FINISHED:
                    return _NOTHING
                self._condition = _Gate()  # type: ignore[assignment]
                self._opened = True
            gate: Any = self._condition
            return gate  # type: ignore[no-any-return]


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
    """The condition and the lists of a future that ended unopened: it does not change, so nothing is locked or kept.

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
