"""The primitive electrolyte in a slit: numbers, lengths and times that follow from one point of the space.

Ions of diameter d and valences z : -1 between two walls at z = -h/2 and h/2, periodic sideways. The centres of the ions reach
|z| <= (h - d)/2. The number of cations is whole, so the lateral area A makes the concentration exact: A = n / (c h).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.space import FloatArray, Value

TEMPERATURE_K = 298.0
PERMITTIVITY = 78.5
MASS_G_PER_MOL = 23.0
AREA_NM2 = 16.0  # about; the exact one follows from the whole number of cations
PER_NM3 = 0.602214076  # one mol/L as ions per nm3
THERMAL_VELOCITY_NM_PER_PS = math.sqrt(8.31446262e-3 * TEMPERATURE_K / MASS_G_PER_MOL)  # sqrt(kT/m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slit:
    """One system.

    Attributes:
        h: distance between the walls, nm.
        c: concentration of cations in the volume A h, mol/L.
        z: valence of the cation.
        d: diameter of the ions, nm.
    """

    h: float
    c: float
    z: int
    d: float

    @classmethod
    def at(cls, x: Mapping[str, Value]) -> Slit:
        """The system at a point of the space."""
        return cls(h=float(x["h"]), c=float(x["c"]), z=int(x["z"]), d=float(x["d"]))

    @property
    def cations(self) -> int:
        """Number of cations: the whole number nearest to c A h at A = 16 nm2."""
        return max(1, round(self.c * PER_NM3 * AREA_NM2 * self.h))

    @property
    def ions(self) -> int:
        """Number of cations and of z times as many anions."""
        return self.cations * (1 + self.z)

    @property
    def area(self) -> float:
        """Lateral area that makes the concentration exact, nm2."""
        return self.cations / (self.c * PER_NM3 * self.h)

    @property
    def side(self) -> float:
        """Lateral period, nm."""
        return math.sqrt(self.area)

    @property
    def width(self) -> float:
        """Width that the centres of the ions can reach, nm."""
        return self.h - self.d

    @property
    def tau(self) -> float:
        """Unit of time d sqrt(m/kT), ps."""
        return self.d / THERMAL_VELOCITY_NM_PER_PS

    def relaxation(self, damping: float) -> float:
        """Time in which the slowest mode of the density decays, in units of tau.

        (h - d)^2 / (pi^2 D), with 1/D = 1/damping + 1 in units of d^2/tau: the solvent's friction and, about as strong, the other ions.
        """
        return (self.width / self.d) ** 2 / math.pi**2 * (1 + 1 / damping)

    def placed(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Random positions (N, 3) in nm, far from each other (best of 24 candidates each), and species (N,): 0 cation, 1 anion."""
        n, side, width = self.ions, self.side, self.width - 0.1 * self.d
        positions = np.empty((n, 3))
        for i in range(n):
            candidates = (rng.random((24, 3)) - [0, 0, 0.5]) * [side, side, width]
            apart = candidates[:, None] - positions[:i]  # (24, i, 3)
            apart[..., :2] -= side * np.round(apart[..., :2] / side)
            positions[i] = candidates[np.argmax((apart**2).sum(-1).min(-1, initial=np.inf))]
        species = (np.arange(n) >= self.cations).astype(float)
        return positions, rng.permutation(species)
