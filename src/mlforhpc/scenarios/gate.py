"""The gate: up to which rho (half-width of the interval / tolerance) the surrogate answers.

Evidence: a threshold opens when the scored predictions with rho below it show fewer than a share delta of violations; a run of violations
among audited answers closes it. Thresholds are tested from the smallest up, the next only after the last has opened; those below which
too few predictions lie to say anything are passed over. After the k-th closing the level is alpha / (k (k + 1)).
Proxima: the threshold follows the mean error of what was scored, T <- T - (mean error - tolerance) / slope, slope = mean of error / rho.
It promises no rate, and stands here as the baseline.

Zamora et al., Proxima: accelerating the integration of machine learning in atomistic simulations, ICS 2021, doi 10.1145/3447818.3460370.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from mlforhpc.metrics.anytime import CLOSING_BETS, OPENING_BETS, detected, e_value, opened

GRID = (0.1, 0.15, 0.22, 0.32, 0.45, 0.65, 0.8, 1.0)
ALPHA = 0.05
FEWEST = 20
"""Scored predictions below a threshold without which it is passed over: half of what opening takes."""
WINDOW = 20
"""Scored predictions that Proxima's mean error is taken over."""


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction that was made before the run which it is compared with.

    Attributes:
        rho: half-width / tolerance.
        error: of the prediction / tolerance, the run's noise included.
        weight: of this one over the largest that any may have, in (0, 1]; an audit with probability p stands for 1 / p answers.
        answered: the surrogate's answer had gone out.
    """

    rho: float
    error: float
    weight: float
    answered: bool

    @property
    def violated(self) -> bool:
        return not self.error <= 1.0


class Threshold(msgspec.Struct):
    """Evidence at one rho: log capitals of the bets that open it and of those that close it, and what was seen."""

    opening: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(OPENING_BETS))
    closing: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(CLOSING_BETS))
    scored: int = 0
    violations: int = 0


class EvidenceLaw(msgspec.Struct, tag="evidence"):
    """See the file's docstring.

    Attributes:
        delta: share of violations that is promised not to be exceeded.
        thresholds: one for each rho of `GRID`.
        open: how many of `GRID`, from the smallest, are open.
        closings: how often some were closed.
    """

    delta: float
    thresholds: list[Threshold] = msgspec.field(default_factory=lambda: [Threshold() for _ in GRID])
    open: int = 0
    closings: int = 0

    @property
    def limit(self) -> float:
        """Up to which rho the surrogate answers; 0 = not at all."""
        return GRID[self.open - 1] if self.open else 0.0

    @property
    def alarmed(self) -> bool:
        """Whether audits found enough to make more of them worth their price."""
        return any(e_value(t.closing) > 1.5 for t in self.thresholds[: self.open])

    def learn(self, scored: Scored) -> tuple[bool, bool]:
        """Take one more in: whether it closed thresholds, and whether it opened any."""
        for j, (rho, t) in enumerate(zip(GRID, self.thresholds, strict=True)):
            if scored.rho <= rho:
                t.scored += 1
                t.violations += scored.violated
                t.opening = opened(t.opening, delta=self.delta, violated=scored.violated, weight=scored.weight)
                if scored.answered and j < self.open:
                    t.closing = detected(t.closing, delta=self.delta, violated=scored.violated)
        before = self.open
        closed = self._close()
        self._open()
        return closed, self.open > before

    def _close(self) -> bool:
        wrong = next((j for j, t in enumerate(self.thresholds[: self.open]) if e_value(t.closing) >= 1 / ALPHA), None)
        if wrong is None:
            return False
        self.thresholds[wrong:] = [Threshold() for _ in GRID[wrong:]]
        self.open, self.closings = wrong, self.closings + 1
        return True

    def _open(self) -> None:
        k = self.closings
        level = (k * (k + 1) if k else 1) / ALPHA
        for j in range(self.open, len(GRID)):
            t = self.thresholds[j]
            if t.scored < FEWEST:
                continue
            if e_value(t.opening) < level:
                return
            self.open = j + 1


class ProximaLaw(msgspec.Struct, tag="proxima"):
    """See the file's docstring.

    Attributes:
        threshold: of rho; follows the mean error; None before there is one.
        recent: (rho, error / tolerance) of what was scored last.
    """

    threshold: float | None = None
    recent: list[tuple[float, float]] = msgspec.field(default_factory=list)

    @property
    def limit(self) -> float:
        """See `EvidenceLaw`; without an upper bound of its own."""
        return self.threshold or 0.0

    @property
    def alarmed(self) -> bool:
        """See `EvidenceLaw`."""
        return False

    def learn(self, scored: Scored) -> tuple[bool, bool]:
        """See `EvidenceLaw`."""
        self.recent = [*self.recent, (scored.rho, scored.error)][-WINDOW:]
        if len(self.recent) < WINDOW // 2:
            return False, False
        slope = sum(error for _, error in self.recent) / max(sum(rho for rho, _ in self.recent), 1e-9)
        error = sum(error for _, error in self.recent) / len(self.recent)
        self.threshold = 1.0 / slope if self.threshold is None else max(0.0, self.threshold - (error - 1.0) / slope)
        return False, False


Law: TypeAlias = EvidenceLaw | ProximaLaw
LAWS = {"evidence": EvidenceLaw, "proxima": ProximaLaw}
