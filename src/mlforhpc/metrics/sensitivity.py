"""Which parameters matter: first-order and total Sobol indices of a surrogate's mean, parameters independent and uniform over the space.

    S_i = V[E(y | x_i)] / V[y]      T_i = E[V(y | all but x_i)] / V[y]
    S_i = mean_j f(b_j) (f(ab_j) - f(a_j)) / v      T_i = mean_j (f(a_j) - f(ab_j))^2 / 2 v      v = mean_j (f(a_j)^2 + f(b_j)^2) / 2
with f centred and rows a_j, b_j of one scrambled Sobol sequence; ab_j is a_j with parameter i of b_j (Saltelli et al. 2010, doi
10.1016/j.cpc.2009.09.018). Same rows, same digits as scipy.stats.sobol_indices (tested), which gives no rows back to calculate an interval
from and whose bootstrap takes no seed. Of an array, numerators and v are summed over its elements (Gamboa, Janon, Klein, Lagnoux,
Sensitivity analysis for multidimensional and functional outputs, 2014, doi 10.1214/14-EJS895).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import stdtrit
from scipy.stats import qmc

from mlforhpc.core.errors import UsageError
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray, Space

COVERAGE = 0.95
BLOCKS = 16
NOTHING = 1e-24  # variance over mean square that rounding leaves of a constant
CONSTANT = "the output does not vary over the space: there is nothing to share out"
Label: TypeAlias = Literal["sampling only", "sampling and spread of surrogates", "sampling and error of the surrogate"]
Mean: TypeAlias = Callable[[FloatArray], FloatArray]
Means: TypeAlias = Callable[[FloatArray], Mapping[str, FloatArray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """Shares of one output's variance, dimensionless, in [0, 1]; estimates scatter about that by the width of their intervals.

    Attributes:
        names: of the parameters, in order (d,).
        first, first_lower, first_upper: what a parameter explains alone, with its interval (d,); they sum to at most 1.
        total, total_lower, total_upper: alone and in interactions (d,); they sum to at least 1.
        coverage: of the intervals.
        label: what the intervals contain.
        note: why there are no shares (all NaN), or the empty string.
    """

    names: tuple[str, ...]
    first: FloatArray
    first_lower: FloatArray
    first_upper: FloatArray
    total: FloatArray
    total_lower: FloatArray
    total_upper: FloatArray
    coverage: float
    label: Label
    note: str = ""


def sensitivity(
    mean: Mean, space: Space, *, n: int = 1024, draws: Sequence[Mean] | None = None, folds: bool = False, seed: int
) -> Sensitivity:
    """Indices of one output: a number (n, 1) or (n,), or an array (n, m); see `sensitivities`."""

    def named(one: Mean) -> Means:
        return lambda x: {"output": one(x)}

    others = None if draws is None else [named(one) for one in draws]
    return sensitivities(named(mean), space, n=n, draws=others, folds=folds, seed=seed)["output"]


def sensitivities(
    mean: Means,
    space: Space,
    *,
    n: int = 1024,
    draws: Sequence[Means] | None = None,
    folds: bool = False,
    errors: Mapping[str, float] | None = None,
    seed: int,
) -> dict[str, Sensitivity]:
    """Indices of every output, each an array of its own; `mean` is called d + 2 times with n points.

    Intervals hold the error of sampling: Student's t over 16 blocks of rows, each balanced itself. For n >= 1024 they cover 0.95 or more
    (a bootstrap over rows takes them for random and is 1.1 to 4 times as wide). And what is known of the surrogate's own error: the spread
    of other surrogates about this one, added in squares; or a bound by its error. An index is the squared length of a projection of y over
    that of y, so with an error of e standard deviations of the surrogate, sqrt S lies between (sqrt S' - e) / (1 + e) and
    (sqrt S' + e) / (1 - e), whatever the error's form.

    Args:
        mean: points in physical units (n, d) -> output name -> (n, *shape), in any unit.
        space: of the parameters; logarithmic ones are uniform in the logarithm, integers and choices over their levels.
        n: rows, a power of two.
        draws: the same of other surrogates that are as likely (realisations), or were fitted without one fold each; same rows.
        folds: the draws are such folds, so that their spread counts len(draws) - 1 times (jackknife).
        errors: output name -> variance of the error of `mean` over the space, mean over elements, in the output's unit squared.
        seed: of the rows.

    Raises:
        UsageError: n is no power of two, draws and errors at once, or predictions that are not finite or not n rows.
    """
    if n < 2 * BLOCKS or n & (n - 1):
        raise UsageError(f"n must be a power of two (only then is a Sobol sequence balanced), at least {2 * BLOCKS}, found {n}.")
    if draws and errors:
        raise UsageError("Intervals take either other surrogates (draws) or an error (errors), found both: choose one.")
    rows = qmc.Sobol(2 * len(space), bits=64, rng=np.random.default_rng(derive(seed, "rows"))).random(n)  # (n, 2 d)
    own, others = _columns(mean, space, rows), [_columns(one, space, rows) for one in draws or ()]
    return {
        name: _with_intervals(space.names, columns, [one[name] for one in others], folds, (errors or {}).get(name))
        for name, columns in own.items()
    }


def _columns(mean: Means, space: Space, rows: FloatArray) -> dict[str, FloatArray]:
    """What each row adds to the numerators of all S_i and all T_i, and to v, means over elements, of every output: (n, 2 d + 1)."""
    n, d = len(rows), len(space)
    one, other = rows[:, :d], rows[:, d:]
    f_a, f_b = _flat(mean(space.decode(one)), n), _flat(mean(space.decode(other)), n)
    columns = {name: np.zeros((n, 2 * d + 1)) for name in f_a}
    middle = {name: (f_a[name].mean(axis=0) + f_b[name].mean(axis=0)) / 2.0 for name in f_a}
    for i in range(d):
        mixed = one.copy()
        mixed[:, i] = other[:, i]
        f_ab = _flat(mean(space.decode(mixed)), n)
        for name, column in columns.items():
            step = f_ab[name] - f_a[name]  # (n, m)
            column[:, i] = np.mean((f_b[name] - middle[name]) * step, axis=1)
            column[:, d + i] = np.mean(step**2, axis=1) / 2.0
    for name, column in columns.items():
        column[:, -1] = np.mean((f_a[name] - middle[name]) ** 2 + (f_b[name] - middle[name]) ** 2, axis=1) / 2.0
        if column[:, -1].mean() <= NOTHING * np.mean(f_a[name] ** 2):
            column[:] = 0.0
    return columns


def _flat(values: Mapping[str, FloatArray], n: int) -> dict[str, FloatArray]:
    """Output name -> (n, m), checked."""
    flat = {}
    for name, value in values.items():
        array = np.asarray(value, dtype=float)
        if array.ndim == 0 or len(array) != n:
            raise UsageError(f"Predictions of '{name}' must have {n} rows, one a point, found shape {array.shape}.")
        if not np.isfinite(array).all():
            raise UsageError(f"Predictions of '{name}' must be finite, found {int((~np.isfinite(array)).sum())} NaN or infinite values.")
        flat[name] = array.reshape(n, -1)
    return flat


def _with_intervals(
    names: tuple[str, ...], columns: FloatArray, others: Sequence[FloatArray], folds: bool, error: float | None
) -> Sensitivity:
    variance = float(columns[:, -1].mean())
    if variance == 0.0:
        nothing = np.full((2, len(names)), np.nan)
        return _sensitivity(names, (nothing, nothing, nothing), "sampling only", CONSTANT)
    value = _indices(columns)  # (2, d)
    linear = (columns[:, :-1] - value.ravel() * columns[:, -1:]) / variance  # (n, 2 d), of the ratio
    blocks = linear.reshape(BLOCKS, -1, linear.shape[1]).mean(axis=1)  # (BLOCKS, 2 d)
    half = _student(BLOCKS - 1) * np.sqrt(blocks.var(axis=0, ddof=1) / BLOCKS).reshape(value.shape)
    label: Label = "sampling only"
    spread = [_indices(other) for other in others if other[:, -1].any()]
    if len(spread) > 1:
        times = len(spread) - 1.0 if folds else 1.0
        deviation = np.sqrt(times * np.mean((np.array(spread) - value) ** 2, axis=0))
        half, label = np.hypot(half, _student(len(spread) - 1) * deviation), "sampling and spread of surrogates"
    lower, upper = value - half, value + half
    if error is not None:
        lower, upper = _bounded(lower, upper, float(np.sqrt(max(error, 0.0) / variance)))
        label = "sampling and error of the surrogate"
    return _sensitivity(names, (value, lower, upper), label)


def _student(degrees: int) -> float:
    return float(stdtrit(degrees, (1.0 + COVERAGE) / 2.0))


def _indices(columns: FloatArray) -> FloatArray:
    """S and T (2, d) of columns (n, 2 d + 1)."""
    means = columns.mean(axis=0)
    return np.asarray((means[:-1] / means[-1]).reshape(2, -1))


def _bounded(lower: FloatArray, upper: FloatArray, relative: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the index of y where the surrogate's y' has these, |y - y'| <= relative |y'|: both of its lengths may be off by that."""
    least = np.maximum(np.sqrt(np.maximum(lower, 0.0)) - relative, 0.0) / (1.0 + relative)
    most = (np.sqrt(np.maximum(upper, 0.0)) + relative) / max(1.0 - relative, 1e-300)
    return np.minimum(lower, least**2), np.maximum(upper, np.minimum(most, 1.0) ** 2)


def _sensitivity(names: tuple[str, ...], ends: tuple[FloatArray, FloatArray, FloatArray], label: Label, note: str = "") -> Sensitivity:
    (first, total), (first_lower, total_lower), (first_upper, total_upper) = ends
    return Sensitivity(
        names=names, first=first, first_lower=first_lower, first_upper=first_upper,
        total=total, total_lower=total_lower, total_upper=total_upper, coverage=COVERAGE, label=label, note=note,
    )  # fmt: skip
