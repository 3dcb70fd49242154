"""The fitted Gaussian process as a Surrogate: answers in physical units, in chunks that stay in the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Prediction
from mlforhpc.core.output_columns import OutputColumns, Places, placed
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.learners._calibration import Calibration, packed, unpacked
from mlforhpc.learners._model import Model
from mlforhpc.learners._saved import content_hash, describe, described, write
from mlforhpc.learners._single import Single
from mlforhpc.learners._table import stated_variances

if TYPE_CHECKING:
    from mlforhpc.learners._onnx import Graph, RunInterval

NAME = "gaussian_process"
CHUNK_BYTES = 800_000
"""What the covariances of one chunk may take: about a core's L2 cache; smaller chunks cost more calls than they save."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianProcessSurrogate:
    """See `mlforhpc.core.learner.Surrogate`; made by the learner or by `load`.

    Attributes:
        model: the fit to all runs.
        stated: scores of the runs left out, with their own standard errors: for the mean, and for runs that state theirs.
        foreseen: scores with the standard errors that the model foresees: for a run that was not made.
    """

    space: Space
    outputs: tuple[Output, ...]
    card: Mapping[str, str | float]
    model: Model
    stated: Calibration
    foreseen: Calibration
    version: str = field(init=False)
    _places: Places = field(init=False, repr=False)
    _widths: dict[tuple[str, float, bool], FloatArray] = field(init=False, repr=False, default_factory=dict)
    _singles: list[Single] = field(init=False, repr=False, default_factory=list)
    _step: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", content_hash(self._metadata(), self._arrays())[:12])
        object.__setattr__(self, "_places", placed(self.outputs))
        object.__setattr__(self, "_step", max(16, CHUNK_BYTES // (8 * max(self.model.inputs.size // 3, 1))))

    def predict(
        self,
        x: FloatArray,
        *,
        coverage: float = 0.9,
        of: Literal["run", "mean"] = "run",
        joint: bool = False,
        se: Mapping[str, FloatArray] | None = None,
    ) -> Prediction:
        """Mean and interval; a run is one of the training runs' median fidelity, its standard error predicted.

        Args:
            x: points in physical units (n, d).
            coverage: of the interval, in (0, 1).
            of: "run" (model and run noise) or "mean" (model alone, scaled by the same calibration).
            joint: whether the interval is to hold for each whole output array at once.
            se: standard errors that the runs to be covered stated themselves, output name -> (n, *shape); others are foreseen.
        """
        if not 0.0 < coverage < 1.0:
            raise UsageError(f"Coverage must lie between 0 and 1 (say 0.9), found {coverage}.")
        if of not in ("run", "mean"):
            raise UsageError(f"An interval is of a 'run' or of the 'mean', found '{of}'.")
        if of == "mean" and isinstance(x, np.ndarray) and x.ndim == 2 and len(x) == 1 and (found := self._one(x, coverage, joint)):
            return found
        u = self.space.locate(x)  # (n, d)
        noise = None
        if se is not None:
            foreseen = np.broadcast_to(self.model.run_noise(u), (len(u), len(self.model.scale)))
            noise = stated_variances(self.outputs, se, self.model.scale, foreseen)
        scores = "foreseen" if of == "run" and se is None else "stated"
        ends, inside = self._in_chunks(u, self._width(scores, coverage, joint), of == "run", noise)  # (3, n, m), (n,)
        mean, lower, upper = (OutputColumns(part, self._places) for part in ends)
        return Prediction(mean=mean, lower=lower, upper=upper, inside=inside, coverage=coverage, of=of, joint=joint)

    def _one(self, x: FloatArray, coverage: float, joint: bool) -> Prediction | None:
        """The mean at one point; None if it lies outside the space."""
        if not self._singles:
            self._singles.append(Single(self.space, self.model))
        single = self._singles[0]
        w = single.locate(x[0].tolist())
        if w is None:
            return None
        mean, lower, upper, inside = single.answer(w, self._width("stated", coverage, joint))
        p = self._places
        ends = OutputColumns(mean, p), OutputColumns(lower, p), OutputColumns(upper, p)
        return Prediction(*ends, np.array([inside]), coverage, "mean", joint)

    def gradient(self, x: FloatArray) -> dict[str, FloatArray]:
        """See `mlforhpc.core.learner.Surrogate`."""
        x = self.space.check(x)
        u, step = self.space.encode(x), self._step
        found = np.concatenate([self.model.gradient(u[i : i + step]) for i in range(0, max(len(u), 1), step)])  # (n, m, d)
        found *= self.model.scale[:, None]
        found *= self.space.slopes(x)[:, None, :]
        return {name: found[:, a:b].reshape(len(x), *shape, len(self.space)) for name, (a, b, shape) in self._places.items()}

    def onnx_graph(self, graph: Graph, u: str, coverage: float) -> RunInterval:
        """See `mlforhpc.learners._onnx.Exportable`."""
        from mlforhpc.learners._process_onnx import add_model

        if not 0.0 < coverage < 1.0:
            raise UsageError(f"Coverage must lie between 0 and 1 (say 0.9), found {coverage}.")
        return add_model(graph, u, self.model, self._width("foreseen", coverage, False))

    def covariance(self, x: FloatArray, x2: FloatArray) -> FloatArray:
        """See `mlforhpc.core.learner.Informative`; a part is a principal component."""
        return self.model.covariance(self.space.locate(x), self.space.locate(x2))

    def run_variance(self, x: FloatArray, *, fidelity: float) -> FloatArray:
        """See `mlforhpc.core.learner.Informative`."""
        return self.model.run_variance(self.space.locate(x), fidelity)

    def _width(self, scores: str, coverage: float, joint: bool) -> FloatArray:
        """Half-width of each column in deviations, times its scale (m,); calculated once."""
        found = self._widths.get((scores, coverage, joint))
        if found is None:
            factors = (self.foreseen if scores == "foreseen" else self.stated).factors(coverage, joint)
            found = np.repeat(factors, [b - a for a, b, _ in self._places.values()]) * self.model.scale
            self._widths[scores, coverage, joint] = found
        return found

    def _in_chunks(self, u: FloatArray, width: FloatArray, of_run: bool, given: FloatArray | None) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Mean, lower and upper end (3, n, m), and inside (n,), a chunk of points at a time."""
        n, step = len(u), self._step
        if n <= step:
            return self._ends(u, width, of_run, given)
        ends, inside = np.empty((3, n, len(width))), np.empty(n, dtype=bool)
        for i in range(0, n, step):
            rows = slice(i, i + step)
            ends[:, rows], inside[rows] = self._ends(u[rows], width, of_run, None if given is None else given[rows])
        return ends, inside

    def _ends(self, u: FloatArray, width: FloatArray, of_run: bool, given: FloatArray | None) -> tuple[FloatArray, NDArray[np.bool_]]:
        """The same of one chunk."""
        mean, variance, noise, reach = self.model.moments(u, noisy=of_run and given is None)
        if of_run:
            variance += noise if given is None else given
        half = np.sqrt(variance, out=variance)
        half *= width
        ends = np.empty((3, *mean.shape))
        middle = np.multiply(mean, self.model.scale, out=ends[0])
        np.subtract(middle, half, out=ends[1])
        np.add(middle, half, out=ends[2])
        return ends, reach <= self.model.farthest

    def save(self, path: Path) -> None:
        write(path, self._metadata(), self._arrays())

    def _metadata(self) -> dict[str, Any]:
        return describe(NAME, self.space, self.outputs, self.card)

    def _arrays(self) -> dict[str, FloatArray]:
        return {**self.model.arrays(), **packed(self.stated, self.foreseen)}


def from_saved(metadata: dict[str, Any], arrays: dict[str, FloatArray]) -> GaussianProcessSurrogate:
    """The surrogate that `_metadata` and `_arrays` describe."""
    stated, foreseen = unpacked(arrays)
    return GaussianProcessSurrogate(**described(metadata), model=Model(**arrays), stated=stated, foreseen=foreseen)
