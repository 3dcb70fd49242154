"""Every engine keeps the contract: the real engine, through the checks that we ship."""

from __future__ import annotations

import pytest

from mlforhpc.engines import processes, serial
from mlforhpc.testing.engines import CHECKS, ENDING, Kept

QUICK = {"serial": lambda: serial.create(), "processes": lambda: processes.create(2)}
SYSTEMS = ("dask", "mpi", "parsl", "ray")
ENDS = [pytest.param(check, name, marks=pytest.mark.system if name in ("parsl", "ray") else ()) for check in ENDING for name in SYSTEMS]


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request):
    """One of its engines, up."""
    module = pytest.importorskip(f"mlforhpc.engines.{request.param}")
    engine = module.create(2)
    yield Kept(engine)
    engine.shutdown()


@pytest.mark.parametrize("engine", QUICK)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_engine_keeps_its_contract(check, engine):
    """See the check's docstring."""
    check(QUICK[engine])


@pytest.mark.parametrize("check", [check for check in CHECKS if check not in ENDING], ids=lambda check: check.__name__)
def test_system_keeps_the_contract(check, system):
    """See the check's docstring."""
    check(lambda: system)


@pytest.mark.parametrize(("check", "name"), ENDS, ids=lambda given: getattr(given, "__name__", given))
def test_system_ends_as_the_contract_says(check, name):
    """See the check's docstring; each on a system of its own (those that take long to start: in the system tests)."""
    module = pytest.importorskip(f"mlforhpc.engines.{name}")
    check(lambda: module.create(2))
