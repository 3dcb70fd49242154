"""What an online scenario is told and what it tells: terms, answers, and a snapshot of how it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from mlforhpc.core.errors import MLforHPCError, UsageError
from mlforhpc.core.learner import Learner, Prediction
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.scenarios.gate import LAWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is promised, and what may be spent on it.

    Attributes:
        tolerance: relative RMS error of an answer, as in q.
        delta: at most this share of the surrogate's answers is off by more, in (0, 1).
        fidelity: of the simulation's runs, in (0, 1].
        settings: of the simulation; what is left out takes its default.
        limit_s: time limit of one run.
        audit: probability that an answer is checked by a run of the simulation, in (0, 1]. It caps the gain near 1 / audit.
        queue: runs that may wait or be under way for answers, and as many for audits.
        learner: a name, or a Learner.
        law: of the gate: "evidence" or "proxima".
        seed: of runs, fits and coins.
    """

    tolerance: float = 0.1
    delta: float = 0.1
    fidelity: float = 1.0
    settings: Mapping[str, Value] | None = None
    limit_s: float | None = None
    audit: float = 0.05
    queue: int = 64
    learner: str | Learner = "gaussian_process"
    law: str = "evidence"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.tolerance) and self.tolerance > 0):
            raise UsageError(f"tolerance must be a relative error above 0, found {self.tolerance!r}.")
        for name in ("delta", "audit", "fidelity"):
            value = getattr(self, name)
            if not (0 < value <= 1) or (name == "delta" and value == 1):
                raise UsageError(f"{name} must lie between 0 and 1, found {value!r}.")
        if self.queue < 1:
            raise UsageError(f"queue must be at least 1, found {self.queue}.")
        if self.law not in LAWS:
            raise UsageError(f"law must be one of {', '.join(LAWS)}, found '{self.law}'.")


class Busy(MLforHPCError):
    """The queue of simulations is full; nothing was changed.

    Attributes:
        retry_after_s: when there may be room, at least 1.
    """

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        super().__init__(f"{waiting} simulations are waiting or under way, as many as may be; try again in {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


class Look(NamedTuple):
    """What the surrogate says, before anything is served.

    Attributes:
        x: in physical units (n, d).
        tolerance: relative RMS error.
        prediction: None where there is no surrogate yet.
        rho: half-width of the interval / tolerance (n,); inf without a surrogate.
        sure: whether the surrogate would answer (n,).
        version: of the surrogate, or the empty string.
    """

    x: FloatArray
    tolerance: float
    prediction: Prediction | None
    rho: Sequence[float]
    sure: Sequence[bool]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a simulation's service does; plain numbers and text.

    Attributes:
        simulation, simulation_version, tolerance, delta: what is promised.
        surrogate_version, runs: what answers ("" = nothing yet), and how many runs it learned from.
        answers: by source: "surrogate", "simulation", "store".
        broken_limit, broken_limit_corrected: anytime-valid 95 % upper limits of the broken share, as observed, and with the runs' noise
            taken out; None before any answer.
        audits, broken: audits scored, and answers that they found broken.
        open_threshold: rho up to which the surrogate answers; 0 = not at all.
        thresholds: (rho, scored, violations, e-value, open) of each.
        learning: "idle" or "fitting".
        fits, accepted, refused: surrogates fitted; that replaced the one before; that were no better than it.
        last_learned: a sentence.
        waiting_answers, waiting_audits, queue: simulations under way, and how many may be.
        recent_audits: (unix_s, x, rho, error / tolerance, broken, version), newest last.
        events: (unix_s, sentence), newest last.
        effective_speedup, gain: so far; None while not known.
        growth: (answers, effective speedup, gain) as they grew.
        noise: relative standard error of a run; None while not known.
        simulation_cost_s, lookup_s: mean slot time of a run, mean time of a lookup; None while not known.
        unkept: answers that the store did not keep.
        simulations: runs paid for, audits among them.
        audit_runs, audit_s, fit_s: runs of audits, their slot time, and that of fits.
    """

    simulation: str
    simulation_version: str
    tolerance: float
    delta: float
    surrogate_version: str
    runs: int
    answers: Mapping[str, int]
    broken_limit: float | None
    broken_limit_corrected: float | None
    audits: int
    broken: int
    open_threshold: float
    thresholds: tuple[tuple[float, int, int, float, bool], ...]
    learning: str
    fits: int
    accepted: int
    refused: int
    last_learned: str
    waiting_answers: int
    waiting_audits: int
    queue: int
    recent_audits: tuple[tuple[float, Mapping[str, Any], float, float, bool, str], ...]
    events: tuple[tuple[float, str], ...]
    effective_speedup: float | None
    gain: float | None
    growth: tuple[tuple[int, float | None, float | None], ...]
    noise: float | None
    simulation_cost_s: float | None
    lookup_s: float | None
    unkept: int
    simulations: int
    audit_runs: int
    audit_s: float
    fit_s: float
