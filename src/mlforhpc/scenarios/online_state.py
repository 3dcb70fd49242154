"""What an online scenario must not forget, in one file that is replaced as a whole: gates, audits, counts, what it has cost."""

from __future__ import annotations

from pathlib import Path

import msgspec

from mlforhpc.core.errors import StoreDamaged
from mlforhpc.metrics.speedup import Speedup
from mlforhpc.scenarios.broken_share import BrokenShare
from mlforhpc.scenarios.gate import Law

SCHEMA_VERSION = 1
KEPT = 50
"""Recent audits and events."""
SCORED = 300
"""Recent scores."""
NOISE_RUNS = 64
"""Runs that the noise is taken from: settled then, so that a tolerance that was granted stays granted."""


class Pending(msgspec.Struct):
    """A prediction whose runs are under way: a fallback's, or that of an answer which is being audited.

    Attributes:
        id: among all of them.
        x: the point, in physical units (d,).
        half: half-width of the interval.
        tolerance: of the request.
        version: of the surrogate.
        probability: that it is scored.
        weight: see `gate.Scored`.
        replicas: numbers of the runs it is compared with.
        answered: the surrogate's answer went out.
    """

    id: int
    x: list[float]
    half: float
    tolerance: float
    version: str
    probability: float
    weight: float
    replicas: list[int]
    answered: bool


class Ledger(msgspec.Struct):
    """What it has cost and what it gave, in slot-seconds and numbers.

    Attributes:
        runs, run_s: simulations paid for, and their slot time.
        busy_s: time in which any of them ran.
        audit_runs, audit_s: those of them that audited answers.
        fit_s: slot time of fits.
        lookups, lookup_s: timed lookups, and their time.
        noise, noise_runs, noise_squares: sums over the first runs of relative variance, and of its square.
        error, error_weight: squared error of the surrogate's answers, the runs' noise taken out; weighted sum and sum of weights.
    """

    runs: int = 0
    run_s: float = 0.0
    busy_s: float = 0.0
    audit_runs: int = 0
    audit_s: float = 0.0
    fit_s: float = 0.0
    lookups: int = 0
    lookup_s: float = 0.0
    noise: float = 0.0
    noise_runs: int = 0
    noise_squares: float = 0.0
    error: float = 0.0
    error_weight: float = 0.0

    @property
    def one_lookup_s(self) -> float:
        """Mean time of a lookup."""
        return self.lookup_s / self.lookups if self.lookups else 0.0

    def speedup(self, lookups: int) -> float | None:
        """Effective speedup so far (Fox & Jha 2019) for answers that the surrogate gave; every run, audits included, is a training run."""
        if not (self.runs and self.busy_s > 0 and self.run_s > 0):
            return None
        t_train_s, t_learn_s = self.busy_s / self.runs, self.fit_s / self.runs
        found = Speedup(
            n_train=self.runs, t_seq_s=self.run_s / self.runs, t_train_s=t_train_s, t_learn_s=t_learn_s, t_lookup_s=self.one_lookup_s
        )  # fmt: skip
        return found.at(lookups)

    def gain(self, answers: int, surrogate: int) -> float | None:
        """Conventional cost of as many answers that are as accurate, over what was spent: runs, fits, audits, lookups.

        A run's squared error is its noise, and falls as 1 / cost; never reckoned beyond a run of twice the length.
        """
        if not (self.runs and self.run_s > 0 and answers):
            return None
        one, ratio = self.run_s / self.runs, 1.0
        if self.noise_runs and self.noise > 0:
            noise = self.noise / self.noise_runs
            learned = self.error / self.error_weight if self.error_weight else noise
            mean = (surrogate * max(learned, 0.0) + (answers - surrogate) * noise) / answers
            ratio = min(2.0, noise / mean) if mean > 0 else 2.0
        return answers * one * ratio / (self.run_s + self.fit_s + self.one_lookup_s * answers)


class State(msgspec.Struct):
    """See the file's docstring.

    Attributes:
        simulation_version, fidelity: what the rest is about; another version or fidelity begins anew.
        version: of the surrogate that answers, or the empty string.
        typical: mean rho of the surrogate's recent answers, at the default tolerance.
        gates: (tolerance, law) of each tolerance that was asked for.
        scored: (half-width, error, weight) of what was scored last: what a new tolerance begins with.
    """

    simulation_version: str
    fidelity: float
    share: BrokenShare
    version: str = ""
    rows: int = 0
    gates: list[tuple[float, Law]] = msgspec.field(default_factory=list)
    scored: list[tuple[float, float, float]] = msgspec.field(default_factory=list)
    pending: list[Pending] = msgspec.field(default_factory=list)
    next_id: int = 1
    sessions: int = 0
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    answers: dict[str, int] = msgspec.field(default_factory=lambda: {"surrogate": 0, "simulation": 0, "store": 0})
    unkept: int = 0
    typical: float = 0.0
    fits: int = 0
    accepted: int = 0
    refused: int = 0
    fitted_at: int = 0
    last_learned: str = "nothing yet"
    audits: list[tuple[float, dict[str, float | int | str], float, float, bool, str]] = msgspec.field(default_factory=list)
    events: list[tuple[float, str]] = msgspec.field(default_factory=list)
    growth: list[tuple[int, float | None, float | None]] = msgspec.field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    def save(self, file: Path) -> None:
        """Replace the file; a reader finds the old one or the new one."""
        part = file.with_name(f".{file.name}.part")
        with part.open("wb") as opened:
            opened.write(msgspec.json.encode(self))
        part.replace(file)

    @classmethod
    def load(cls, file: Path) -> State | None:
        """What was kept; None if nothing was.

        Raises:
            StoreDamaged: it cannot be read.
        """
        if not file.is_file():
            return None
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except (msgspec.MsgspecError, OSError) as error:
            raise StoreDamaged(
                f"'{file}' should hold the state of an online service, but cannot be read ({error}). "
                "Remove it to begin the gate's evidence anew; runs and surrogates are kept elsewhere."
            ) from None
