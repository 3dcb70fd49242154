"""Smoothing of the slit's profiles: what it must leave alone, what it must remove, and that it never does harm."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc.simulations._slit_smoothing import profiles

HALF = (np.arange(32) + 0.5) / 64  # from the wall to the middle, in widths
LAYERED = 1.2 + 2.0 * np.exp(-HALF / 0.05) * np.cos(HALF / 0.03) ** 2 + 0.2 * np.cos(40 * HALF) * np.exp(-HALF / 0.2)
LAYERED[0] *= 0.6  # the wall takes part of its bin


def mirrored(half):
    """Whole profiles of halves (n, 32)."""
    return np.concatenate([half, half[..., ::-1]], axis=-1)


def noisy(noise: float, n: int = 400, seed: int = 0):
    """Runs of the layered profile, cations as they are and anions upside down about their mean, with relative noise."""
    rng, truth = np.random.default_rng(seed), {"cation": mirrored(LAYERED), "anion": mirrored(2.4 - 0.5 * LAYERED)}
    y = {name: t * (1 + noise * mirrored(rng.standard_normal((n, 32)))) for name, t in truth.items()}
    return truth, y, {name: np.broadcast_to(noise * t, (n, 64)) for name, t in truth.items()}


def squared_error(made, truth) -> float:
    """Mean over runs, species and bins."""
    return float(np.mean([(made[name] - t) ** 2 for name, t in truth.items()]))


@pytest.mark.parametrize("noise", [1e-3, 0.01, 0.05])
def test_a_flat_profile_with_its_wall_bin_is_left_as_it_is(noise: float) -> None:
    """Nothing but the wall's bin differs from the mean: no penalty bends it, however large the stated errors."""
    flat = mirrored(np.where(np.arange(32) == 0, 0.4, 1.3))[None]
    made = profiles({"cation": flat, "anion": 2 * flat}, {"cation": noise * flat, "anion": noise * flat})
    np.testing.assert_allclose(made["cation"], flat, rtol=1e-7)
    np.testing.assert_allclose(made["anion"], 2 * flat, rtol=1e-7)


def test_runs_without_error_are_left_as_they_are() -> None:
    """With standard errors of zero the estimated risk is least without any penalty."""
    truth, y, se = noisy(0.0, n=2)
    made = profiles(y, se)
    for name, t in truth.items():
        np.testing.assert_allclose(made[name], np.broadcast_to(t, (2, 64)), rtol=1e-12)


@pytest.mark.parametrize(("noise", "most"), [(0.3, 0.5), (0.1, 0.6), (0.03, 0.8), (0.01, 0.95), (0.001, 1.02)])
def test_the_squared_error_falls_and_hardly_ever_rises(noise: float, most: float) -> None:
    """Of noisy runs by half, of precise ones less and less, and never by more than choosing the penalty can cost."""
    truth, y, se = noisy(noise)
    assert squared_error(profiles(y, se), truth) < most * squared_error(y, truth)


def test_understated_errors_mean_less_smoothing() -> None:
    """The choice follows the run's own error bars: at a tenth of them nearly all of the noise stays."""
    truth, y, se = noisy(0.1)
    timid = profiles(y, {name: error / 10 for name, error in se.items()})
    assert squared_error(timid, truth) > 0.9 * squared_error(y, truth)


def test_each_run_is_smoothed_by_itself() -> None:
    """A failed run stays NaN, an empty bin stays finite, and neither moves another run."""
    _, y, se = noisy(0.1, n=3)
    alone = profiles({k: v[2:] for k, v in y.items()}, {k: v[2:] for k, v in se.items()})
    y["cation"][0], y["anion"][1, [5, -6]] = np.nan, 0.0
    made = profiles(y, se)
    assert np.isnan(made["cation"][0]).all() and np.isfinite(made["anion"][1]).all()
    np.testing.assert_allclose(made["cation"][2:], alone["cation"], rtol=1e-12)
    np.testing.assert_array_equal(made["anion"][2], made["anion"][2][::-1])
