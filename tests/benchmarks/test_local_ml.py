"""The benchmark `local-ml`: scikit-learn's fits are what they should be, and wrong ones are found."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from mlforhpc.run import Request, run
from mlforhpc.scenarios.launching_tasks import simulated

pytest.importorskip("sklearn", reason="pip install 'mlforhpc[sklearn]'")
local_ml = importlib.import_module("mlforhpc.benchmarks.local.local_ml")
fits = importlib.import_module("mlforhpc.benchmarks.local._fits")


@pytest.mark.system
def test_the_quality_block_has_the_same_digits_on_serial_and_processes(tmp_path):
    """Whatever the engine and its slots, every digit, by seed."""
    requests = [
        Request(benchmark="local-ml", size="tiny", seed=3, engine="serial"),
        Request(benchmark="local-ml", size="tiny", seed=3, slots=2),
    ]
    serial, processes = (run(request, root=tmp_path)[1] for request in requests)
    assert serial.quality == processes.quality and serial.quality["unequal_share"] == 0.0
    assert serial.verdict.status == processes.verdict.status == "VALID"


@pytest.mark.parametrize("one", [f for f in local_ml.FITS if f.length_ms <= 100], ids=lambda f: f.family)
def test_a_fit_learns_and_its_seed_decides_it(one):
    """The same seed, the same bits; on an output that is noise it scores near chance."""
    table = simulated(one.simulation, 300, 1)
    fit = one.ways[0].fit
    score = fit(table, one.size, 11)
    assert score == fit(table, one.size, 11) and score > one.least_score - 0.1
    shuffled = table.copy()
    shuffled[:, -1] = np.random.default_rng(0).permutation(shuffled[:, -1])
    assert fit(shuffled, one.size, 11) < 0.75


def test_the_rows_a_score_is_of_are_not_those_of_the_fit():
    """Three quarters and one quarter, no row in both, all of them together."""
    x, y, unseen, wanted = fits.split(simulated("borehole", 40, 0), 5)
    assert (len(x), len(y), len(unseen), len(wanted)) == (30, 30, 10, 10)
    assert len({tuple(row) for row in np.vstack([x, unseen])}) == 40


def test_a_ridge_with_another_penalty_is_found(monkeypatch):
    """`verify` solves the normal equations with the stated one."""
    good = fits.Ridge
    monkeypatch.setattr(fits, "Ridge", lambda alpha: good(alpha=2 * alpha))
    assert {check.name for check in local_ml.verify() if not check.passed} == {"ridge"}


def test_a_clock_in_other_units_is_found(monkeypatch):
    """Milliseconds instead of seconds."""
    good = local_ml.timed
    monkeypatch.setattr(local_ml, "timed", lambda *args: [(score, 1e3 * seconds) for score, seconds in good(*args)])
    assert {check.name for check in local_ml.verify() if not check.passed} == {"clock"}
