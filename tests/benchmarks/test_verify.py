"""`verify` passes on the good yardstick, and fails when solver, metric or scale is broken on purpose.

The broken solvers, error bars and baselines of the electrolyte are in tests/simulations/test_nanoconfinement.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.benchmarks.around import surrogate_borehole
from mlforhpc.benchmarks.data import data_workflow
from mlforhpc.core import names
from mlforhpc.metrics import handcase
from mlforhpc.scenarios import measured_compute
from mlforhpc.simulations import borehole

LONG = {"surrogate-charged-slit", "surrogate-nanoconfinement"}  # half a minute each: in the system tests


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.system if name in LONG else ()) for name in sorted(names.find("benchmarks"))]
)
def test_verify_passes_and_stays_cheap(name):
    """Every check passes, each in at most 30 core-seconds."""
    try:
        module = names.load("benchmarks", name)
    except names.MissingExtra as error:
        pytest.skip(str(error))
    checks = list(module.verify())
    assert [c.sentence for c in checks if not c.passed] == []
    assert max(c.cost_s for c in checks) <= 30.0 and len({c.name for c in checks}) == len(checks)


def failing(check_iterator) -> set[str]:
    """Names of the checks that fail."""
    return {check.name for check in check_iterator if not check.passed}


def test_a_metric_that_believes_its_references_is_found(monkeypatch):
    """(p - r1)^2 instead of (p - r1)(p - r2): e_2 and all that stands on it fails."""
    good = handcase.error_terms
    monkeypatch.setattr(handcase, "error_terms", lambda outputs, p, r1, r2: good(outputs, p, r1, r1))
    assert "e_2" in failing(surrogate_borehole.verify()) and "q^2" in failing(surrogate_borehole.verify())


def test_a_ladder_of_the_wrong_cost_is_found(monkeypatch):
    """A conventional cost that is twice as high flatters the gain; three checks fail."""
    good = handcase.build_ladder

    def careless(rungs, strata):
        doubled = [handcase.Rung(name=r.name, steps=r.steps, terms=r.terms, cost_s=2 * np.asarray(r.cost_s)) for r in rungs]
        return good(doubled, strata)

    monkeypatch.setattr(handcase, "build_ladder", careless)
    assert failing(surrogate_borehole.verify()) == {"C_conv", "gain(100)", "N*"}


def test_a_wrong_solver_and_a_wrong_scale_are_found(monkeypatch):
    """One per cent more flow, and a scale that is a third off."""
    monkeypatch.setattr(borehole, "flow", _wrong(borehole.flow))
    assert "formula" in failing(surrogate_borehole.verify())
    monkeypatch.undo()
    monkeypatch.setattr(borehole, "FLOW", borehole.Output(name="flow", scale=30.0))
    assert failing(surrogate_borehole.verify()) == {"scale"}


def test_a_kernel_that_forgets_a_parent_or_rounds_otherwise_is_found(monkeypatch):
    """Values that do not depend on the order of the parents, and another rate of the map."""
    start = measured_compute.start
    monkeypatch.setattr(measured_compute, "start", lambda task, parents: start(task, sorted(parents)))
    assert failing(data_workflow.verify()) == {"every dependence shows"}
    monkeypatch.undo()
    monkeypatch.setattr(measured_compute, "folded", lambda x: float(x[0]))
    assert failing(data_workflow.verify()) == {"kernel"}


def _wrong(flow):
    def wrong(*, rw: float, r: float, Tu: float, Hu: float, Tl: float, Hl: float, L: float, Kw: float) -> float:
        return 1.01 * flow(rw=rw, r=r, Tu=Tu, Hu=Hu, Tl=Tl, Hl=Hl, L=L, Kw=Kw)

    return wrong
