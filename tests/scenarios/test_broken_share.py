"""The limit of the broken share: what it counts, in which order, and what it does with answers that no audit could reach."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mlforhpc.metrics.anytime import most_broken
from mlforhpc.scenarios.broken_share import GROUPS, BrokenShare


def test_it_says_nothing_before_any_answer() -> None:
    """No answers, no share."""
    assert BrokenShare(audit=0.1).limit() is None


def test_it_is_about_the_answers_before_the_oldest_audit_under_way() -> None:
    """Ten answers, the fourth and the seventh audited: the limit covers three, then six, then all."""
    share = BrokenShare(audit=0.5)
    for i in range(1, 11):
        share.serve(0, audited=(i, 0.5) if i in (4, 7) else None)
    assert sum(share.settled) == 3
    share.scored(7, broken=False, corrected=False)
    assert sum(share.settled) == 3
    share.scored(4, broken=True, corrected=False)
    assert sum(share.settled) == 10
    assert share.audits == (2, 1, 0)


def test_the_noise_corrected_limit_is_a_second_one() -> None:
    """A violation that was the run's noise is in the one and not in the other."""
    share = BrokenShare(audit=0.5)
    for i in range(400):
        share.serve(0, audited=(i, 0.5) if i % 2 else None)
        if i % 2:
            share.scored(i, broken=i < 40, corrected=False)
    observed, corrected = share.limit(), share.limit(corrected=True)
    assert observed is not None and corrected is not None and corrected < observed


def test_audits_get_rarer_as_their_queue_fills_and_end_when_it_is_full() -> None:
    """From half full on by factors of four; then none, and such answers count as broken."""
    share = BrokenShare(audit=0.2)
    assert share.probability(fill=0.4) == (0, 0.2)
    assert share.probability(fill=0.5) == (0, 0.2)
    assert share.probability(fill=0.6) == (1, 0.05)
    assert share.probability(fill=1.0) == (GROUPS, 0.0)
    share.serve(GROUPS, 10)
    assert share.limit() == 1.0


def test_the_sum_over_groups_is_the_limit() -> None:
    """Two groups without violations: each has its own probability and its own part of alpha."""
    share = BrokenShare(audit=0.4)
    share.serve(0, 5000)
    share.serve(1, 3000)
    by_hand = most_broken({}, answers=5000, lowest=0.4, alpha=0.045) + most_broken({}, answers=3000, lowest=0.1, alpha=0.0025)
    assert share.limit() == pytest.approx(by_hand / 8000)


def test_it_survives_being_saved() -> None:
    """As JSON and back, the same."""
    share = BrokenShare(audit=0.3)
    for i in range(50):
        share.serve(0, audited=(i, 0.3) if i % 3 == 0 else None)
        if i % 6 == 0:
            share.scored(i, broken=i == 12, corrected=False)
    assert msgspec.json.decode(msgspec.json.encode(share), type=BrokenShare) == share


def test_the_limit_holds_when_audits_come_back_out_of_order() -> None:
    """100 seeded streams of 1,500 answers, a fifth of them broken in bursts, audits scored up to 60 answers later."""
    failed = 0
    for seed in range(100):
        rng, share = np.random.default_rng(seed), BrokenShare(audit=0.1)
        truth, late, ever = [], [], False
        for i in range(1500):
            bad = bool(rng.random() < (0.4 if i % 300 < 100 else 0.05))
            truth.append(bad)
            drawn = bool(rng.random() < 0.1)
            share.serve(0, audited=(i, 0.1) if drawn else None)
            if drawn:
                late.append((i + int(rng.integers(60)), i, bad))
            for due, id, broken in [one for one in late if one[0] <= i]:
                share.scored(id, broken=broken, corrected=broken)
                late.remove((due, id, broken))
            if i % 50 == 0 and (limit := share.limit()) is not None:
                ever = ever or limit < np.mean(truth[: sum(share.settled)])
        failed += ever
    assert failed <= 5
