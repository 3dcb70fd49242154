"""On a host that others fill, a wide task runs alone, and is not starved by narrow ones."""

from __future__ import annotations

import secrets
import threading
import time

from mlforhpc.engines._host_cores import cores_of_host


def test_a_wide_task_has_the_host_to_itself():
    """Narrow ones overlap each other and never the wide one, which begins although more narrow ones keep coming."""
    campaign, running, seen = secrets.token_hex(16), [], []
    lock = threading.Lock()

    def task(width: int) -> None:
        with cores_of_host(campaign, width):
            with lock:
                running.append(width)
                seen.append(sorted(running))
            time.sleep(0.02)
            with lock:
                running.remove(width)

    def narrow_ones() -> None:
        for _ in range(15):
            task(1)

    threads = [threading.Thread(target=narrow_ones) for _ in range(3)] + [threading.Thread(target=task, args=(4,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [4] in seen
    assert not any(len(at_once) > 1 and 4 in at_once for at_once in seen)
    assert any(len(at_once) == 3 for at_once in seen)
