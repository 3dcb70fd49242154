"""Does a learner keep its contract? Run by our own tests, and by those of a learner from outside:

    @pytest.mark.parametrize("check", mlforhpc.testing.learners.CHECKS, ids=lambda check: check.__name__)
    def test_my_learner(check):
        check(my_learner.create())
Each check fits 60 noisy runs of a known function with one number and one profile, a second or so of work.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.learner import Dataset, Learner, Prediction, Surrogate
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import FloatArray, Integer, Real, Space, bounds
from mlforhpc.testing.conforming import NotConforming, require

SPACE = Space(a=Real(0.0, 2.0), b=Real(-1.0, 1.0), k=Integer(1, 3))
OUTPUTS = (Output(name="number"), Output(name="profile", shape=(12,), scale="mean"))
NOISE = 0.05


def truth(x: FloatArray) -> dict[str, FloatArray]:
    """The noise-free outputs at x (n, 3)."""
    a, b, k = x.T
    t = np.linspace(0.0, 1.0, 12)
    profile = 2.0 + np.exp(-t * (1.0 + a[:, None])) * k[:, None] + b[:, None] * t
    return {"number": np.asarray(a * b + k), "profile": np.asarray(profile)}


def points(n: int, seed: int) -> FloatArray:
    """Random points of the space (n, 3)."""
    return SPACE.decode(np.random.default_rng(seed).random((n, 3)))


def dataset(n: int = 60, seed: int = 0, failed: int = 2) -> Dataset:
    """Noisy runs with standard errors; the last `failed` ones have no outputs."""
    rng = np.random.default_rng(seed)
    x = points(n, seed + 1)
    y = {name: values + NOISE * rng.standard_normal(values.shape) for name, values in truth(x).items()}
    for values in y.values():
        values[n - failed :] = np.nan
    return Dataset(
        space=SPACE,
        outputs=OUTPUTS,
        x=x,
        y=y,
        y_se={name: np.full(values.shape, NOISE) for name, values in y.items()},
        outcome=("ok",) * (n - failed) + ("failed",) * failed,
        fidelity=np.ones(n),
        cost_s=np.ones(n),
    )


def answers_in_shape(learner: Learner) -> None:
    """Finite means inside their intervals, of the declared shapes; failed rows are ignored; card and version are there."""
    surrogate = learner.fit(dataset(), seed=0)
    require(isinstance(surrogate, Surrogate), "What `fit` returns lacks an attribute of the Surrogate contract.")
    require(bool(surrogate.version) and surrogate.space == SPACE and surrogate.outputs == OUTPUTS, "Version, space or outputs are wrong.")
    for n in (1, 7):
        p = surrogate.predict(points(n, 5))
        for o in OUTPUTS:
            arrays = (p.lower[o.name], p.mean[o.name], p.upper[o.name])
            require(all(a.shape == (n, *o.shape) and bool(np.isfinite(a).all()) for a in arrays), f"'{o.name}' has wrong shape or values.")
            require(bool((arrays[0] <= arrays[1]).all() and (arrays[1] <= arrays[2]).all()), f"Mean of '{o.name}' leaves its interval.")
        require(p.inside.shape == (n,) and p.inside.dtype == np.bool_, "`inside` must be (n,) of bool.")


def learns(learner: Learner) -> None:
    """Its error is below a third of the mean predictor's, and below the noise of one run twice over."""
    surrogate, x = learner.fit(dataset(), seed=0), points(300, 9)
    mean, known = surrogate.predict(x).mean, truth(x)
    for name, values in known.items():
        error = float(np.sqrt(np.mean((mean[name] - values) ** 2)))
        spread = float(np.sqrt(np.mean((values - values.mean(axis=0)) ** 2)))
        require(error < min(spread / 3.0, 2.0 * NOISE), f"RMS error of '{name}' is {error:.3g}; its spread is {spread:.3g}.")


def covers(learner: Learner) -> None:
    """A 90 % interval for a run covers 82 to 98 % of independent runs, and wider ones are wider."""
    surrogate = learner.fit(dataset(), seed=0)
    x, rng = points(400, 11), np.random.default_rng(12)
    for name, values in truth(x).items():
        p = surrogate.predict(x, coverage=0.9, of="run")
        run = values + NOISE * rng.standard_normal(values.shape)
        share = float(np.mean((p.lower[name] <= run) & (run <= p.upper[name])))
        require(0.82 <= share <= 0.98, f"The 90 % interval for a run of '{name}' covers {share:.1%} of independent runs.")
        width = _width(p, name)
        require(_width(surrogate.predict(x, coverage=0.99), name) > width, "The 99 % interval must be wider than the 90 % one.")
        require(_width(surrogate.predict(x, of="mean"), name) < width, "The interval for the mean must be narrower than for a run.")
    joint = _width(surrogate.predict(x, joint=True), "profile")
    require(joint > _width(surrogate.predict(x), "profile"), "The joint interval of a profile must be wider than the pointwise one.")


def differentiates(learner: Learner) -> None:
    """`gradient` is the derivative of the mean, as central differences find it; an integer has none."""
    surrogate, x = learner.fit(dataset(), seed=0), points(60, 13)
    low, high = np.transpose([bounds(p) for p in SPACE.parameters.values()])
    step = 1e-3 * (high - low)
    x[:, :2] = np.clip(x, low + step, high - step)[:, :2]
    found = surrogate.gradient(x)
    for o in OUTPUTS:
        require(found[o.name].shape == (60, *o.shape, 3), f"The gradient of '{o.name}' must have shape (n, *shape, d).")
        require(bool(np.isnan(found[o.name][..., 2]).all()), f"The gradient of '{o.name}' with respect to an integer must be NaN.")
        for j, name in enumerate(("a", "b")):
            after, before = (surrogate.predict(x + sign * step * (np.arange(3) == j)).mean[o.name] for sign in (1.0, -1.0))
            numeric = (after - before) / (2.0 * step[j])
            off = np.sqrt(np.mean((found[o.name][..., j] - numeric) ** 2)) / np.sqrt(np.mean(numeric**2))
            require(bool(off < 0.02), f"The gradient of '{o.name}' with respect to '{name}' is {off:.1%} off central differences.")
    _require_raises(OutOfBounds, lambda: surrogate.gradient(np.array([[9.0, 0.0, 1.0]])), "a gradient outside the space")


def repeats_itself(learner: Learner) -> None:
    """The same data and seed give the same version and the same digits."""
    first, second = (learner.fit(dataset(), seed=3) for _ in range(2))
    require(first.version == second.version, "Two fits of the same data and seed have different versions.")
    _require_same(first.predict(points(20, 2)), second.predict(points(20, 2)), "after a second fit")


def refuses(learner: Learner) -> None:
    """Points outside the space, coverages outside (0, 1) and fewer than two runs are refused with the right error."""
    surrogate = learner.fit(dataset(), seed=0)
    _require_raises(OutOfBounds, lambda: surrogate.predict(np.array([[9.0, 0.0, 1.0]])), "a point outside the space")
    for coverage in (0.0, 1.0, float("nan")):
        _require_raises(UsageError, lambda c=coverage: surrogate.predict(points(1, 0), coverage=c), f"coverage {coverage}")
    _require_raises(UsageError, lambda: learner.fit(dataset(n=6, failed=5), seed=0), "a single run")


def saves(learner: Learner) -> None:
    """`save` leaves one file and nothing beside it."""
    surrogate = learner.fit(dataset(), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surrogate.safetensors"
        surrogate.save(path)
        require([p.name for p in Path(folder).iterdir()] == [path.name], "`save` must leave one file, the one that was named.")


CHECKS = (answers_in_shape, learns, covers, differentiates, repeats_itself, refuses, saves)


def _width(p: Prediction, name: str) -> float:
    return float(np.mean(p.upper[name] - p.lower[name]))


def _require_same(a: Prediction, b: Prediction, when: str) -> None:
    for name in a.mean:
        for one, other in ((a.mean, b.mean), (a.lower, b.lower), (a.upper, b.upper)):
            require(bool(np.array_equal(one[name], other[name])), f"Predictions of '{name}' differ {when}.")


def _require_raises(error: type[Exception], call: object, what: str) -> None:
    try:
        call()  # type: ignore[operator]
    except error:
        return
    except Exception as other:
        raise NotConforming(f"{what.capitalize()} must raise {error.__name__}, found {type(other).__name__}.") from other
    raise NotConforming(f"{what.capitalize()} must raise {error.__name__}.")
