"""Forces in the slit computed a second time, without LAMMPS: NumPy, the definition of the model, and an exact 2-D periodic Ewald sum.

With a = 1/alpha the screening length, A the lateral area, h the lateral reciprocal vectors and s, z the lateral and normal distances,
    F_ij / (l_B q_i q_j) = sum over images of (erfc(a r)/r + 2 a exp(-a^2 r^2)/sqrt(pi)) r_vec/r^2
                         + (pi/A) sum_h (h/h sin(h s) [f+ + f-] - e_z cos(h s) [f+ - f-]) + e_z (2 pi/A) erf(a z),
    f+- = exp(+-h z) erfc(h/2a +- a z).
Source: Heyes, Barber, Clarke, J. Chem. Soc. Faraday Trans. 2 73:1485 (1977), doi 10.1039/F29777301485.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from scipy.special import erf, erfc, erfcx

from mlforhpc.core.space import FloatArray

# e^2 / (4 pi eps_0 eps_r k T) in nm at 298 K in water, from CODATA 2018
BJERRUM_NM = 1e9 * 1.602176634e-19**2 / (4 * math.pi * 8.8541878128e-12 * 78.5 * 1.380649e-23 * 298.0)


def forces(positions: FloatArray, charges: FloatArray, *, side: float, h: float, d: float | FloatArray) -> FloatArray:
    """Total force on each ion in kT/nm (N, 3), of ions and walls.

    Args:
        positions: (N + W, 3), nm; ions first, then charges of the walls.
        charges: (N + W,), in elementary charges; zero in sum.
        side: lateral period, nm.
        h: distance between the walls at -h/2 and h/2, nm.
        d: diameters of the ions (N,), nm; or one, with W = 0.
    """
    ions = positions[: np.size(d)] if np.ndim(d) else positions
    return coulomb(positions, charges, side=side, on=len(ions)) + cores(ions, side=side, d=d) + walls(ions, h=h, d=d)


def coulomb(positions: FloatArray, charges: FloatArray, *, side: float, alpha: float | None = None, on: int | None = None) -> FloatArray:
    """Coulomb forces on the first `on` charges (on, 3) in kT/nm, exact to 1e-6; the result does not depend on `alpha` (1/nm)."""
    alpha = alpha or 5.0 / side
    apart = _apart(positions, side)[:on]  # (on, N, 3)
    pairs = BJERRUM_NM * charges[:on, None] * charges
    return _near(apart, pairs, side, alpha) + _far(apart, pairs, side, alpha)


def cores(positions: FloatArray, *, side: float, d: float | FloatArray) -> FloatArray:
    """WCA forces between ions (N, 3), kT/nm; diameters add."""
    apart = _apart(positions, side)
    distance = np.sqrt((apart**2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    radius = np.broadcast_to(np.asarray(d) / 2, len(positions))
    return np.asarray((_wca(distance, radius[:, None] + radius)[..., None] * apart).sum(1))


def walls(positions: FloatArray, *, h: float, d: float | FloatArray) -> FloatArray:
    """WCA forces of the walls (N, 3), kT/nm: diameter d/2, so that at |z| = (h - d)/2 the energy is kT."""
    below, above = positions[:, 2] + h / 2, h / 2 - positions[:, 2]
    force = np.zeros_like(positions)
    force[:, 2] = _wca(below, d / 2) * below - _wca(above, d / 2) * above
    return force


def _wca(distance: FloatArray, d: float | FloatArray) -> FloatArray:
    """Force over distance, kT/nm2."""
    power = np.where(distance < 2 ** (1 / 6) * d, d / distance, 0.0) ** 6
    return np.asarray(24 * (2 * power**2 - power) / distance**2)


def _apart(positions: FloatArray, side: float) -> FloatArray:
    apart = positions[:, None] - positions
    apart[..., :2] -= side * np.round(apart[..., :2] / side)
    return np.asarray(apart)


def _near(apart: FloatArray, pairs: FloatArray, side: float, alpha: float) -> FloatArray:
    images = math.ceil(4.2 / alpha / side + 0.5)
    total = np.zeros((len(apart), 3))
    for i, j in product(range(-images, images + 1), repeat=2):
        shifted = apart + np.array([i * side, j * side, 0.0])
        distance = np.sqrt((shifted**2).sum(-1))
        if i == j == 0:
            np.fill_diagonal(distance, np.inf)
        if alpha * distance.min() > 4.2:
            continue
        screened = erfc(alpha * distance) / distance + 2 * alpha / math.sqrt(math.pi) * np.exp(-((alpha * distance) ** 2))
        total += ((pairs * screened / distance**2)[..., None] * shifted).sum(1)
    return total


def _far(apart: FloatArray, pairs: FloatArray, side: float, alpha: float) -> FloatArray:
    unit, z = 2 * math.pi / side, apart[..., 2]
    last = math.floor(2 * alpha * 4.2 / unit)
    total = np.zeros((len(apart), 3))
    total[:, 2] = (pairs * erf(alpha * z)).sum(1)
    known: dict[int, tuple[FloatArray, FloatArray]] = {}
    for i, j in product(range(last + 1), range(-last, last + 1)):
        square = i * i + j * j
        if square > last**2 or (i == 0 and j <= 0):  # the other half plane doubles
            continue
        if square not in known:
            plus, minus = (_damped(unit * math.sqrt(square), sign * z, alpha) for sign in (1, -1))
            known[square] = pairs * (plus + minus), pairs * (plus - minus)
        phase = unit * (i * apart[..., 0] + j * apart[..., 1])
        sideways = (np.sin(phase) * known[square][0]).sum(1)
        total[:, :2] += sideways[:, None] * np.array([i, j]) / math.sqrt(square)
        total[:, 2] -= (np.cos(phase) * known[square][1]).sum(1)
    return 2 * math.pi / side**2 * total


def _damped(h: float, z: FloatArray, alpha: float) -> FloatArray:
    """exp(h z) erfc(h / 2 alpha + alpha z), without overflow."""
    argument = h / (2 * alpha) + alpha * z
    right = np.exp(-((h / (2 * alpha)) ** 2) - (alpha * z) ** 2) * erfcx(np.maximum(argument, 0))
    left = np.exp(np.minimum(h * z, 0)) * erfc(np.minimum(argument, 0))
    return np.where(argument > 0, right, left)
