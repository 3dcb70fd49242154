"""Sensitivity as a table and a figure, from a surrogate and from a judgement."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mlforhpc.core.space import Real, Space
from mlforhpc.metrics.strata import one_stratum
from mlforhpc.report.plot import panel_svg
from mlforhpc.scenarios.sensitivity_figure import (
    MOST_PANELS,
    judged_sensitivity,
    sensitivity_figure,
    sensitivity_table,
    surrogate_sensitivity,
)

SPACE = Space(a=Real(0, 1), b=Real(0, 1))


class Linear:
    """A surrogate of y = slope a + 2 b on three elements, and of a constant."""

    space = SPACE

    def __init__(self, slope: float = 1.0) -> None:
        self.slope = slope

    def predict(self, x):
        """Means alone."""
        y = self.slope * x[:, 0] + 2 * x[:, 1]
        return SimpleNamespace(mean={"profile": np.tile(y[:, None], (1, 3)), "still": np.full(len(x), 7.0)})


def test_the_table_has_a_row_an_output_and_parameter():
    """Shares 0.2 and 0.8 of the profile; empty cells and a sentence for the constant."""
    table = sensitivity_table(surrogate_sensitivity(Linear(), seed=0))
    assert [row[:2] for row in table.rows] == [["profile", "a"], ["profile", "b"], ["still", "a"], ["still", "b"]]
    assert all(len(row) == len(table.columns) for row in table.rows)
    values = np.array([row[2:] for row in table.rows[:2]], dtype=float)
    assert values[:, [0, 3]] == pytest.approx(np.array([[0.2, 0.2], [0.8, 0.8]]), abs=0.01)
    assert (values[:, [1, 4]] <= values[:, [0, 3]]).all() and (values[:, [0, 3]] <= values[:, [2, 5]]).all()
    assert all(cell is None for row in table.rows[2:] for cell in row[2:])
    assert "sampling only" in table.caption and "still: the output does not vary" in table.caption


def test_the_figure_has_a_panel_for_each_output_that_varies():
    """Two bars a parameter, with intervals, named on the axis; the report draws it."""
    figure = sensitivity_figure(surrogate_sensitivity(Linear(), seed=0))
    assert figure is not None and [panel.title for panel in figure.panels] == ["profile"]
    (panel,) = figure.panels
    assert panel.categories == ["a", "b"] and [s.label for s in panel.series] == ["first-order", "total"]
    assert all(s.style == "bars" and s.lower is not None and s.upper is not None for s in panel.series)
    from mlforhpc.report.draw import Ink

    inks = {"first-order": Ink("accent", "o"), "total": Ink("muted", "s")}
    assert "<svg" in panel_svg(panel, inks, prefix="p", title="shares")


def test_no_figure_of_what_does_not_vary_and_no_more_panels_than_fit():
    """None; and at most eight."""
    found = surrogate_sensitivity(Linear(), seed=0)
    assert sensitivity_figure({"still": found["still"]}) is None
    many = sensitivity_figure({f"y{i}": found["profile"] for i in range(20)})
    assert many is not None and len(many.panels) == MOST_PANELS


def test_a_judgement_s_error_is_in_the_intervals():
    """Neither the references' own noise of 0.05 nor a shift of 0.5 counts, only the error that varies, of variance 0.01."""
    rng = np.random.default_rng(0)
    n = 2000
    x, surrogate = rng.random((n, 2)), Linear()
    p = surrogate.predict(x)
    truth = {name: mean + 0.5 + 0.1 * np.sqrt(12) * (x[:, :1] - 0.5).reshape(n, *[1] * (mean.ndim - 1)) for name, mean in p.mean.items()}
    runs = [SimpleNamespace(y={name: t + 0.05 * rng.standard_normal(t.shape) for name, t in truth.items()}) for _ in range(2)]
    judgement = SimpleNamespace(
        predicted=p,
        measured=SimpleNamespace(r1=runs[0], r2=runs[1]),
        strata=one_stratum(n),
        learned=SimpleNamespace(surrogate=surrogate),
    )
    s = judged_sensitivity(judgement, seed=0)["profile"]
    relative = 0.1 / np.sqrt(5 / 12)
    assert s.label == "sampling and error of the surrogate"
    assert s.first_upper[0] == pytest.approx(((np.sqrt(0.2) + relative) / (1 - relative)) ** 2, rel=0.05)
    true_share = (1 + 0.1 * np.sqrt(12)) ** 2 / ((1 + 0.1 * np.sqrt(12)) ** 2 + 4)
    assert s.first_lower[0] < true_share < s.first_upper[0]


def test_refitted_folds_widen_the_intervals():
    """By their spread, as metrics says."""
    alone = surrogate_sensitivity(Linear(), seed=0)["profile"]
    s = surrogate_sensitivity(Linear(), folds=[Linear(0.9), Linear(1.1), Linear(1.05)], seed=0)["profile"]
    assert s.label == "sampling and spread of surrogates" and "spread of surrogates" in sensitivity_table({"profile": s}).caption
    assert (s.first_upper - s.first_lower > 2 * (alone.first_upper - alone.first_lower)).all()
