"""The lean future beside the standard one: whatever waits for that, waits for this."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, InvalidStateError, as_completed, wait

import pytest

from mlforhpc.core.future import LeanFuture

WAIT_S = 60


def later(*actions):
    """Run each action in a thread of its own, when another thread waits for a future or is about to."""
    threads = [threading.Thread(target=action, daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    return threads


def waited_for(future):
    """Return when some thread has opened the future."""
    end = time.monotonic() + WAIT_S
    while not future._opened:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_result_that_is_there_is_returned_and_nothing_was_made_for_it():
    """Neither condition nor list, whoever asks afterwards."""
    future = LeanFuture()
    assert (future.done(), future.running(), future.cancelled(), future.cancel()) == (False, False, False, False)
    future.set_result(3)
    called = []
    future.add_done_callback(called.append)
    assert (future.result(), future.exception(), future.done()) == (3, None, True)
    assert wait([future]).done == {future}
    assert list(as_completed([future])) == [future]
    assert called == [future]
    wait([future, LeanFuture()], 0)
    with pytest.raises(AttributeError):
        object.__getattribute__(future, "_waiters")
    assert not future._opened
    assert isinstance(future, Future)


def test_an_error_is_raised():
    """By `result`, and returned by `exception`."""
    future, error = LeanFuture(), ValueError("x")
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(ValueError, match="x"):
        future.result()


@pytest.mark.parametrize("opened", [False, True])
def test_it_ends_once(opened):
    """A second end is refused, as the standard library does, and changes nothing."""
    future = LeanFuture()
    if opened:
        future.add_done_callback(lambda future: None)
    future.set_result(1)
    with pytest.raises(InvalidStateError):
        future.set_result(2)
    with pytest.raises(InvalidStateError):
        future.set_exception(ValueError())
    assert future.result() == 1


def test_result_waits_for_another_thread():
    """And two threads at once are both woken."""
    future, got = LeanFuture(), []
    waiting = later(*[lambda: got.append(future.result())] * 2)
    waited_for(future)
    future.set_result("x")
    for thread in waiting:
        thread.join(WAIT_S)
    assert got == ["x", "x"]


def test_a_timeout_is_raised_and_leaves_the_future_usable():
    """Of `result`, `exception`, `wait` and `as_completed`."""
    future = LeanFuture()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    with pytest.raises(TimeoutError):
        future.exception(0.001)
    with pytest.raises(TimeoutError):
        list(as_completed([future], 0.001))
    assert wait([future], 0.001).not_done == {future}
    future.set_result(1)
    assert future.result() == 1


@pytest.mark.parametrize(
    ("mode", "over", "ends", "found"),
    [
        (ALL_COMPLETED, [0, 1], [3, 2], {0, 1, 2, 3}),
        (FIRST_COMPLETED, [], [2], {2}),
        (FIRST_COMPLETED, [1], [], {1}),
        (FIRST_EXCEPTION, [0], [1, 3], {0, 1, 3}),
        (FIRST_EXCEPTION, [0, 3], [], {0, 3}),
    ],
)
def test_wait_returns_what_it_says(mode, over, ends, found):
    """Of four futures (the third a standard one, the fourth ends with an error) some are over, some end while it waits."""
    futures = [LeanFuture(), LeanFuture(), Future(), LeanFuture()]

    def end(which):
        for i in which:
            if i == 3:
                futures[i].set_exception(ValueError())
            else:
                futures[i].set_result(i)

    def end_later():
        waited_for(max((f for f in futures if isinstance(f, LeanFuture) and not f.done()), key=id))
        end(ends)

    end(over)
    threads = later(end_later) if ends else []
    done, not_done = wait(futures, WAIT_S, return_when=mode)
    for thread in threads:
        thread.join(WAIT_S)
    assert done == {futures[i] for i in found}
    assert not_done == set(futures) - done


def test_as_completed_yields_each_once_in_the_order_they_end():
    """Also those that were over before."""
    futures = [LeanFuture() for _ in range(50)]
    futures[7].set_result(None)
    order = [f for i, f in enumerate(futures[::-1]) if i != 42]

    def end():
        waited_for(futures[49])
        for future in order:
            future.set_result(None)

    (thread,) = later(end)
    found = list(as_completed(futures, WAIT_S))
    thread.join(WAIT_S)
    assert found == [futures[7], *order]


def test_callbacks_are_called_in_the_order_they_were_added():
    """Before somebody waits, meanwhile, and after the end."""
    future, called = LeanFuture(), []
    future.add_done_callback(lambda f: called.append("a"))
    future.add_done_callback(lambda f: called.append("b"))
    assert wait([future], 0).not_done == {future}
    future.add_done_callback(lambda f: called.append("c"))
    future.set_result(None)
    future.add_done_callback(lambda f: called.append("d"))
    assert called == ["a", "b", "c", "d"]


def test_callbacks_are_called_once_each_whichever_thread_comes_first():
    """Four threads add while a fifth ends the future."""
    for _ in range(50):
        future, called, start = LeanFuture(), [], threading.Barrier(5)

        def add(future=future, called=called, start=start):
            start.wait()
            for i in range(20):
                future.add_done_callback(lambda f, i=i: called.append(i))

        def end(future=future, start=start):
            start.wait()
            future.set_result(None)

        for thread in later(*[add] * 4, end):
            thread.join(WAIT_S)
        assert sorted(called) == sorted([*range(20)] * 4)


def test_nobody_who_waits_misses_the_end():
    """Waiting and ending begin at the same moment, 300 times."""
    for i in range(300):
        future, start, got = LeanFuture(), threading.Barrier(3), []

        def ask(future=future, start=start, got=got):
            start.wait()
            got.append(future.result())

        def collect(future=future, start=start, got=got):
            start.wait()
            got.extend(f.result() for f in as_completed([future], WAIT_S))

        threads = later(ask, collect)
        start.wait()
        future.set_result(i)
        for thread in threads:
            thread.join(WAIT_S)
        assert got == [i, i]


def test_two_threads_wait_for_the_same_futures_in_any_order():
    """Those that are over share no lock, so that neither holds up the other."""
    for _ in range(50):
        futures = [LeanFuture() for _ in range(20)]
        for future in futures[::2]:
            future.set_result(None)
        found = []
        waiting = later(*(lambda fs=fs, found=found: found.append(wait(fs, WAIT_S)) for fs in (futures, futures[::-1])))
        for future in futures[1::2]:
            future.set_result(None)
        for thread in waiting:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        assert [done == set(futures) for done, _ in found] == [True, True]


def test_futures_that_are_over_share_no_lock():
    """Who holds one of them holds up nobody who waits for another."""
    held, other, found = LeanFuture(), LeanFuture(), []
    held.set_result(None)
    other.set_result(None)
    held._condition.acquire()
    (thread,) = later(lambda: found.append(wait([other]).done))
    thread.join(WAIT_S)
    held._condition.release()
    assert found == [{other}]


def test_a_future_is_opened_once():
    """Who comes second, and was on the way already, gets what the first one made."""
    future = LeanFuture()
    assert future._open() is future._open() is future._condition


def test_asyncio_awaits_it():
    """Its result, its error, and what ends in another thread."""

    async def gather():
        futures = [LeanFuture() for _ in range(3)]
        futures[0].set_result(0)
        wrapped = [asyncio.wrap_future(future) for future in futures]
        later(lambda: futures[1].set_result(1), lambda: futures[2].set_exception(ValueError("two")))
        return await asyncio.gather(*wrapped, return_exceptions=True)

    zero, one, two = asyncio.run(gather())
    assert (zero, one, str(two)) == (0, 1, "two")


def test_other_attributes_are_missing_as_usual():
    """With the usual sentence."""
    with pytest.raises(AttributeError, match="'LeanFuture' object has no attribute 'value'"):
        _ = LeanFuture().value


def test_it_is_small_until_it_is_waited_for():
    """Under 200 bytes, and under 700 with somebody in `wait`; the standard one takes 1,200."""

    def size(make):
        make()  # what the class itself needs
        tracemalloc.start()
        try:
            kept = [make() for _ in range(1000)]
            return tracemalloc.get_traced_memory()[0] / len(kept)
        finally:
            tracemalloc.stop()

    def waited():
        future = LeanFuture()
        wait([future], 0)
        future.add_done_callback(print)
        return future

    assert size(LeanFuture) < 200
    assert size(waited) < 700
    assert size(Future) > 1000
