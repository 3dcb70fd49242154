"""Every benchmark at size tiny, its contract, and the gates that make a verdict mean something."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from mlforhpc.core import names
from mlforhpc.core.benchmark import SIZE_NAMES
from mlforhpc.run import Request, run

ALL = sorted(names.find("benchmarks"))
SMOOTHED = {"surrogate-nanoconfinement", "surrogate-charged-slit"}
"""Benchmarks whose conventional runs are smoothed."""


def benchmark(name: str):
    """The module, or a skip that names the extra."""
    try:
        return names.load("benchmarks", name)
    except names.MissingExtra as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ALL)
def test_a_benchmark_keeps_its_contract(name):
    """A question, a version, a class that is its folder, a source, a target and a plan for every size."""
    module = benchmark(name)
    assert module.__doc__.splitlines()[0].endswith("?") and module.VERSION and module.SOURCE
    assert module.__name__.split(".")[-2] == module.CLASS
    assert set(module.TARGET) == set(module.PLANS) <= set(SIZE_NAMES) and {"tiny", "small"} <= set(module.PLANS)


@pytest.mark.parametrize("name", ALL)
def test_a_benchmark_is_valid_at_tiny_and_has_no_rank(name, tmp_path):
    """An installation check, on two slots; where conventional runs are smoothed, the ladder is that of the smoothed ones."""
    module = benchmark(name)
    folder, result = run(Request(benchmark=name, size="tiny", slots=2), root=tmp_path)
    assert result.verdict.status == "VALID", result.verdict.reason
    assert not result.verdict.ranked and (folder / "result.json").exists()
    assert result.references and all(figure.panels for figure in result.figures)
    if module.CLASS == "around":
        assert "sensitivity" in {table.name for table in result.tables} & {figure.name for figure in result.figures}
    if name in SMOOTHED:
        ladder = next(table for table in result.tables if table.name == "ladder")
        error, raw = (ladder.columns.index(column) for column in ("error", "error of raw runs"))
        assert all(row[error] < 0.9 * row[raw] for row in ladder.rows)


def test_quality_has_the_same_digits_on_serial_and_processes(tmp_path):
    """Every digit of the quality block, by seed, whatever the engine."""
    found = [
        run(Request(benchmark="surrogate-borehole", size="tiny", seed=7, engine=engine), root=tmp_path)[1].quality
        for engine in ("serial", "processes")
    ]
    assert found[0] == found[1]


def test_held_out_systems_are_stratified_and_weighted_back():
    """20 systems a valence, 16 in the corner, 24 in its packed part; weights sum to one, each stratum's to its share of the space."""
    module = benchmark("surrogate-nanoconfinement")
    space = importlib.import_module("mlforhpc.simulations.nanoconfinement").Nanoconfinement.space
    held = module.held_out(space, module.SIZES["small"], seed=3)
    of = {name: np.array([s == name for s in held.stratum]) for name in held.stratum}
    assert {name: int(rows.sum()) for name, rows in of.items()} == {
        "z+ = 1": 20, "z+ = 2": 20, "z+ = 3": 20, "dense corner": 16, "packed corner": 24,
    }  # fmt: skip
    everywhere = space.decode(np.random.default_rng(0).random((200_000, 4)))
    c, z, d = everywhere[:, 1:].T
    corner, packed = (z == 3) & (d > 0.68) & (c > 0.6), (z == 3) & (d > 0.72) & (c > 0.75)
    shares = {"z+ = 1": z == 1, "z+ = 3": (z == 3) & ~corner, "dense corner": corner & ~packed, "packed corner": packed}
    for name, rows in shares.items():
        assert held.weight[of[name]].sum() == pytest.approx(rows.mean(), abs=0.003)
    assert held.weight.sum() == pytest.approx(1.0)
    c, z, d = held.x[:, 1:].T
    corner, packed = (z == 3) & (d > 0.68) & (c > 0.6), (z == 3) & (d > 0.72) & (c > 0.75)
    assert (of["packed corner"] == packed).all() and (of["dense corner"] == corner & ~packed).all() and (of["z+ = 1"] == (z == 1)).all()
    space.check(held.x)
    assert not np.allclose(held.x, module.held_out(space, module.SIZES["small"], seed=4).x)


def test_a_broken_run_leaves_its_folder_and_reason(tmp_path, monkeypatch):
    """A run that raises is logged and can be resumed; nothing is overwritten."""
    module = benchmark("surrogate-borehole")

    def broken(*args, **kwargs):
        raise RuntimeError("the referee fell asleep")

    monkeypatch.setattr(module, "judge", broken)
    with pytest.raises(RuntimeError):
        run(Request(benchmark="surrogate-borehole", size="tiny", slots=2), root=tmp_path)
    (folder,) = Path(tmp_path).iterdir()
    assert "fell asleep" in (folder / "log.txt").read_text() and not (folder / "result.json").exists()
