"""The strategy contract: what to simulate next. A strategy knows no engine; a log of asks and tells replays exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mlforhpc.core.record import Outcome
from mlforhpc.core.space import FloatArray, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One run to make: x (d,) in physical units; `settings` empty means the simulation's default."""

    id: int
    x: FloatArray
    settings: Mapping[str, Value] = field(default_factory=dict)
    fidelity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a proposal gave, at which fidelity; y and se are empty unless the outcome is `ok`."""

    id: int
    outcome: Outcome
    y: Mapping[str, FloatArray] = field(default_factory=dict)
    se: Mapping[str, FloatArray] = field(default_factory=dict)
    cost_s: float = 0.0
    fidelity: float = 1.0


@runtime_checkable
class Strategy(Protocol):
    """Decides what to simulate next."""

    def ask(self, n: int) -> Sequence[Proposal]:
        """At most n proposals; none while it must wait for observations."""
        ...

    def tell(self, observations: Sequence[Observation]) -> None:
        """Observations, in any order."""
        ...

    @property
    def done(self) -> str | None:
        """Why it stops, in a sentence, or None."""
        ...
