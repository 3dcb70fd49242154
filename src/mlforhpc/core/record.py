"""What one simulation gave: the unit of the store, of memoisation and of a dataset.

`ok`, `failed` and `timed_out` are answers and are kept: a resumed campaign repeats no hang. `lost` (the worker died)
and `cancelled` say nothing about the simulation and are never stored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from mlforhpc.core.simulation import Simulation
from mlforhpc.core.space import FloatArray, Value

Outcome: TypeAlias = Literal["ok", "failed", "timed_out", "lost", "cancelled"]
ANSWERS: tuple[Outcome, ...] = ("ok", "failed", "timed_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one simulation gave.

    Attributes:
        key: hash of everything that decides the result (`key_of`).
        simulation, version: of the simulation.
        parameters, settings, fidelity, seed: what was asked.
        outcome: how it ended.
        outputs: name -> array; empty unless `ok`.
        standard_errors: name -> array of the same shape; empty where the simulation states none.
        checks: the run's own numbers about itself.
        reason: why it is not `ok` (last line first, then the remote traceback); empty if `ok`.
        limit_s: the time limit it met, if `timed_out`.
        cost_s: slot-seconds: worker wall time times slots.
        system: host and hardware it ran on; timing figures never mix two.
        kept: it is in the store, or on its way there. Not stored itself: False only on a record that a broker with `keep="may"`
            hands out although the store is full; whoever asks again has it simulated again.
    """

    key: str
    simulation: str
    version: str
    parameters: Mapping[str, Value]
    settings: Mapping[str, Value]
    fidelity: float
    seed: int
    outcome: Outcome
    outputs: Mapping[str, FloatArray] = field(default_factory=dict)
    standard_errors: Mapping[str, FloatArray] = field(default_factory=dict)
    checks: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    limit_s: float | None = None
    cost_s: float = 0.0
    system: str = ""
    kept: bool = True


def key_of(simulation: Simulation, x: Mapping[str, Value], *, settings: Mapping[str, Value], fidelity: float, seed: int) -> str:
    """Hex key of 64 digits; floats enter by their exact value, mappings by sorted name."""
    exact = [simulation.name, simulation.version, _exact(x), _exact(settings), float(fidelity).hex(), int(seed)]
    return hashlib.sha256(json.dumps(exact, separators=(",", ":")).encode()).hexdigest()


def _exact(point: Mapping[str, Value]) -> list[list[str | int]]:
    return [[name, float(v).hex() if isinstance(v, float) else v] for name, v in sorted(point.items())]
