"""A dataset as plain arrays, which is what travels to the tasks: inputs in the unit cube, outputs side by side.

Columns are the outputs' elements in order (m of them), each output divided by one number, its scale over all runs; a column that
never varies is left as it is, so that its value comes back to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset
from mlforhpc.core.output_columns import placed
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, FloatArray

TINY = 1e-150
"""Below this an output is zero: its square is, as a double."""
APART = 0.1
"""Length of named options over their distance in the cube: exp(-50) is nothing beside 1 - r, and -50 is no large number to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Runs that ended well.

    Attributes:
        u: inputs in the unit cube (n, d).
        y: scaled outputs (n, m).
        se2: squared standard errors of y at fidelity `fidelity` (n, m); zeros where none are stated.
        stated: which columns state standard errors (m,).
        fidelity: (n,).
        scale: what each column was divided by (m,).
        blocks: columns of each output, as (first, behind the last).
        fixed: lengths of inputs that are named options, so short that two options have nothing in common; NaN for the others (d,).
        derived: which columns follow from the others (m,); a `derived` output where there is any other.
    """

    u: FloatArray
    y: FloatArray
    se2: FloatArray
    stated: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    fidelity: FloatArray
    scale: FloatArray
    blocks: tuple[tuple[int, int], ...]
    fixed: FloatArray
    derived: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def rows(self, index: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Table:
        """The table of some rows."""
        return Table(
            u=self.u[index],
            y=self.y[index],
            se2=self.se2[index],
            stated=self.stated,
            fidelity=self.fidelity[index],
            scale=self.scale,
            blocks=self.blocks,
            fixed=self.fixed,
            derived=self.derived,
        )


def tabulate(data: Dataset) -> Table:
    """The usable rows of a dataset: outcome `ok`, every output finite."""
    ok = data.ok.copy()
    for output in data.outputs:
        ok &= np.isfinite(data.y[output.name]).reshape(len(data), -1).all(axis=1)
    if ok.sum() < 2:
        raise UsageError(f"Learning needs at least 2 runs that ended with 'ok', found {int(ok.sum())} of {len(data)}.")
    kept = data.rows(np.flatnonzero(ok))
    values, errors, stated, scales = [], [], [], []
    derived = np.repeat([o.derived for o in data.outputs], [math.prod(o.shape) for o in data.outputs])
    for output in data.outputs:
        y = np.asarray(kept.y[output.name], dtype=float).reshape(len(kept), -1)  # (n, size)
        scale = np.where(y.min(axis=0) < y.max(axis=0), typical_scale(output, y), 1.0)  # (size,)
        se = kept.y_se.get(output.name)
        values.append(y / scale)
        errors.append(np.zeros_like(y) if se is None else (np.nan_to_num(se.reshape(y.shape)) / scale) ** 2)
        stated.append(np.full(y.shape[1], se is not None))
        scales.append(scale)
    return Table(
        u=data.space.encode(kept.x),
        y=np.hstack(values),
        se2=np.hstack(errors),
        stated=np.concatenate(stated),
        fidelity=np.asarray(kept.fidelity, dtype=float),
        scale=np.concatenate(scales),
        blocks=tuple((begin, end) for begin, end, _ in placed(data.outputs).values()),
        fixed=np.array([APART / len(p.options) if isinstance(p, Choice) else np.nan for p in data.space.parameters.values()]),
        derived=derived & ~derived.all(),
    )


def sites(u: FloatArray) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    """The distinct rows of u (n, d), in the order of their first runs (s, d), and which of them each row is (n,)."""
    _, first, which = np.unique(u, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return u[first[order]], np.argsort(order)[which]


def stated_variances(outputs: tuple[Output, ...], se: Mapping[str, FloatArray], scale: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Squares of stated standard errors, output name -> (n, *shape), in scaled units (n, m); `otherwise` (n, m) for outputs without any.

    Raises:
        UsageError: an array of another shape.
    """
    variances, n = np.array(otherwise), len(otherwise)
    for name, (a, b, shape) in placed(outputs).items():
        if name not in se:
            continue
        stated = np.asarray(se[name], dtype=float)
        if stated.shape != (n, *shape):
            raise UsageError(f"Standard errors of '{name}' must have shape {(n, *shape)}, found {stated.shape}.")
        variances[:, a:b] = (stated.reshape(n, -1) / scale[a:b]) ** 2
    return variances


def typical_scale(output: Output, y: FloatArray) -> float:
    """One number for an output's size over all runs, from what its errors are relative to."""
    if isinstance(output.scale, str):
        most = max(float(np.abs(y).max()), TINY)
        found = abs(float(np.mean(y))) if output.scale == "mean" else most * float(np.sqrt(np.mean((y / most) ** 2)))
    else:
        found = float(output.scale)
    found = max(found, output.scale_floor)
    return found if found > TINY and math.isfinite(found) else 1.0
