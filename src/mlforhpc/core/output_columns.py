"""Output arrays side by side: the elements of all outputs as the columns of one array, in order.

A surrogate computes all columns at once, and who answers with every number of a point wants them at once; everybody else asks for an
output by its name and gets an array of the declared shape.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray


class Place(NamedTuple):
    """Where an output's columns begin and end, and the shape of one sample."""

    begin: int
    end: int
    shape: tuple[int, ...]


Places: TypeAlias = Mapping[str, Place]


@functools.cache
def placed(outputs: tuple[Output, ...]) -> Places:
    """The place of each output, by name, in order; the same object for the same outputs."""
    ends = itertools.accumulate((math.prod(o.shape) for o in outputs), initial=0)
    return {o.name: Place(a, b, o.shape) for o, (a, b) in zip(outputs, itertools.pairwise(ends), strict=True)}


class OutputColumns(Mapping[str, FloatArray]):
    """Output name -> (n, *shape), a view of its columns.

    Attributes:
        array: all columns (n, m).
        places: what stands where.
    """

    __slots__ = ("array", "places")

    def __init__(self, array: FloatArray, places: Places) -> None:
        self.array, self.places = array, places

    def __getitem__(self, name: str) -> FloatArray:
        begin, end, shape = self.places[name]
        if not shape:
            return self.array[:, begin]
        found = self.array[:, begin:end]
        return found if len(shape) == 1 else found.reshape(len(found), *shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return f"OutputColumns({dict(self)!r})"


def columns(arrays: Mapping[str, FloatArray], places: Places) -> FloatArray:
    """Arrays (n, *shape) side by side (n, m); not copied if they stand so already."""
    if isinstance(arrays, OutputColumns) and arrays.places is places:
        return arrays.array
    return np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in places], axis=1)
