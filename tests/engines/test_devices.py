"""GPUs are dealt to slots for life, and a task sees those of its slot alone; no device is needed to see that."""

from __future__ import annotations

import os

import pytest

from mlforhpc.core.errors import Unplaceable, UsageError
from mlforhpc.core.task import Resources
from mlforhpc.engines import processes
from mlforhpc.engines._devices import DEVICES, dealt
from mlforhpc.testing._engine_driving import opened


@pytest.mark.parametrize(
    ("devices", "slots", "hands"),
    [
        ([], 2, [[], []]),
        (["0", "1"], 2, [["0"], ["1"]]),
        (["4", "7"], 3, [["4"], ["7"], []]),
        (["0", "1", "2", "3", "4"], 2, [["0", "1"], ["2", "3"]]),
    ],
)
def test_devices_are_dealt_evenly(devices, slots, hands):
    """Each slot gets as many; what is left over, nobody."""
    assert dealt(devices, slots) == hands


def test_a_task_sees_the_devices_of_its_slot(monkeypatch):
    """Three slots, two devices: two tasks with one each at a time, a task without runs on the slot that has none."""
    monkeypatch.setenv(DEVICES, "GPU-a,GPU-b")
    with opened(lambda: processes.create(3)) as broker:
        plain = broker.submit("decide", os.getenv, DEVICES)
        assert plain.result(60) == "GPU-a,GPU-b"  # inherited, as without us
        seen = [broker.submit("learn", os.getenv, DEVICES, resources=Resources(gpus=1)) for _ in range(8)]
        assert {future.result(60) for future in seen} == {"GPU-a", "GPU-b"}
        with pytest.raises(Unplaceable, match="at most 1"):
            broker.submit("learn", os.getenv, DEVICES, resources=Resources(gpus=2))


def test_devices_that_are_not_there_are_refused(monkeypatch):
    """Asked for three, found one."""
    monkeypatch.setenv(DEVICES, "0")
    with pytest.raises(UsageError, match="found 1"):
        processes.create(2, gpus=3)
