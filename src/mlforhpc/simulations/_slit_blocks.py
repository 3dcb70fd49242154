"""From block averages to profiles, derived densities and honest error bars.

In equilibrium the slope of the density is its mean force over kT, n' = n <f>, so forces tell of the profile as well as counts do, and
with less noise where ions are few or crowded. The profile n minimises
    sum_i (n_i - counts_i)^2 / c_i^2 + sum_i (n_i+1 - n_i - path_i)^2 / p_i^2,
path being the integral of n <f> from one bin to the next, c and p the standard errors of both, with as many ions as were counted; the
bin at the wall, in which the density rises from zero, is bound to no other. de las Heras and Schmidt, Better than counting: density
profiles from force sampling, arXiv 1711.00006 (2017); Coles, Mangaud, Frenkel, Rotenberg, Reduced variance analysis of molecular dynamics
simulations by linear combination of estimators, J. Chem. Phys. 154:191101 (2021), doi 10.1063/5.0053737.

The variance of a mean over B blocks is s^2 / B only if blocks are independent. Blocks shorter than the slowest mode are not, so it is
multiplied by f = 1 + 2 sum_k (1 - k/B) r^k, r being the correlation of neighbouring blocks, pooled over all bins of both species
(Flyvbjerg and Petersen, J. Chem. Phys. 91:461 (1989), doi 10.1063/1.457480, for blocks; the pooled r is ours).
"""

from __future__ import annotations

import numpy as np

from mlforhpc.core.simulation import Outputs
from mlforhpc.core.space import FloatArray
from mlforhpc.simulations._slit import PER_NM3, Slit
from mlforhpc.simulations._slit_input import Sampled

REFERENCES = (
    "de las Heras, Schmidt, Better than counting: Density profiles from force sampling, arXiv 1711.00006, 2017",
    "Coles, Mangaud, Frenkel, Rotenberg, Reduced variance analysis of molecular dynamics simulations by linear combination of "
    "estimators, J. Chem. Phys. 154:191101, 2021, doi 10.1063/5.0053737",
)
SPECIES = ("cation", "anion")
CENTRE_BINS = 2  # of each half
NEIGHBOURS = 7  # bins over which variances are averaged before they weigh


def summarised(slit: Slit, sampled: Sampled, *, bins: int, error_scale: float) -> Outputs:
    """Profiles and derived densities relative to the nominal concentrations, and checks; `error_scale` multiplies every error."""
    nominal = (PER_NM3 * slit.nominal)[:, None]
    blocks = _coarse(sampled.densities / nominal, bins)  # (B, 2, bins)
    half = bins // 2
    left, right = blocks[..., :half], blocks[..., ::-1][..., :half]  # (B, 2, bins/2), both from the wall inwards
    folded = (left + right) / 2
    growth = inflation(folded)
    values: dict[str, FloatArray] = {}
    errors: dict[str, FloatArray] = {}
    # an error bar is never less than what one ion, seen once, makes of a bin
    one_ion = half / (slit.area * np.array(slit.width)) / nominal[:, 0] / (sampled.samples * len(blocks))  # (2,)
    steps = [paths(sampled.pulls[:, s] / nominal[s], slit.width[s], half) for s in (0, 1)]
    profiles = [combined(folded[:, s], steps[s], growth=growth, least=one_ion[s]) for s in (0, 1)]
    own_growth = inflation(np.stack(profiles, axis=1))
    for s, name in enumerate(SPECIES):
        rows = {"": profiles[s], **_derived(slit, profiles[s], species=s)}  # (B, ...) each
        for suffix, series in rows.items():
            mean, error = series.mean(0), error_scale * np.maximum(standard_error(series, own_growth), one_ion[s])
            values[name + suffix] = mean if suffix else np.concatenate([mean, mean[::-1]])
            errors[name + suffix] = error if suffix else np.concatenate([error, error[::-1]])
    checks = {
        "temperature_K": sampled.temperature_K,
        "halves": _halves(folded, growth),
        "asymmetry": _ratio((left - right).mean(0), standard_error(left - right, inflation(left - right))),
        "ions": float(slit.ions),
        "area_nm2": slit.area,
    }
    return Outputs(values=values, standard_errors=errors, checks=checks)


def counted(slit: Slit, sampled: Sampled, *, bins: int) -> Outputs:
    """Profiles from counts alone, for comparison."""
    blocks = _coarse(sampled.densities / (PER_NM3 * slit.nominal)[:, None], bins)
    folded = (blocks + blocks[..., ::-1]) / 2
    return Outputs(values={name: folded[:, s].mean(0) for s, name in enumerate(SPECIES)})


def paths(pulls: FloatArray, width: float, half: int) -> FloatArray:
    """Steps of the density from bin to bin of the folded profile (B, half - 1), from n <f> by layer (B, layers) over `width` nm."""
    layers = pulls.shape[1]
    inwards = (pulls - pulls[:, ::-1])[:, : layers // 2] / 2  # the halves are mirror images: forces point away from their wall
    rise = (inwards[:, 1:] + inwards[:, :-1]) / 2 * width / layers
    density = np.cumsum(np.pad(rise, ((0, 0), (1, 0))), axis=1)  # but for a constant
    return np.asarray(np.diff(_coarse(density, half), axis=1))


def combined(counts: FloatArray, steps: FloatArray, *, growth: float, least: float) -> FloatArray:
    """Blocks (B, half) of the profile that fits counts (B, half) and steps between bins (B, half - 1) best.

    Args:
        counts, steps: block averages.
        growth: inflation of a block variance.
        least: smallest standard error of either.
    """
    half = counts.shape[1]
    slopes = np.diff(np.eye(half), axis=0)[1:]  # (half - 2, half)
    by_count = 1 / np.maximum(_neighbourly(standard_error(counts, growth) ** 2), least**2)
    by_step = slopes.T / np.maximum(_neighbourly(standard_error(steps[:, 1:], growth) ** 2), least**2)  # (half, half - 2)
    normal = np.diag(by_count) + by_step @ slopes
    wanted = by_count * counts + steps[:, 1:] @ by_step.T  # (B, half)
    *rows, one = np.linalg.solve(normal, np.vstack([wanted, np.ones(half)]).T).T
    free = np.array(rows)
    return np.asarray(free + (counts.sum(axis=1) - free.sum(axis=1))[:, None] * one / one.sum())


def _neighbourly(variance: FloatArray) -> FloatArray:
    """Mean over each bin and its neighbours (n,): ten blocks tell a variance to a third, and weights that follow chance flatter it."""
    reach = NEIGHBOURS // 2
    padded = np.pad(variance, reach, mode="reflect")
    return np.convolve(padded, np.full(NEIGHBOURS, 1 / NEIGHBOURS), mode="valid")


def _coarse(series: FloatArray, bins: int) -> FloatArray:
    """Means over equal groups of the last axis (..., layers) -> (..., bins)."""
    return np.asarray(series.reshape(*series.shape[:-1], bins, -1).mean(axis=-1))


def inflation(blocks: FloatArray) -> float:
    """Variance of the mean of B blocks (B, ...) relative to s^2 / B, from the correlation of neighbouring blocks."""
    b = len(blocks)
    away = blocks - blocks.mean(0)
    r = float((away[1:] * away[:-1]).sum() / (away**2).sum())
    r = min(0.8, max(-0.3, (r + 1 / b) * b / (b - 1)))  # subtracting the mean pulls r down by 1/B
    f = 1 + 2 * sum((1 - k / b) * r**k for k in range(1, b))
    return f * (b - 1) / (b - f)  # and s^2 by f/B


def standard_error(blocks: FloatArray, growth: float) -> FloatArray:
    """Standard error of the mean over blocks (B, ...) -> (...)."""
    return np.asarray(np.sqrt(growth * blocks.var(0, ddof=1) / len(blocks)))


def wall_weights(slit: Slit, bins: int, *, species: int = 0) -> FloatArray:
    """Mean of exp(-u_wall/kT) over each bin (bins,) from the wall inwards; the outermost one takes what lies beyond (h - d)/2."""
    step, d = slit.width[species] / 64, slit.d[species]
    radius = np.linspace(0.7 * d / 2, d / 2 + bins * step, 4001)
    power = (d / 2 / radius) ** 6
    boltzmann = np.where(power > 0.5, np.exp(-4 * (power**2 - power) - 1), 1.0)
    bin_of = np.clip(((radius - d / 2) / step).astype(int), 0, bins - 1)
    return np.asarray(np.bincount(bin_of, boltzmann, minlength=bins) * (radius[1] - radius[0]) / step, dtype=float)


def _derived(slit: Slit, folded: FloatArray, *, species: int) -> dict[str, FloatArray]:
    """Block series (B,) of the contact, peak and centre densities, relative like the profile, from one species' folded profile (B, bins/2).

    Soft walls have no contact value: the density without the wall's own factor, n exp(u_wall/kT), is continued to |z| = (h - d)/2.
    """
    first, second = (folded[:, :2] / wall_weights(slit, 2, species=species)).T
    return {
        "_contact": 1.5 * first - 0.5 * second,
        "_peak": folded[:, int(np.argmax(folded.mean(0)))],
        "_centre": folded[:, -CENTRE_BINS:].mean(1),
    }


def _halves(folded: FloatArray, growth: float) -> float:
    middle = len(folded) // 2
    drift = folded[:middle].mean(0) - folded[middle:].mean(0)
    return _ratio(drift, 2 * standard_error(folded, growth))


def _ratio(difference: FloatArray, error: FloatArray) -> float:
    """Sum of squares over all bins against the expected one: 1 on average, whatever the correlation of the bins."""
    expected = float((error**2).sum())
    return float((difference**2).sum()) / expected if expected else 0.0
