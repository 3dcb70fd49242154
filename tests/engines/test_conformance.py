"""Every engine keeps the contract: the real engine, through the checks that we ship."""

from __future__ import annotations

import pytest

from mlforhpc.engines import processes, serial
from mlforhpc.testing.engines import CHECKS, ENDING

QUICK = {"serial": lambda: serial.create(), "processes": lambda: processes.create(2)}
SYSTEMS = ("dask", "mpi", "parsl", "ray")


class Kept:
    """An engine that stays when a check shuts it down: another system takes seconds to start."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def shutdown(self):
        """Not yet."""


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    """(the adapter's module, one of its engines that is up)."""
    module = pytest.importorskip(f"mlforhpc.engines.{request.param}")
    engine = module.create(2)
    yield module, Kept(engine)
    engine.shutdown()


@pytest.mark.parametrize("engine", QUICK)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_engine_keeps_its_contract(check, engine):
    """See the check's docstring."""
    check(QUICK[engine])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_system_keeps_the_contract(check, system):
    """See the check's docstring."""
    module, engine = system
    name = module.__name__
    check((lambda: __import__(name, fromlist=["create"]).create(2)) if check in ENDING else lambda: engine)
