"""Parameter spaces: ordered, named parameters, encoded to the unit cube.

A point is a mapping from name to value; many points are an array `x` of shape (n, d) in physical units, in which
a `Choice` stands as the index of its option. The unit cube `u` (n, d) is what designs and learners work in:
    Real     u = (x - low) / (high - low), or the same of the logarithms
    Integer  u = (x - low + 1/2) / k, k = high - low + 1, so that equal shares of [0, 1) belong to each value
    Choice   the same with the option's index
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.names import suggestion

FloatArray: TypeAlias = NDArray[np.float64]
Value: TypeAlias = float | int | str


@dataclass(frozen=True, slots=True)
class Real:
    """A real parameter in [low, high]; `log` encodes its logarithm; `unit` as text ("nm", "1")."""

    low: float
    high: float
    log: bool = False
    unit: str = "1"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(f"Real needs finite bounds with low < high, found low={self.low}, high={self.high}.")
        if self.log and self.low <= 0:
            raise UsageError(f"Real(log=True) needs low > 0, found low={self.low}; drop log or raise the bound.")


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer parameter in {low, ..., high}."""

    low: int
    high: int
    unit: str = "1"

    def __post_init__(self) -> None:
        if int(self.low) != self.low or int(self.high) != self.high or self.low > self.high:
            raise UsageError(f"Integer needs whole bounds with low <= high, found {self.low} and {self.high}.")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several named options."""

    options: tuple[str, ...]
    unit: str = "1"

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options or len(set(self.options)) != len(self.options):
            raise UsageError(f"Choice needs at least one option and no repeated one, found {self.options!r}.")


Parameter: TypeAlias = Real | Integer | Choice


class Space:
    """Ordered, named parameters: `Space(h=Real(3, 4, unit="nm"), z=Integer(1, 3))`, or from a mapping."""

    __slots__ = ("_logs", "_lower", "_steps", "_upper", "_whole", "_zero", "parameters")

    def __init__(self, parameters: Mapping[str, Parameter] | None = None, /, **named: Parameter) -> None:
        merged = {**(parameters or {}), **named}
        for name, parameter in merged.items():
            if not isinstance(parameter, Real | Integer | Choice):
                raise UsageError(f"Parameter '{name}' must be Real, Integer or Choice, found {parameter!r}.")
        if not merged:
            raise UsageError("A Space needs at least one parameter.")
        self.parameters: dict[str, Parameter] = merged
        # Encoding as arrays, so that one point costs a few microseconds: u = (x - zero) / steps, of the logarithm where `logs`.
        self._lower, self._upper = np.array([bounds(p) for p in merged.values()]).T
        self._whole = np.flatnonzero([not isinstance(p, Real) for p in merged.values()])
        self._logs = np.flatnonzero([isinstance(p, Real) and p.log for p in merged.values()])
        self._zero, self._steps = self._lower.copy(), self._upper - self._lower
        self._zero[self._logs] = np.log(self._lower[self._logs])
        self._steps[self._logs] = np.log(self._upper[self._logs]) - self._zero[self._logs]
        self._zero[self._whole] -= 0.5
        self._steps[self._whole] += 1.0

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and list(self.parameters.items()) == list(other.parameters.items())

    def __hash__(self) -> int:
        return hash(tuple(self.parameters.items()))

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    def encode(self, x: ArrayLike) -> FloatArray:
        """Physical units (n, d) -> unit cube (n, d)."""
        x = np.atleast_2d(np.asarray(x, dtype=float))  # (n, d)
        if len(self._logs):
            x = x.copy()
            x[:, self._logs] = np.log(x[:, self._logs])
        return np.asarray((x - self._zero) / self._steps)

    def locate(self, x: ArrayLike) -> FloatArray:
        """`check`, then `encode`; the quick way for a point or two."""
        x = np.asarray(x, dtype=float)
        if x.ndim == 2 and x.shape[1] == len(self.parameters) and not len(self._whole):
            u = self.encode(x) if not len(self._logs) or (x[:, self._logs] > 0.0).all() else np.full(x.shape, np.nan)
            if x.size and u.min() >= 0.0 and u.max() <= 1.0:
                return u
        return self.encode(self.check(x))

    def slopes(self, x: FloatArray) -> FloatArray:
        """du / dx at points in physical units (n, d); NaN for integers and choices."""
        slopes = np.tile(1.0 / self._steps, (len(x), 1))
        slopes[:, self._logs] /= x[:, self._logs]
        slopes[:, self._whole] = np.nan
        return slopes

    def decode(self, u: ArrayLike) -> FloatArray:
        """Unit cube (n, d) -> physical units (n, d); integers and choices take their level."""
        u = np.atleast_2d(np.asarray(u, dtype=float))  # (n, d)
        x = np.empty_like(u)
        for j, p in enumerate(self.parameters.values()):
            if isinstance(p, Real):
                v = np.log(p.low) + u[:, j] * (np.log(p.high) - np.log(p.low)) if p.log else p.low + u[:, j] * (p.high - p.low)
                x[:, j] = np.clip(np.exp(v) if p.log else v, p.low, p.high)
            else:
                low, k = _levels(p)
                x[:, j] = low + np.clip(np.floor(u[:, j] * k), 0, k - 1)
        return x

    def point(self, row: Sequence[float] | FloatArray) -> dict[str, Value]:
        """One row (d,) -> mapping from name to value, integers as int and choices as str."""
        values = np.asarray(row, dtype=float)
        if values.shape != (len(self),):
            raise UsageError(f"A point of this space has {len(self)} values {self.names}, found shape {values.shape}.")
        point: dict[str, Value] = {}
        for value, (name, p) in zip(values.tolist(), self.parameters.items(), strict=True):
            point[name] = value if isinstance(p, Real) else int(value) if isinstance(p, Integer) else p.options[int(value)]
        return point

    def row(self, point: Mapping[str, Value]) -> FloatArray:
        """Mapping -> row (d,), checked: every name there, none unknown, every value inside its bounds."""
        unknown = [name for name in point if name not in self.parameters]
        if unknown:
            raise UsageError(
                f"Unknown parameter '{unknown[0]}'; this space has {', '.join(self.names)}.{suggestion(unknown[0], self.names)}"
            )
        missing = [name for name in self.parameters if name not in point]
        if missing:
            raise UsageError(f"Parameter '{missing[0]}' is missing; this space has {', '.join(self.names)}.")
        return np.array([_checked(name, p, point[name]) for name, p in self.parameters.items()])

    def check(self, x: ArrayLike) -> FloatArray:
        """Points as an array (n, d) in physical units, each value inside its bounds, or `OutOfBounds`."""
        x = np.atleast_2d(np.asarray(x, dtype=float))
        if x.ndim != 2 or x.shape[1] != len(self):
            raise UsageError(f"Points of this space have shape (n, {len(self)}), found {x.shape}.")
        whole = x[:, self._whole] if len(self._whole) else x[:, :0]
        if ((x >= self._lower) & (x <= self._upper)).all() and (whole == np.rint(whole)).all():
            return x
        for j, (name, p) in enumerate(self.parameters.items()):
            low, high = bounds(p)
            bad = ~((x[:, j] >= low) & (x[:, j] <= high))
            if not isinstance(p, Real):
                bad |= x[:, j] != np.round(x[:, j])
            if bad.any():
                i = int(np.argmax(bad))
                raise OutOfBounds(f"Parameter '{name}' must be {_describe(p)}, found {x[i, j]:g} in row {i}.")
        return x


def bounds(p: Parameter) -> tuple[float, float]:
    """Lowest and highest value of a column of `x`."""
    return (0.0, len(p.options) - 1.0) if isinstance(p, Choice) else (float(p.low), float(p.high))


def _levels(p: Integer | Choice) -> tuple[float, int]:
    low, high = bounds(p)
    return low, int(high - low) + 1


def _describe(p: Parameter) -> str:
    if isinstance(p, Choice):
        return f"one of {', '.join(p.options)}"
    unit = "" if p.unit == "1" else f" {p.unit}"
    return f"{'a whole number' if isinstance(p, Integer) else 'a number'} in [{p.low:g}, {p.high:g}]{unit}"


def _checked(name: str, p: Parameter, value: object) -> float:
    if isinstance(p, Choice):
        if value not in p.options:
            raise OutOfBounds(f"Parameter '{name}' must be {_describe(p)}, found {value!r}.{suggestion(str(value), p.options)}")
        return float(p.options.index(str(value)))
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"Parameter '{name}' must be {_describe(p)}, found {value!r}.") from None
    except OverflowError:  # a whole number beyond all floats
        raise OutOfBounds(f"Parameter '{name}' must be {_describe(p)}, found a number beyond 1e308.") from None
    if not p.low <= number <= p.high or (isinstance(p, Integer) and number != round(number)):
        raise OutOfBounds(f"Parameter '{name}' must be {_describe(p)}, found {value!r}.")
    return number
