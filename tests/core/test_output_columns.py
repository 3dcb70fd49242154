"""Outputs side by side: by name, in their shapes, without a copy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from mlforhpc.core.output_columns import OutputColumns, columns, placed
from mlforhpc.core.simulation import Output

OUTPUTS = (Output(name="a"), Output(name="b", shape=(2, 3)), Output(name="c", shape=(2,)))
ARRAY = np.arange(18.0).reshape(2, 9)


def test_each_output_is_a_view_of_its_columns():
    """In the declared shape; what is written to it is written to all."""
    named = OutputColumns(ARRAY.copy(), placed(OUTPUTS))
    assert list(named) == ["a", "b", "c"] and len(named) == 3
    np.testing.assert_array_equal(named["a"], [0, 9])
    np.testing.assert_array_equal(named["b"], [[[1, 2, 3], [4, 5, 6]], [[10, 11, 12], [13, 14, 15]]])
    np.testing.assert_array_equal(named["c"], [[7, 8], [16, 17]])
    assert all(np.shares_memory(part, named.array) for part in named.values())
    with pytest.raises(KeyError):
        named["d"]


def test_it_is_shown_and_sent_like_a_mapping():
    """A person sees the arrays by name; another process gets the same."""
    named = OutputColumns(np.array([[1.0, 2.0, 3.0]]), placed((Output(name="a"), Output(name="c", shape=(2,)))))
    assert repr(named) == "OutputColumns({'a': array([1.]), 'c': array([[2., 3.]])})"
    sent = pickle.loads(pickle.dumps(named))
    np.testing.assert_array_equal(sent["c"], [[2.0, 3.0]])


def test_columns_of_arrays_stand_in_the_order_of_the_places():
    """Of any mapping, in any order; what stands so already is not copied."""
    places = placed(OUTPUTS)
    named = OutputColumns(ARRAY, places)
    assert columns(named, places) is ARRAY
    np.testing.assert_array_equal(columns({name: named[name] for name in ("c", "a", "b")}, places), ARRAY)
    turned = placed(OUTPUTS[::-1])
    np.testing.assert_array_equal(columns(named, turned), ARRAY[:, [7, 8, 1, 2, 3, 4, 5, 6, 0]])


def test_the_same_outputs_have_the_same_places():
    """So that a surrogate that was loaded agrees with its simulation."""
    assert placed(OUTPUTS) is placed(tuple(Output(name=o.name, shape=o.shape) for o in OUTPUTS))
