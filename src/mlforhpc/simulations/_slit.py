"""The primitive electrolyte in a slit: numbers, lengths and times that follow from one point of the space.

Ions of diameters d and valences z+ : -z- between two walls at z = -h/2 and h/2, periodic sideways; the centres of a species reach
|z| <= (h - d)/2. Both walls carry sigma as a square mesh of equal points. Salt of concentration c, and counterions 2 |sigma| A / (e z+).
Numbers are whole. The lateral area A makes the anions' concentration exact, and of all areas near 16 nm2 that one is taken whose whole
number of cations is the most neutral; what is left, less than half an ion's charge, is spread over all ions by scaling their valences.
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
AREA_NM2 = 16.0  # about; the exact one follows from the whole numbers of ions
LEAST_AREA_NM2, MOST_AREA_NM2 = 14.0, 21.0
PER_NM3 = 0.602214076  # one mol/L as ions per nm3
PER_NM2 = 1 / 0.1602176634  # one C/m2 as elementary charges per nm2
MESH_NM = 0.8  # at most, between charges of a wall: seen from (h - d)/2 their field is that of a plane within 0.06 kT
THERMAL_VELOCITY_NM_PER_PS = math.sqrt(8.31446262e-3 * TEMPERATURE_K / MASS_G_PER_MOL)  # sqrt(kT/m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slit:
    """One system; pairs are of cations, then anions.

    Attributes:
        h: distance between the walls, nm.
        c: concentration of the salt's cations in the volume A h, mol/L; counterions come on top.
        z: valences, both positive.
        d: diameters, nm.
        sigma: charge of each wall, 0 or less, C/m2.
    """

    h: float
    c: float
    z: tuple[int, int]
    d: tuple[float, float]
    sigma: float = 0.0

    @classmethod
    def at(cls, x: Mapping[str, Value]) -> Slit:
        """The system at a point of the space of `nanoconfinement`."""
        return cls(h=float(x["h"]), c=float(x["c"]), z=(int(x["z"]), 1), d=(float(x["d"]), float(x["d"])))

    @classmethod
    def charged_at(cls, x: Mapping[str, Value]) -> Slit:
        """The system at a point of the space of `charged_slit`."""
        h, c, sigma, d_plus, d_minus = (float(x[name]) for name in ("h", "c", "sigma", "d_plus", "d_minus"))
        return cls(h=h, c=c, z=(int(x["z_plus"]), int(x["z_minus"])), d=(d_plus, d_minus), sigma=sigma)

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of cations and anions: the most neutral ones with an area of 14 to 21 nm2, of these the next to 16 nm2."""
        one = self._area(1)

        def misfit(anions: int) -> tuple[float, float]:
            return round(abs(self._excess(anions)), 2), abs(self._area(anions) - AREA_NM2)

        anions = min(range(math.ceil(LEAST_AREA_NM2 / one), math.floor(MOST_AREA_NM2 / one) + 1), key=misfit)
        return self._cations(anions), anions

    @property
    def cations(self) -> int:
        """Number of cations, counterions included."""
        return self.counts[0]

    @property
    def ions(self) -> int:
        """Number of cations and anions."""
        return sum(self.counts)

    @property
    def area(self) -> float:
        """Lateral area that makes the anions' concentration exact, nm2."""
        return self._area(self.counts[1])

    @property
    def side(self) -> float:
        """Lateral period, nm."""
        return math.sqrt(self.area)

    @property
    def width(self) -> tuple[float, float]:
        """Widths that the centres of the ions can reach, nm."""
        return self.h - self.d[0], self.h - self.d[1]

    @property
    def excess(self) -> float:
        """Share by which cations' valences are lowered and anions' raised, so that ions and walls are neutral; 0 without wall charge."""
        cations, anions = self.counts
        return self._excess(anions) / (self.z[0] * cations + self.z[1] * anions)

    @property
    def charges(self) -> tuple[float, float]:
        """Charges of a cation and of an anion in elementary charges: z+ (1 - excess) and -z- (1 + excess)."""
        return self.z[0] * (1 - self.excess), -self.z[1] * (1 + self.excess)

    @property
    def wall_charge(self) -> float:
        """Charge of both walls together, in elementary charges."""
        return 2 * self.sigma * PER_NM2 * self.area

    @property
    def nominal(self) -> FloatArray:
        """Concentrations of the salt's ions (2,), mol/L."""
        return self.c * np.array([1.0, self.z[0] / self.z[1]])

    @property
    def tau(self) -> float:
        """Unit of time d sqrt(m/kT), ps, of the smaller ions."""
        return min(self.d) / THERMAL_VELOCITY_NM_PER_PS

    @property
    def expense(self) -> float:
        """What a run costs, relative to others: N^1.7 of its N ions (1,560 runs of 15 to 150 ions: slope 1.71, residuals 9 %)."""
        return float(self.ions**1.7)

    def relaxation(self, damping: float) -> float:
        """Time in which the slowest mode of the density decays, in units of tau.

        (h - d)^2 / (pi^2 D), with 1/D = 1/damping + 1 in units of d^2/tau: the solvent's friction and, about as strong, the other ions.
        """
        return (max(self.width) / min(self.d)) ** 2 / math.pi**2 * (1 + 1 / damping)

    def placed(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Random positions (N, 3) in nm, far from each other (best of 24 candidates each), and species (N,): 0 cation, 1 anion."""
        n, side, width = self.ions, self.side, min(self.width) - 0.1 * max(self.d)
        positions = np.empty((n, 3))
        for i in range(n):
            candidates = (rng.random((24, 3)) - [0, 0, 0.5]) * [side, side, width]
            apart = candidates[:, None] - positions[:i]  # (24, i, 3)
            apart[..., :2] -= side * np.round(apart[..., :2] / side)
            positions[i] = candidates[np.argmax((apart**2).sum(-1).min(-1, initial=np.inf))]
        species = (np.arange(n) >= self.cations).astype(float)
        return positions, rng.permutation(species)

    def mesh(self) -> FloatArray:
        """Positions of the walls' charges (W, 3) in nm; none without charge."""
        if not self.sigma:
            return np.empty((0, 3))
        side, n = self.side, math.ceil(self.side / MESH_NM)
        ticks = (np.arange(n) + 0.5) * side / n
        return np.array([[x, y, z] for z in (-self.h / 2, self.h / 2) for y in ticks for x in ticks])

    def _area(self, anions: int) -> float:
        return (anions * self.z[1] / self.z[0]) / (self.c * PER_NM3 * self.h)

    def _cations(self, anions: int) -> int:
        return round((anions * self.z[1] - 2 * self.sigma * PER_NM2 * self._area(anions)) / self.z[0])

    def _excess(self, anions: int) -> float:
        """Charge of ions and walls with nominal valences."""
        return self.z[0] * self._cations(anions) - self.z[1] * anions + 2 * self.sigma * PER_NM2 * self._area(anions)
