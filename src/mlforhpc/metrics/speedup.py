"""Effective speedup of a learned simulation, from measured times.

    S(N) = T_seq (N + N_train) / (T_lookup N + (T_train + T_learn) N_train)
(Fox & Jha 2019, "Learning everywhere: a taxonomy for the integration of machine learning and simulations",
arXiv 1909.13340). It says nothing of quality: gain does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlforhpc.core.errors import UsageError
from mlforhpc.core.result import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """Measured times, all in seconds and positive (t_learn_s and t_lookup_s may be zero).

    Attributes:
        n_train: training runs used.
        t_seq_s: mean slot time of a training run.
        t_train_s: makespan of the training campaign / n_train.
        t_learn_s: fitting time per training run, search and calibration included.
        t_lookup_s: one prediction with its interval on one slot.
    """

    n_train: int
    t_seq_s: float
    t_train_s: float
    t_learn_s: float
    t_lookup_s: float

    def __post_init__(self) -> None:
        if self.n_train < 1 or self.t_seq_s <= 0 or self.t_train_s <= 0 or self.t_learn_s < 0 or self.t_lookup_s < 0:
            raise UsageError(f"Effective speedup needs at least one training run and positive times, found {self}.")

    def at(self, n: float) -> float:
        """S(n) for n lookups, in (0, inf)."""
        return self.t_seq_s * (n + self.n_train) / (self.t_lookup_s * n + (self.t_train_s + self.t_learn_s) * self.n_train)

    @property
    def at_zero(self) -> float:
        """S(0) = T_seq / (T_train + T_learn): the parallel speedup, less learning."""
        return self.at(0)

    @property
    def at_infinity(self) -> float | None:
        """T_seq / T_lookup; None where a lookup takes no measurable time."""
        return self.t_seq_s / self.t_lookup_s if self.t_lookup_s > 0 else None

    def curve(self, lookups: Sequence[float], *, label: str = "S") -> Series:
        """S over numbers of lookups, for a figure."""
        return Series(label=label, x=[float(n) for n in lookups], y=[self.at(n) for n in lookups])
