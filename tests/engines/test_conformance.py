"""Every engine that runs on one machine keeps the contract."""

from __future__ import annotations

import pytest

from mlforhpc.engines import processes, serial
from mlforhpc.testing.engines import CHECKS

ENGINES = {"serial": lambda: serial.create(), "processes": lambda: processes.create(2)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_engine_keeps_its_contract(check, engine):
    """See the check's docstring."""
    check(ENGINES[engine])
