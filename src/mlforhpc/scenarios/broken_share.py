"""How many of the surrogate's answers are off by more than they may be: counted by audits, as a limit that holds at all times.

An answer is audited with a probability that was fixed before. Where simulations cannot keep up, the probability falls by factors of 4,
each a group with a limit of its own, since a limit is only as good as its rarest audit; answers that could not be audited at all are
taken for broken. The limit is that of the answers before the oldest audit whose simulation is still under way.
"""

from __future__ import annotations

import msgspec

from mlforhpc.metrics.anytime import most_broken

ALPHA = 0.05
GROUPS = 8
STEP = 4.0
"""Factor from one group's audit probability to the next."""
_FIRST = 0.9
"""Share of alpha that goes to the first group; the others halve what is left."""


class Audit(msgspec.Struct):
    """One that was drawn: where it stands among the answers, and what it found; observed and noise-corrected."""

    id: int
    group: int
    probability: float
    answers: list[int]
    broken: tuple[bool, bool] | None = None


class BrokenShare(msgspec.Struct):
    """See the file's docstring.

    Attributes:
        audit: probability in the first group.
        answers: by group; the last number is that of answers without audit.
        drawn: audits not yet settled, oldest first.
        settled: the same as `answers`, of those that the limit is about.
        found: (group, probability, audits, broken, broken when the run's noise is taken out).
    """

    audit: float
    answers: list[int] = msgspec.field(default_factory=lambda: [0] * (GROUPS + 1))
    drawn: list[Audit] = msgspec.field(default_factory=list)
    settled: list[int] = msgspec.field(default_factory=lambda: [0] * (GROUPS + 1))
    found: list[tuple[int, float, int, int, int]] = msgspec.field(default_factory=list)

    def probability(self, *, fill: float) -> tuple[int, float]:
        """Group and least probability of the next answer's audit; a caller may take more in the first group.

        Args:
            fill: of the queue of audits, in [0, 1]; from a half on they get rarer, at 1 there are none.
        """
        return (0, self.audit) if fill < 0.5 else self.rarer(max(-1, int(2 * GROUPS * (fill - 0.5)) - 1))

    def rarer(self, group: int) -> tuple[int, float]:
        """The group after this one, and its probability."""
        group = min(group + 1, GROUPS)
        return group, self.audit / STEP**group if group < GROUPS else 0.0

    def serve(self, group: int, answers: int = 1, *, audited: tuple[int, float] | None = None) -> None:
        """Count answers, or one answer that is audited: (id, probability)."""
        self.answers[group] += answers
        if audited:
            self.drawn.append(Audit(id=audited[0], group=group, probability=audited[1], answers=list(self.answers)))
        elif not self.drawn:
            self.settled[group] += answers

    def scored(self, id: int, *, broken: bool, corrected: bool) -> None:
        """What an audit found."""
        for audit in self.drawn:
            if audit.id == id:
                audit.broken = broken, corrected
        while self.drawn and self.drawn[0].broken is not None:
            audit = self.drawn.pop(0)
            assert audit.broken is not None
            self._count(audit.group, audit.probability, *audit.broken)
        self.settled = list(self.drawn[0].answers if self.drawn else self.answers)
        if self.drawn:
            self.settled[self.drawn[0].group] -= 1  # itself

    def limit(self, *, corrected: bool = False) -> float | None:
        """Anytime-valid 95 % upper limit of the broken share; None before any answer."""
        total = sum(self.settled)
        if not total:
            return None
        broken, level = float(self.settled[GROUPS]), ALPHA * _FIRST
        for group, answers in enumerate(self.settled[:GROUPS]):
            if answers:
                found = {p: (c if corrected else b) for g, p, _, b, c in self.found if g == group}
                broken += most_broken(found, answers=answers, lowest=self.audit / STEP**group, alpha=level)
            level = (ALPHA - ALPHA * _FIRST) / 2 if not group else level / 2
        return min(1.0, broken / total)

    @property
    def audits(self) -> tuple[int, int, int]:
        """Scored; of them broken; of them broken when the run's noise is taken out."""
        return sum(f[2] for f in self.found), sum(f[3] for f in self.found), sum(f[4] for f in self.found)

    def _count(self, group: int, probability: float, broken: bool, corrected: bool) -> None:
        for i, (g, p, n, b, c) in enumerate(self.found):
            if (g, p) == (group, probability):
                self.found[i] = (g, p, n + 1, b + broken, c + corrected)
                return
        self.found.append((group, probability, 1, int(broken), int(corrected)))
