"""The gate: when thresholds open and close, by hand."""

from __future__ import annotations

import msgspec
import pytest

from mlforhpc.scenarios.gate import FEWEST, GRID, EvidenceLaw, Law, ProximaLaw, Scored


def scored(rho: float, error: float = 0.1, *, answered: bool = False, weight: float = 1.0) -> Scored:
    """A prediction with an error in units of the tolerance."""
    return Scored(rho=rho, error=error, weight=weight, answered=answered)


def fed(*parts: tuple[int, Scored]) -> EvidenceLaw:
    """A law that has seen each prediction so many times."""
    law = EvidenceLaw(delta=0.1)
    for times, one in parts:
        for _ in range(times):
            law.learn(one)
    return law


def test_it_opens_at_the_thirty_ninth_success() -> None:
    """39 successes are the evidence that alpha = 0.05 asks for (see test_anytime)."""
    assert fed((38, scored(0.05))).limit == 0.0
    assert fed((39, scored(0.05))).limit == 1.0


def test_successes_at_a_large_rho_open_nothing_below_it_but_pass_it_over() -> None:
    """Below 0.45 nothing was scored, so those thresholds say nothing; those from 0.65 on have the evidence."""
    assert fed((41, scored(0.5))).limit == 1.0


def test_a_threshold_with_violations_holds_up_all_above_it() -> None:
    """Tested from the smallest up: the evidence at rho <= 0.1 is bad, so nothing opens, however good the rest is."""
    assert fed((FEWEST, scored(0.05, error=2.0)), (500, scored(0.9))).limit == 0.0


def test_violations_at_a_large_rho_leave_small_thresholds_open() -> None:
    """Half of the predictions between 0.8 and 1 are wrong: only thresholds below open."""
    law = EvidenceLaw(delta=0.1)
    for i in range(200):
        law.learn(scored(0.2))
        law.learn(scored(0.9, error=2.0 if i % 2 else 0.1))
    assert law.limit == 0.8


def test_three_broken_answers_in_a_row_close_and_discard() -> None:
    """Audits, not fallbacks, close; the evidence is gone; the next opening needs twice of it."""
    law = fed((60, scored(0.05)))
    assert [law.learn(scored(0.05, error=3.0))[0] for _ in range(3)] == [False, False, False]  # fallbacks
    law = fed((60, scored(0.05)))
    assert [law.learn(scored(0.05, error=3.0, answered=True))[0] for _ in range(3)] == [False, False, True]
    assert (law.limit, law.closings) == (0.0, 1)
    for _ in range(41):
        law.learn(scored(0.05))
    assert law.limit == 0.0
    for _ in range(10):
        law.learn(scored(0.05))
    assert law.limit == 1.0


def test_only_thresholds_that_hold_the_broken_answers_close() -> None:
    """Broken answers at rho 0.7 close 0.8 and 1; those below stay open."""
    law = EvidenceLaw(delta=0.1)
    for _ in range(60):
        law.learn(scored(0.05))
        law.learn(scored(0.7))
    assert law.limit == 1.0
    for _ in range(3):
        law.learn(scored(0.7, error=3.0, answered=True))
    assert law.limit == 0.65


def test_a_nan_error_is_a_violation() -> None:
    """What cannot be compared is not held to be right."""
    assert scored(0.1, error=float("nan")).violated


def test_an_audit_counts_fully_and_a_fallback_as_little_as_its_weight() -> None:
    """A fallback that stands for one request beside audits that stand for twenty moves the evidence a twentieth as far."""
    assert fed((41, scored(0.9, weight=0.05))).limit == 0.0


def test_proxima_follows_the_mean_error() -> None:
    """With errors twice the tolerance it falls to nothing; with errors of half the tolerance it rises without bound."""
    law = ProximaLaw()
    for _ in range(30):
        law.learn(scored(1.0, error=2.0))
    assert law.limit == 0.0
    for _ in range(100):
        law.learn(scored(1.0, error=0.5))
    assert law.limit > 1.0


@pytest.mark.parametrize("law", [fed((50, scored(0.3))), ProximaLaw(threshold=0.4, recent=[(0.1, 0.2)])])
def test_a_law_survives_being_saved(law: Law) -> None:
    """As JSON and back, it is the same law."""
    assert msgspec.json.decode(msgspec.json.encode(law), type=Law) == law


def test_the_grid_ends_at_one() -> None:
    """Where the interval is wider than the tolerance, nothing is answered."""
    assert GRID[-1] == 1.0
