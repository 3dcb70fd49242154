"""Cases worked by hand, for `verify`: a wrong formula in this folder shows as a number that differs.

Two systems of weight 1/4 and 3/4, one output of two bins with scale "mean", r1 = (1, 1), r2 = (1, 3) and (3, 1): scales 3/2 and 3/2.
    p = (2, 2):   (p - r1)(p - r2) = (1, -1) -> mean 0            e_1 = 0
    p = (4, 1):   (4 - 1)(4 - 3) = 3, (1 - 1)(1 - 1) = 0 -> 3/2   e_2 = (3/2) / (9/4) = 2/3
    q^2 = 1/4 * 0 + 3/4 * 2/3 = 1/2
The pair (1, 1), (1, 3) of which a method made (1, 1) and (2, 2), scale 3/2: against each other's run (0 + 4) / 2 and (1 + 1) / 2, the
pair's own difference (0 + 4) / 2:  (2 + 1 - 2) / 2 / (9/4) = 2/9
One rung of 100 steps, errors^2 1 and 1, cost 2 s; another of 400 steps, errors^2 1/4, cost 8 s: A = 100, a = 0, b = 1/50.
    q^2 = 1/2 takes 200 steps = 4 s;  fixed cost 300 s, lookup 1 s:  gain(100) = 400 / (300 + 100) = 1,  N* = 300 / (4 - 1) = 100
    T_seq = 8, N_train = 10, T_train = 4, T_learn = 1, T_lookup = 1/2:  S(90) = 8 * 100 / (45 + 50) = 160/19
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlforhpc.core.check import Check
from mlforhpc.core.simulation import Output
from mlforhpc.metrics.gain import LearnedCost, break_even, gain_at
from mlforhpc.metrics.ladder import Rung, build_ladder
from mlforhpc.metrics.quality import error_terms, pair_terms, replica_ratio
from mlforhpc.metrics.speedup import Speedup
from mlforhpc.metrics.strata import stratify


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A figure as computed, and as worked by hand; they agree to 1e-12 or the code is wrong."""

    name: str
    computed: float
    expected: float

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return abs(self.computed - self.expected) <= 1e-12 * max(1.0, abs(self.expected))


def checks() -> Iterator[Check]:
    """The cases as checks of a benchmark's `verify`."""
    for case in hand_cases():
        sentence = f"{case.name} is {case.computed:.12g}, by hand {case.expected:.12g}"
        yield Check(name=case.name, passed=case.holds, found=case.computed, limit=case.expected, sentence=sentence)


def hand_cases() -> list[Case]:
    """Every hand-computed case; takes milliseconds."""
    output = [Output(name="y", shape=(2,), scale="mean")]
    p, r1, r2 = np.array([[2.0, 2.0], [4.0, 1.0]]), np.array([[1.0, 1.0]] * 2), np.array([[1.0, 3.0], [3.0, 1.0]])
    one = {"y": np.ones((2, 2))}
    strata = stratify(["a", "b"], {"a": 1.0, "b": 3.0})
    terms = error_terms(output, {"y": p}, {"y": r1}, {"y": r2}).by_system
    q2 = float(strata.weights @ terms)
    pair = pair_terms(output, ({"y": r1[:1]}, {"y": r2[:1]}), ({"y": r1[:1]}, {"y": p[:1]})).by_system
    rungs = [
        Rung(name="100", steps=100.0, terms=np.ones(2), cost_s=np.full(2, 2.0)),
        Rung(name="400", steps=400.0, terms=np.full(2, 0.25), cost_s=np.full(2, 8.0)),
    ]
    conventional_s = build_ladder(rungs, strata).cost(q2).cost_s
    learned = LearnedCost(fixed_s={"training": 300.0}, lookup_s=1.0)
    speedup = Speedup(n_train=10, t_seq_s=8.0, t_train_s=4.0, t_learn_s=1.0, t_lookup_s=0.5)
    ratio = replica_ratio(output, {"y": r1}, {"y": r2}, one, one)
    return [
        Case(name="e_1", computed=float(terms[0]), expected=0.0),
        Case(name="e_2", computed=float(terms[1]), expected=2.0 / 3.0),
        Case(name="q^2", computed=q2, expected=0.5),
        Case(name="error^2 of a pair", computed=float(pair[0]), expected=2.0 / 9.0),
        Case(name="replica ratio", computed=-1.0 if ratio is None else ratio, expected=1.0),
        Case(name="C_conv", computed=conventional_s, expected=4.0),
        Case(name="gain(100)", computed=gain_at(100.0, conventional_s, learned), expected=1.0),
        Case(name="N*", computed=break_even(conventional_s, learned) or -1.0, expected=100.0),
        Case(name="S(90)", computed=speedup.at(90.0), expected=160.0 / 19.0),
    ]
