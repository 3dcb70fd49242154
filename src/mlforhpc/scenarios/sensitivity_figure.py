"""Which parameters matter, by a learned surrogate: Sobol indices with intervals that hold its error, as a table and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

from mlforhpc.core.learner import Surrogate
from mlforhpc.core.result import Cell, Figure, Panel, Series, Table
from mlforhpc.metrics.quality import replicates
from mlforhpc.metrics.sensitivity import Means, Sensitivity, sensitivities
from mlforhpc.scenarios.judgement import Judgement

RESAMPLES = 2000
MOST_PANELS = 8
REFERENCES = (
    "Saltelli, Annoni, Azzini, Campolongo, Ratto, Tarantola, Variance based sensitivity analysis of model output. Design and estimator "
    "for the total sensitivity index, Comput. Phys. Commun. 181:259-270, 2010, doi 10.1016/j.cpc.2009.09.018",
    "Gamboa, Janon, Klein, Lagnoux, Sensitivity analysis for multidimensional and functional outputs, Electron. J. Stat. 8:575-603, 2014, "
    "doi 10.1214/14-EJS895",
)


def judged_sensitivity(j: Judgement, *, n: int = 1024, seed: int) -> dict[str, Sensitivity]:
    """Indices of a judged surrogate; their intervals hold its error on the held-out systems, at that error's one-sided 95 % upper limit."""
    w = j.strata.weights
    errors: dict[str, float] = {}
    for name, p in j.predicted.mean.items():
        one, other = ((p - r.y[name]).reshape(len(p), -1) for r in (j.measured.r1, j.measured.r2))  # (n, m)
        terms = ((one - w @ one) * (other - w @ other)).mean(axis=1)  # (n,), the references' noise drops out as it does of q^2
        limit = replicates(terms, j.strata, seed=seed, draws=RESAMPLES).limit("upper")
        errors |= {} if limit is None else {name: max(limit, 0.0)}
    return surrogate_sensitivity(j.learned.surrogate, errors=errors, n=n, seed=seed)


def surrogate_sensitivity(
    surrogate: Surrogate, *, errors: Mapping[str, float] | None = None, folds: Sequence[Surrogate] = (), n: int = 1024, seed: int
) -> dict[str, Sensitivity]:
    """Indices of a surrogate's means, output name -> indices; see `mlforhpc.metrics.sensitivity.sensitivities`.

    Args:
        surrogate: is asked for n (d + 2) answers.
        errors: output name -> variance of its error over the space, mean over elements, in the output's unit squared, for the intervals.
        folds: surrogates fitted without one part of the runs each, whose spread intervals are to hold instead; tighter than errors.
        n: rows, a power of two.
        seed: of the rows.
    """

    def means(one: Surrogate) -> Means:
        return lambda x: one.predict(x).mean

    draws = [means(fold) for fold in folds]
    return sensitivities(means(surrogate), surrogate.space, n=n, draws=draws, folds=True, errors=errors, seed=seed)


def sensitivity_table(found: Mapping[str, Sensitivity]) -> Table:
    """One row an output and parameter; cells are empty where an output does not vary."""
    rows: list[list[Cell]] = []
    for output, s in found.items():
        numbers = (s.first, s.first_lower, s.first_upper, s.total, s.total_lower, s.total_upper)
        rows += [[output, name, *(_cell(column[i]) for column in numbers)] for i, name in enumerate(s.names)]
    return Table(
        name="sensitivity",
        title="Which parameters matter",
        columns=["output", "parameter", "first-order", "from", "to", "total", "total from", "total to"],
        rows=rows,
        caption=_caption(found),
    )


def sensitivity_figure(found: Mapping[str, Sensitivity]) -> Figure | None:
    """A panel for each output that varies, at most eight; None if none does."""
    shown = [(output, s) for output, s in found.items() if not s.note]
    if not shown:
        return None
    return Figure(
        name="sensitivity",
        title="Which parameters matter",
        caption=_caption(found),
        panels=[_panel(output, s) for output, s in shown[:MOST_PANELS]],
    )


def _panel(output: str, s: Sensitivity) -> Panel:
    at = [float(i) for i in range(len(s.names))]
    parts = (("first-order", s.first, s.first_lower, s.first_upper), ("total", s.total, s.total_lower, s.total_upper))
    series = [
        Series(label=label, x=at, y=list(map(float, y)), lower=list(map(float, lower)), upper=list(map(float, upper)), style="bars")
        for label, y, lower, upper in parts
    ]
    return Panel(title=output.replace("_", " "), y_label="share of variance", series=series, categories=list(s.names))


def _caption(found: Mapping[str, Sensitivity]) -> str:
    labels = sorted({s.label for s in found.values() if not s.note})
    parts = [
        "Sobol indices of the surrogate: the share of an output's variance over the space that a parameter explains alone (first-order) "
        "and with all its interactions (total). Of an array, its elements' shares, weighted by their variances."
    ]
    parts += [f"95 % intervals hold: {', '.join(labels)}."] if labels else []
    return " ".join([*parts, *(f"{output}: {s.note}." for output, s in found.items() if s.note)])


def _cell(value: float) -> float | None:
    return None if isnan(value) else round(float(value), 4) + 0.0  # no -0.0; the rest is below any interval
