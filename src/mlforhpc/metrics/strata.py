"""Held-out systems in strata, each system weighted by the share of the space that it stands for.

A hard corner is oversampled and weighted back: w_i = W_h / n_h for each of the n_h systems of stratum h, whose share
of the space is W_h (Cochran 1977, Sampling Techniques, ch. 5). The weights sum to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.errors import UsageError
from mlforhpc.core.space import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """Which stratum each held-out system belongs to, and what it counts.

    Attributes:
        labels: stratum of each system (n,).
        weights: of each system, summing to one (n,).
    """

    labels: tuple[str, ...]
    weights: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """The strata, sorted."""
        return tuple(sorted(set(self.labels)))

    def within(self, name: str) -> NDArray[np.bool_]:
        """Which systems belong to a stratum (n,)."""
        return np.array([label == name for label in self.labels], dtype=bool)

    @property
    def groups(self) -> list[NDArray[np.intp]]:
        """Indices of the systems that are resampled together: the strata, single systems collapsed with the smallest other group."""
        groups = [np.flatnonzero(self.within(name)) for name in self.names]
        groups.sort(key=len)  # stable: ties stay in the order of the names
        while len(groups) > 1 and len(groups[0]) < 2:
            merged = np.sort(np.concatenate([groups[0], groups[1]]))
            groups = sorted([merged, *groups[2:]], key=len)
        return groups


def stratify(labels: Sequence[str], shares: Mapping[str, float] | None = None) -> Strata:
    """Strata from each system's label and each stratum's share of the space.

    Args:
        labels: stratum of each system (n,).
        shares: stratum -> share of the space, any positive numbers (they are normalised); None: proportional to the counts,
            so that each system counts the same.
    """
    labels = tuple(labels)
    if not labels:
        raise UsageError("Held-out systems are wanted, found none: give at least one label.")
    counts = {name: labels.count(name) for name in sorted(set(labels))}
    if shares is None:
        shares = {name: float(count) for name, count in counts.items()}
    if set(shares) != set(counts) or min(shares.values()) <= 0:
        raise UsageError(
            f"Every stratum needs held-out systems and a positive share of the space; shares are {dict(shares)}, systems are {counts}."
        )
    total = sum(shares.values())
    weights = np.array([shares[label] / total / counts[label] for label in labels])
    return Strata(labels=labels, weights=weights)


def one_stratum(n: int) -> Strata:
    """n systems that all count the same."""
    return stratify(["all"] * n)
