"""One truth that was checked: a measured figure against its limit, in a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check of `mlforhpc verify`.

    Attributes:
        name: unique among its benchmark's checks.
        passed: whether the truth holds.
        found: the measured figure.
        limit: what it was held against; the sentence says from which side and in which unit.
        sentence: what was compared with what, and what came out.
        cost_s: CPU time of the check, s.
    """

    name: str
    passed: bool
    found: float
    limit: float
    sentence: str
    cost_s: float = 0.0
