"""Half-widths as in q: known answers for each kind of scale, and one point as among many."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.core.learner import Prediction
from mlforhpc.core.output_columns import OutputColumns, columns, placed
from mlforhpc.core.simulation import Output
from mlforhpc.scenarios.relative import HalfWidths

OUTPUTS = (
    Output(name="density", shape=(2,), scale="mean"),
    Output(name="wave", shape=(2,)),
    Output(name="number", scale=4.0),
    Output(name="small", scale_floor=2.0),
    Output(name="left_out", derived=True),
)
MEAN = {
    "density": [[1.0, 3.0], [0.0, 0.0]],
    "wave": [[3.0, -4.0], [1.0, 1.0]],
    "number": [7.0, 7.0],
    "small": [-3.0, 0.5],
    "left_out": [1.0, 1.0],
}
HALF = {
    "density": [[0.3, 0.4], [0.0, 0.0]],
    "wave": [[0.5, 0.5], [0.1, 0.1]],
    "number": [0.8, 0.4],
    "small": [0.6, 0.6],
    "left_out": [9.0, 9.0],
}
MEAN["left_out"], HALF["left_out"] = [1.0, 1.0], [9.0, 9.0]
EXPECTED = [np.sqrt((0.125 / 4 + 0.25 / 12.5 + 0.04 + 0.04) / 4), np.sqrt((0.0 + 0.01 + 0.01 + 0.09) / 4)]


def prediction(rows=slice(None), *, side_by_side=False) -> Prediction:
    """With these half-widths."""
    ends = [{name: (np.array(MEAN[name]) + sign * np.array(HALF[name]))[rows] for name in reversed(MEAN)} for sign in (0, -1, 1)]
    if side_by_side:
        places = placed(OUTPUTS)
        ends = [OutputColumns(columns(end, places), places) for end in ends]
    return Prediction(*ends, inside=np.ones(len(ends[0]["number"]), bool), coverage=0.9, of="mean", joint=False)


@pytest.mark.parametrize("side_by_side", [False, True])
def test_half_widths_are_relative_to_each_output_s_scale(side_by_side):
    """Mean square over an array over its scale's square, then the mean over arrays; a scale of zero does not divide by it."""
    np.testing.assert_allclose(HalfWidths(OUTPUTS)(prediction(side_by_side=side_by_side)), EXPECTED, rtol=1e-14)


@pytest.mark.parametrize("row", [0, 1])
def test_one_point_is_as_among_many(row):
    """The way with the fewest calls gives the same."""
    assert HalfWidths(OUTPUTS).one(prediction(slice(row, row + 1), side_by_side=True)) == pytest.approx(EXPECTED[row], rel=1e-14)
