"""The learning curve of a surrogate: how large its error is now, whether that is small enough, and how many runs it still needs.

A look refits the learner without each of five random parts of the runs. Errors on runs left out say too much twice: a fold has four fifths
of the runs, and a run left out of a space-filling design leaves a hole. The model's own expected error v corrects for both, as a ratio,
    q^2 = mean over runs left out of [(p - r)^2 - se^2] / scale^2   *   v(all runs) / mean over folds v(fold),
v being the mean over the space of the posterior variance, of surrogates that are `Informative`; others keep their errors uncorrected, on
the safe side. A forecast takes log q to be a line in log n with a slope from a prior, and deviations from it that last for a while, both
conditioned on the looks and on what fits to the first runs say of later ones; it follows them until they stay below the tolerance.

Stone, Cross-validatory choice and assessment of statistical predictions, JRSS B 36, 1974; Viering & Loog, The shape of learning curves:
a review, IEEE TPAMI 45, 2023, doi:10.1109/TPAMI.2022.3220744. Measured in docs/stopping.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from math import ceil, inf, isinf, log, nan
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Informative, Learner, Surrogate
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.relative import scale_of

FOLDS = 5
FEWEST = 2 * FOLDS  # successful runs that a look needs
POINTS, CHUNK = 256, 64  # that stand for the space in v, and how many of them are asked at once
GROWTH = 1.15  # of the runs from one look to the next
STEEPEST = 8  # slope of log q by log n that the ratio of the v is believed
LEVEL = 0.95
"""Of the upper limit, the same at every look: looks share their runs and the curve falls by a quarter from one to the next, so the risk
is that of the two or three before the tolerance is reached; to split it over all costs a third more runs (measured on seeds 100-102)."""
FARTHEST = 16.0  # times the present runs: what is not reached there is out of sight
DRAWS = 4000
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What curves of Gaussian processes are like on smooth functions without noise: 46 designs (seeds 100-107) of docs/stopping.md.

    The curve that the posterior variance foresees for a longer design is not used: its slope was half the true one and told little of it.

    Attributes:
        slope, slope_sd: of -log q by log n.
        spread, reach: standard deviation of log q about that line, and over how much of log n it lasts.
        look_bias, look_sd, ahead_sd: of log(error / q), of a look, and of what a fit to the first runs shows on the later ones.
    """

    slope: float = 2.5
    slope_sd: float = 0.7
    spread: float = 0.35
    reach: float = 0.5
    look_bias: float = 0.3
    look_sd: float = 0.3
    ahead_sd: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The error of the surrogate of some runs.

    Attributes:
        runs: made so far, failed ones included.
        error: estimate of the relative RMS error q over the space, noise taken out, in [0, inf]; inf where too few runs succeeded.
        upper: one-sided limit of q, in [0, inf].
        share: of the runs that the error is of, in (0, 1]: below 1 where nothing corrects for what the folds left out.
    """

    runs: int
    error: float
    upper: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How many runs a tolerance of the relative RMS error q needs.

    Attributes:
        at: runs made when it was forecast.
        runs: needed in all, the median; inf where that is out of sight, beyond `FARTHEST` times `at`.
        lower, upper: 80 % interval of the same, in [at, inf].
    """

    tolerance: float
    at: int
    runs: float
    lower: float
    upper: float


class LeftOut(NamedTuple):
    """Of one fold: squared errors of its runs (p,), as `squared_errors` gives them; v, NaN if the surrogate cannot tell."""

    squared: FloatArray
    expected: float


def look(data: Dataset, learner: Learner, *, seed: int, level: float = LEVEL, broker: Broker | None = None) -> Look:
    """The error of the surrogate that `learner` fits to all of `data`.

    Args:
        data: all runs so far; failed ones are left aside.
        learner: without folds of its own, as they would be refitted within each fold.
        seed: of folds, fits and points.
        level: of the upper limit, in (0, 1).
        broker: where the six fits run, as tasks of kind "learn"; None runs them here.
    """
    if not 0.0 < level < 1.0:
        raise UsageError(f"The level of an upper limit lies between 0 and 1 (say 0.95), found {level}.")
    held = data.rows(data.ok)
    if len(held) < FEWEST:
        return Look(runs=len(data), error=inf, upper=inf)
    parts = np.array_split(np.random.default_rng(derive(seed, "parts")).permutation(len(held)), FOLDS)
    whole = _submit(broker, expected_error, learner, held, seed, label="look")
    tasks = [
        _submit(broker, leave_out, learner, held, np.sort(part), derive(seed, i), label=f"left out {i}") for i, part in enumerate(parts)
    ]
    found = [task() for task in tasks]
    now, folds, share = whole(), float(np.mean([f.expected for f in found])), 1.0 - 1.0 / FOLDS
    error, upper = _limit(np.concatenate([f.squared for f in found]), level)
    if np.isnan(folds):
        return Look(runs=len(data), error=error, upper=upper, share=share)
    factor = float(np.clip(now / folds, share ** (2 * STEEPEST), 1.0)) ** 0.5 if folds > 0.0 else 1.0
    return Look(runs=len(data), error=error * factor, upper=upper * factor)


def _limit(squared: FloatArray, level: float) -> tuple[float, float]:
    """Root of the mean of squared errors (n,), and of its upper limit: Student's t with the errors' skewness taken out.

    Hall, On the removal of skewness by transformation, JRSS B 54, 1992.
    """
    mean, deviation, n = float(squared.mean()), float(squared.std()), len(squared)
    z = float(ndtri(1.0 - level))
    skewness = float(np.mean(((squared - mean) / deviation) ** 3)) / n**0.5 if deviation > 0.0 else 0.0
    if abs(skewness) > 1e-6:
        z = 3.0 * float(np.cbrt(1.0 + skewness * (z - skewness / 6.0)) - 1.0) / skewness
    return max(mean, 0.0) ** 0.5, max(mean - z * deviation / (n - 1) ** 0.5, 0.0) ** 0.5


def pilots(parameters: int) -> int:
    """Runs at the first look, from which what a tolerance costs is forecast."""
    return max(30, 5 * parameters)


def next_look(runs: int) -> int:
    """Runs at the look after one at `runs`."""
    return max(runs + 2, ceil(GROWTH * runs - 1e-9))


def leave_out(learner: Learner, data: Dataset, part: NDArray[np.intp], seed: int) -> LeftOut:
    """The task that fits all runs but those of `part`, and judges itself on those."""
    surrogate = learner.fit(data.rows(np.delete(np.arange(len(data)), part)), seed=derive(seed, "fit"))
    return LeftOut(squared_errors(surrogate, data.rows(part)), _expected(surrogate, seed))


def expected_error(learner: Learner, data: Dataset, seed: int) -> float:
    """The task that fits all runs and says what squared error the surrogate itself expects, NaN if it cannot tell."""
    return _expected(learner.fit(data, seed=derive(seed, "fit")), seed)


def ahead(learner: Learner, data: Dataset, first: int, seed: int) -> FloatArray:
    """The task that fits the first runs, and gives squared errors (n - first,) of the later ones."""
    rows = np.arange(len(data))
    return squared_errors(learner.fit(data.rows(rows[:first]), seed=derive(seed, "fit")), data.rows(rows[first:]))


def squared_errors(surrogate: Surrogate, held: Dataset) -> FloatArray:
    """(p - r)^2 - se^2 of runs that the surrogate has not seen, relative to their scales, mean over output arrays (n,)."""
    mean, terms = surrogate.predict(held.x).mean, []
    for output in held.outputs:
        if output.derived:
            continue
        r = held.y[output.name]
        se = np.nan_to_num(held.y_se.get(output.name, np.zeros_like(r)))
        scale = np.array([scale_of(output, one) for one in r])  # (n,)
        terms.append(((mean[output.name] - r) ** 2 - se**2).reshape(len(r), -1).mean(axis=1) / scale**2)
    return np.asarray(np.mean(terms, axis=0))


def _expected(surrogate: Surrogate, seed: int) -> float:
    """v: mean over the space of the squared error that the surrogate expects."""
    if not isinstance(surrogate, Informative):
        return nan
    space = surrogate.space
    x = space.decode(qmc.Sobol(len(space), rng=np.random.default_rng(derive(seed, "points"))).random(POINTS))
    pieces = [surrogate.covariance(x[i : i + CHUNK], x[i : i + CHUNK]) for i in range(0, POINTS, CHUNK)]  # (k, CHUNK, CHUNK)
    return float(np.mean([np.trace(piece, axis1=1, axis2=2).sum() / CHUNK for piece in pieces]))


def _submit(broker: Broker | None, function: Callable[..., T], *args: object, label: str) -> Callable[[], T]:
    """What gives the result: of a task on the broker, else of a call that is made there and then."""
    if broker is None:
        return lambda: function(*args)
    future: Future[T] = broker.submit("learn", function, *args, label=label)
    return future.result


def forecast(
    looks: Sequence[Look],
    data: Dataset,
    learner: Learner,
    *,
    tolerance: float,
    seed: int,
    broker: Broker | None = None,
    prior: Prior = Prior(),
) -> Forecast:
    """How many runs, in all, the surrogate needs until its error stays below a tolerance.

    Args:
        looks: so far, at least one; the last is of all of `data`.
        data: all runs so far, in the order of the design.
        learner, broker: as for `look`; two fits to the first runs are made.
        tolerance: of the relative RMS error q, in (0, inf).
        seed: of fits and curves drawn.
        prior: what learning curves are like.
    """
    if not looks or not (np.isfinite(tolerance) and tolerance > 0.0):
        raise UsageError(f"A forecast needs a look and a tolerance above 0, found {len(looks)} looks and {tolerance!r}.")
    at = len(data)
    if looks[-1].upper <= tolerance:
        return Forecast(tolerance=tolerance, at=at, runs=at, lower=at, upper=at)
    held = data.rows(data.ok)
    n, seen = len(held), [_seen(one, prior) for one in looks if 0.0 < one.upper < inf]
    if not seen:
        return Forecast(tolerance=tolerance, at=at, runs=inf, lower=at, upper=inf)
    firsts = [round(n / 2.0), round(n / 1.4)]
    tasks = [_submit(broker, ahead, learner, held, first, derive(seed, first), label=f"first {first}") for first in firsts]
    for first, squared in zip(firsts, [task() for task in tasks], strict=True):
        mean = float(squared.mean())
        if mean > 0.0:
            spread = float(squared.std(ddof=1)) / mean / (2.0 * len(squared) ** 0.5)
            seen.append((log(at * first / n), 0.5 * log(mean), float(np.hypot(spread, prior.ahead_sd))))
    needed = _crossings(np.array(seen), at, log(tolerance), prior, np.random.default_rng(derive(seed, "paths")))
    lower, runs, upper = (float(np.quantile(needed, p, method="inverted_cdf")) for p in (0.1, 0.5, 0.9))
    return Forecast(tolerance=tolerance, at=at, runs=runs, lower=lower, upper=upper)


def _seen(one: Look, prior: Prior) -> tuple[float, float, float]:
    """A look as log n, log q and its standard deviation; where noise hides the error, it is somewhere below the limit."""
    t = log(one.runs * one.share)
    bias = prior.look_bias if one.share == 1.0 else 0.0
    return (t, log(one.error) - bias, prior.look_sd) if one.error > one.upper / 4.0 else (t, log(one.upper / 2.0), 2.0 * prior.look_sd)


def _crossings(seen: FloatArray, at: int, goal: float, prior: Prior, rng: np.random.Generator) -> FloatArray:
    """Runs at which curves drawn given log n, log q, deviation (m, 3) begin to stay below log q = goal (draws,), inf if they do not."""
    t, y, sd = seen.T
    grid = log(at) + np.linspace(0.0, log(FARTHEST), 97)

    def covariance(a: FloatArray, b: FloatArray) -> FloatArray:
        """Of curves at a (m,) and b (n,): any height, a slope, and what stays of a deviation."""
        a, b = a[:, None] - log(at), b[None, :] - log(at)
        return np.asarray(100.0 + prior.slope_sd**2 * a * b + prior.spread**2 * np.exp(-np.abs(a - b) / prior.reach))

    gain = np.linalg.solve(covariance(t, t) + np.diag(sd**2), covariance(t, grid))  # (m, g)
    mean = y[0] - prior.slope * (grid - t[0]) + (y - y[0] + prior.slope * (t - t[0])) @ gain
    spread = covariance(grid, grid) - covariance(grid, t) @ gain
    paths = rng.multivariate_normal(mean, spread, size=DRAWS, method="eigh", check_valid="ignore")  # (draws, g)
    above = paths > goal
    last = len(grid) - np.argmax(above[:, ::-1], axis=1)  # the first that stays below
    runs = np.append(np.ceil(np.exp(grid) - 1e-9), inf)
    return np.asarray(np.where(above.any(axis=1), runs[last], float(at)))


def sentence(found: Forecast, *, cost_s: float, slots: int) -> str:
    """A forecast for people, with the cost of the runs still to make: `cost_s` slot-seconds each, on `slots` at once."""
    far = _round(FARTHEST * found.at)
    if isinf(found.runs):
        return f"{found.tolerance:g} is out of sight: after {found.at} runs, {far} do not seem enough."
    if found.upper <= found.at:
        return f"{found.tolerance:g} is reached with {found.at} runs."
    upper = f"more than {far}" if isinf(found.upper) else _round(found.upper)
    slot_s = (found.runs - found.at) * cost_s
    wall = f", {_duration(slot_s / slots, '')} on {slots} slots" if slots > 1 else ""
    runs = f"{_round(found.runs)} runs ({_round(found.lower)} to {upper})"
    return f"{found.tolerance:g} needs about {runs}, {_duration(slot_s, 'core-')}{wall}."


def _round(runs: float) -> str:
    return f"{float(f'{runs:.2g}'):.0f}"  # two digits; no more are known


def _duration(seconds: float, core: str) -> str:
    size, unit = (3600.0, "hours") if seconds >= 3600.0 else (60.0, "minutes") if seconds >= 60.0 else (1.0, "seconds")
    return f"{seconds / size:.2g} {core}{unit}"
