"""The fitted network ensemble as a Surrogate: answers in physical units, in chunks that stay in the cache; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Prediction
from mlforhpc.core.output_columns import OutputColumns, placed
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Space
from mlforhpc.learners._calibration import Calibration, packed, unpacked
from mlforhpc.learners._network_model import Model
from mlforhpc.learners._saved import content_hash, describe, described, write
from mlforhpc.learners._table import stated_variances

if TYPE_CHECKING:
    from mlforhpc.learners._onnx import Graph, RunInterval

NAME = "network"
CHUNK_BYTES = 800_000
"""What the units of one chunk may take: about a core's L2 cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkSurrogate:
    """See `mlforhpc.core.learner.Surrogate`; made by the learner or by `load`.

    A point is `inside` if it is no farther from its nearest training run than the most isolated training run is from its own:
    Euclidean in the unit cube, an option of a choice far from every other.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", content_hash(self._metadata(), self._arrays())[:12])

    def predict(
        self,
        x: FloatArray,
        *,
        coverage: float = 0.9,
        of: Literal["run", "mean"] = "run",
        joint: bool = False,
        se: Mapping[str, FloatArray] | None = None,
    ) -> Prediction:
        """Mean and interval; a run is one of the training runs' median fidelity, its standard error foreseen.

        Where the training runs state no standard errors, noise and misfit cannot be told apart: the interval of the mean is then
        that of a run. An output that `se` leaves out keeps the foreseen error.
        """
        if of not in ("run", "mean"):
            raise UsageError(f"An interval is of a 'run' or of the 'mean', found '{of}'.")
        calibration = self.foreseen if of == "run" and se is None else self.stated
        width = self.half_widths(calibration, coverage, joint)
        u = self.space.locate(x)  # (n, d)
        given = None
        if se is not None:
            foreseen = np.broadcast_to(self.model.run_noise(u), (len(u), len(width)))
            given = stated_variances(self.outputs, se, self.model.scale, foreseen)
        ends, inside = np.empty((3, len(u), len(width))), np.empty(len(u), dtype=bool)
        for rows in self._chunks(len(u), 1):
            moments = self.model.moments(u[rows])
            variance = moments.variance
            if of == "run":
                variance += moments.noise if given is None else given[rows]
            half = np.sqrt(variance, out=variance)
            half *= width
            middle = np.multiply(moments.mean, self.model.scale, out=ends[0, rows])
            np.subtract(middle, half, out=ends[1, rows])
            np.add(middle, half, out=ends[2, rows])
            inside[rows] = moments.distance2 <= self.model.farthest
        mean, lower, upper = (OutputColumns(part, placed(self.outputs)) for part in ends)
        return Prediction(mean=mean, lower=lower, upper=upper, inside=inside, coverage=coverage, of=of, joint=joint)

    def half_widths(self, calibration: Calibration, coverage: float, joint: bool) -> FloatArray:
        """Of each column, in its unit, for a variance of 1: (m,)."""
        if not 0.0 < coverage < 1.0:
            raise UsageError(f"Coverage must lie between 0 and 1 (say 0.9), found {coverage}.")
        return np.repeat(calibration.factors(coverage, joint), [b - a for a, b, _ in placed(self.outputs).values()]) * self.model.scale

    def gradient(self, x: FloatArray) -> dict[str, FloatArray]:
        """See `mlforhpc.core.learner.Surrogate`."""
        x = self.space.check(x)
        u, out = self.space.encode(x), np.empty((len(x), len(self.model.scale), len(self.space)))
        for rows in self._chunks(len(u), len(self.space)):
            out[rows] = self.model.gradient(u[rows])
        out *= self.model.scale[:, None]
        out *= self.space.slopes(x)[:, None, :]
        return {name: out[:, a:b].reshape(len(x), *shape, len(self.space)) for name, (a, b, shape) in placed(self.outputs).items()}

    def onnx_graph(self, graph: Graph, u: str, coverage: float) -> RunInterval:
        """See `mlforhpc.learners._onnx.Exportable`."""
        from mlforhpc.learners._network_onnx import add_model

        return add_model(graph, u, self.model, self.half_widths(self.foreseen, coverage, False))

    def save(self, path: Path) -> None:
        write(path, self._metadata(), self._arrays())

    def _chunks(self, n: int, directions: int) -> list[slice]:
        widest = max((layer.shape[0] * layer.shape[2] for layer in self.model.layers), default=1)
        step = max(16, CHUNK_BYTES // (8 * directions * max(widest, len(self.model.runs), 1)))
        return [slice(i, i + step) for i in range(0, n, step)]

    def _metadata(self) -> dict[str, Any]:
        return describe(NAME, self.space, self.outputs, self.card)

    def _arrays(self) -> dict[str, FloatArray]:
        return {**self.model.arrays(), **packed(self.stated, self.foreseen)}


def from_saved(metadata: dict[str, Any], arrays: dict[str, FloatArray]) -> NetworkSurrogate:
    """The surrogate that `_metadata` and `_arrays` describe."""
    stated, foreseen = unpacked(arrays)
    return NetworkSurrogate(**described(metadata), model=Model.from_arrays(arrays), stated=stated, foreseen=foreseen)
