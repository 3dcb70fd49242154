"""A twin of `nanoconfinement` with cheap exact truth: the mean of a Gaussian process fitted to 620 of its runs, and its runs' noise.

    p(x) = centre + (e(u) sum_j w_j k(u, u_j) + b h(u)) V,      run = p(x) + se(x) / sqrt(f) (g Z),   g ~ N(0, 1)^64
k: see `learners/_kernel.py`; log se^2 is quadratic in the inputs; Z: 64 differences of run pairs over their stated errors, so that bins
are correlated as in the real runs. For questions that need the truth at thousands of points. Made, and compared with the real one, by
`bench/fit_twin.py`; the physics is in `nanoconfinement.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import load_file

from mlforhpc.core.simulation import Output, Outputs
from mlforhpc.core.space import FloatArray, Integer, Real, Space, Value

FIDELITY = 0.012
"""Of the runs that it was fitted to: 12,000 steps."""
BINS = 64
FILE = Path(__file__).with_name("_slit_twin.safetensors")


@dataclass(frozen=True, kw_only=True)
class Twin:
    """See the file's docstring."""

    name: ClassVar[str] = "nanoconfinement_twin"
    version: ClassVar[str] = "1"
    space: ClassVar[Space] = Space(
        h=Real(3.0, 4.0, unit="nm"), c=Real(0.3, 0.9, unit="mol/L"), z=Integer(1, 3), d=Real(0.5, 0.75, unit="nm")
    )
    outputs: ClassVar[tuple[Output, ...]] = tuple(Output(name=species, shape=(BINS,), scale="mean") for species in ("cation", "anion"))
    settings: ClassVar[Space | None] = None
    default_settings: ClassVar[Mapping[str, Value]] = {}
    references: ClassVar[tuple[str, ...]] = (
        "Kadupitiya, Sun, Fox, Jadhao, Machine learning surrogates for molecular dynamics simulations of soft materials, "
        "J. Comput. Sci. 42:101107, 2020, doi 10.1016/j.jocs.2020.101107",
    )

    def simulate(self, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int, workdir: Path) -> Outputs:
        u = self.space.encode(self.space.row(x)[None])  # (1, d)
        se = standard_error(u)[0] * sqrt(FIDELITY / fidelity)
        mixed = np.random.default_rng(seed).standard_normal(len(_arrays()["pairs"])) @ _arrays()["pairs"] / sqrt(len(_arrays()["pairs"]))
        run = mean(u)[0] + se * mixed
        return Outputs(values=_named(run), standard_errors=_named(se))

    def truth(self, x: FloatArray) -> Mapping[str, FloatArray]:
        """What runs are scattered about, at points in physical units (n, d): output name -> (n, 64)."""
        found = mean(self.space.encode(self.space.check(x)))
        return {o.name: found[:, i * BINS : (i + 1) * BINS] for i, o in enumerate(self.outputs)}


def create() -> Twin:
    """The twin."""
    return Twin()


def mean(u: FloatArray) -> FloatArray:
    """Noise-free profiles, cation then anion, at u (n, d) in the unit cube: (n, 128)."""
    a = _arrays()
    w = 2.0 * u.T - 1.0  # (d, n)
    scores = np.empty((len(a["weights"]), len(u)))
    for k, weights in enumerate(a["weights"]):
        squared = (a["places"][:, :, None] - u.T) ** 2 / a["lengths"][k][:, None] ** 2  # (runs, d, n)
        parts = 1.0 - a["shares"][k][:, None] * (1.0 - np.exp(-0.5 * squared))
        scores[k] = weights @ parts.prod(axis=1)
    scores *= np.exp(a["growth"] @ w)
    scores += a["trend"] @ np.vstack([np.ones(len(u)), w])
    return np.asarray((a["centre"] + scores.T @ a["vectors"]) * a["scale"])


def standard_error(u: FloatArray) -> FloatArray:
    """Of a run of 12,000 steps at u (n, d): (n, 128)."""
    c = 2.0 * u - 1.0
    i, j = np.triu_indices(u.shape[1])
    features = np.hstack([np.ones((len(u), 1)), c, c[:, i] * c[:, j]])  # (n, f)
    return np.asarray(np.exp(0.5 * features @ _arrays()["log_variance"]))


@functools.cache
def _arrays() -> Mapping[str, FloatArray]:
    return {name: np.asarray(a, dtype=float) for name, a in load_file(FILE).items()}


def _named(columns: FloatArray) -> dict[str, FloatArray]:
    return {o.name: columns[i * BINS : (i + 1) * BINS] for i, o in enumerate(Twin.outputs)}
