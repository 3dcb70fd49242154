"""Bootstrap-t: variances by hand, limits that hold where they can be checked."""

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.metrics.bootstrap import Replicates, mean, nested, replicate, resample
from mlforhpc.metrics.strata import one_stratum, stratify


def test_counts_stay_within_strata() -> None:
    """Each stratum keeps its number of systems in every resample."""
    counts = resample(stratify(["a"] * 3 + ["b"] * 5), seed=0, draws=200)
    assert (counts[:, :3].sum(axis=1) == 3).all() and (counts[:, 3:].sum(axis=1) == 5).all()
    assert counts.std(axis=0).min() > 0


def test_the_standard_error_of_a_stratified_mean_by_hand() -> None:
    """sum W_h^2 s_h^2 / n_h = 0.81 * 2 / 2 + 0.01 * 1 / 3, with s^2 = 2 and 1."""
    strata = stratify(["a", "a", "b", "b", "b"], {"a": 0.9, "b": 0.1})
    found = mean(np.array([0.0, 2.0, 1.0, 2.0, 3.0]), strata, resample(strata, seed=0, draws=10))
    assert found.value == pytest.approx(0.9 * 1.0 + 0.1 * 2.0)
    assert found.se == pytest.approx(np.sqrt(0.81 + 0.01 / 3.0), rel=1e-6)


def test_a_ratio_has_the_delta_method_s_standard_error() -> None:
    """Of paired columns: var(L) / n with L = (u - R v) / mean v."""
    rng = np.random.default_rng(0)
    u, v = rng.uniform(1, 2, 50), rng.uniform(1, 2, 50)
    strata = one_stratum(50)
    found = replicate(np.column_stack([u, v]) / 50, lambda m: m[:, 0] / m[:, 1], strata, resample(strata, seed=0, draws=10))
    ratio = u.mean() / v.mean()
    assert found.value == pytest.approx(ratio)
    assert found.se == pytest.approx(np.std((u - ratio * v) / v.mean(), ddof=1) / np.sqrt(50), rel=1e-6)


def test_pairing_cancels_what_is_common() -> None:
    """A figure that is the same in every system has no interval, however much its parts vary."""
    u = np.random.default_rng(0).uniform(1, 2, 30)
    strata = one_stratum(30)
    found = replicate(np.column_stack([3 * u, u]) / 30, lambda m: m[:, 0] / m[:, 1], strata, resample(strata, seed=0, draws=100))
    assert found.value == pytest.approx(3.0) and found.se < 1e-8


def test_limits_on_normal_data_hold() -> None:
    """The lower 95 % limit as promised; the upper one, calibrated for heavy tails, more often."""
    rng = np.random.default_rng(0)
    strata = one_stratum(40)
    low = high = 0
    for seed in range(300):
        found = mean(5 + rng.standard_normal(40), strata, resample(strata, seed=seed, draws=400))
        low += found.limit("lower") <= 5  # type: ignore[operator]
        high += found.limit("upper") >= 5  # type: ignore[operator]
    assert 0.91 < low / 300 < 0.985
    assert 0.96 < high / 300 <= 1.0


def test_upper_limit_on_heavy_tails_holds() -> None:
    """The flagship's case: a corner of 4.5 % with half of q^2; the upper 95 % limit covers about 95 %."""
    rng = np.random.default_rng(1)
    strata = stratify(["bulk"] * 48 + ["corner"] * 16, {"bulk": 0.955, "corner": 0.045})
    size = np.array([1.0] * 48 + [21.0] * 16)
    truth = 0.955 + 0.045 * 21.0
    draws = [mean(size * np.exp(1.2 * rng.standard_normal(64) - 0.72), strata, resample(strata, seed=s, draws=400)) for s in range(300)]
    held = [found.limit("upper") >= truth for found in draws]  # type: ignore[operator]
    assert 0.91 < np.mean(held) < 0.99


def test_limits_open_where_resamples_say_nothing() -> None:
    """Two systems: half of the resamples have no spread, and the limits are open, not made up."""
    strata = one_stratum(2)
    found = mean(np.array([1.0, 2.0]), strata, resample(strata, seed=0, draws=1000))
    assert found.limit("upper") is None and found.limit("lower") is None


def test_scaled_scales_everything() -> None:
    """Limits of a multiple are multiples of the limits."""
    strata = one_stratum(20)
    found = mean(np.random.default_rng(0).lognormal(size=20), strata, resample(strata, seed=0, draws=500))
    assert found.scaled(3.0).limit("upper") == pytest.approx(3.0 * found.limit("upper"))  # type: ignore[operator]


def replicates(value: float, se: float, seed: int) -> Replicates:
    """A figure with a normal error."""
    rng = np.random.default_rng(seed)
    return Replicates(value=value, se=se, values=value + se * rng.standard_normal(4000), ses=np.full(4000, se))


def test_nested_in_repeats_by_hand() -> None:
    """max(variance between, mean variance within) / R; on shared systems within + between / R."""
    repeats = [replicates(v, 0.1, i) for i, v in enumerate([1.0, 2.0, 3.0])]
    assert nested(repeats, seed=0).value == pytest.approx(2.0)
    assert nested(repeats, seed=0).se == pytest.approx(np.sqrt(1.0 / 3.0))
    assert nested(repeats, seed=0, shared=True).se == pytest.approx(np.sqrt(0.01 + 1.0 / 3.0))
    equal = [replicates(1.0, 0.3, i) for i in range(4)]
    assert nested(equal, seed=0).se == pytest.approx(0.15)
    assert nested(repeats[:1], seed=0) is repeats[0]


def test_no_repeat_is_refused() -> None:
    """A sentence, not an IndexError."""
    with pytest.raises(UsageError, match="At least one repeat"):
        nested([], seed=0)
