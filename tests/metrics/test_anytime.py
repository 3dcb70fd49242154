"""Bets and limits that may be looked at at any time: exact cases by hand, and how often they fail on seeded sequences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlforhpc.metrics.anytime import CLOSING_BETS, OPENING_BETS, detected, e_value, most_broken, opened


@pytest.mark.parametrize("weight", [1.0, 0.05])
@pytest.mark.parametrize("delta", [0.1, 0.3])
def test_an_opening_bet_is_fair_at_the_share_it_bets_against(delta: float, weight: float) -> None:
    """The mean capital after one observation is 1 if violations have exactly the share delta."""
    after = [opened([0.0] * 3, delta=delta, violated=v, weight=weight) for v in (True, False)]
    for bad, good in zip(*after, strict=True):
        assert delta * math.exp(bad) + (1 - delta) * math.exp(good) == pytest.approx(1.0)


def test_a_closing_bet_is_fair_at_the_share_it_bets_against() -> None:
    """The same of the detector, before it is held up at 1."""
    after = [detected([0.0] * 3, delta=0.1, violated=v) for v in (True, False)]
    for bad, good in zip(*after, strict=True):
        assert 0.1 * math.exp(bad) + 0.9 * math.exp(good) == pytest.approx(1.0)


def test_successes_alone_open_after_a_number_that_can_be_computed_by_hand() -> None:
    """With delta 0.1 the capitals are (1 + b / 9)^n: their mean passes 20 at the 39th success."""
    logs, n = [0.0] * len(OPENING_BETS), 0
    while e_value(logs) < 20.0:
        logs, n = opened(logs, delta=0.1, violated=False), n + 1
    assert sum((1 + b / 9) ** 39 for b in OPENING_BETS) / 3 >= 20.0 > sum((1 + b / 9) ** 38 for b in OPENING_BETS) / 3
    assert n == 39


def test_three_violations_in_a_row_are_detected_and_two_are_not() -> None:
    """The detectors stand at (1 + 9 b)^n after n violations."""
    logs = [0.0] * len(CLOSING_BETS)
    for expected in (False, False, True):
        logs = detected(logs, delta=0.1, violated=True)
        assert (e_value(logs) >= 20.0) is expected


def test_no_violation_leaves_as_many_broken_answers_as_audits_may_have_missed() -> None:
    """Without violations the limit solves sum_k w_k exp(theta_k B) = 20, so it lies between log(20) / p and that with the first weight."""
    found = most_broken({}, answers=10_000, lowest=0.05, alpha=0.05)
    assert math.log(20) / 0.05 < found < math.log(20 / 0.4) / (0.99 * 0.05)


def test_the_limit_is_never_above_the_answers_nor_below_the_violations() -> None:
    """Few answers can be broken at most all; violations that were seen are broken."""
    assert most_broken({}, answers=7, lowest=0.05, alpha=0.05) == 7
    assert most_broken({1.0: 40}, answers=1000, lowest=1.0, alpha=0.05) >= 40


@pytest.mark.system
@pytest.mark.parametrize("audits", [(0.1,), (0.05, 0.2)])
def test_the_limit_holds_at_all_times_in_at_least_95_of_100_sequences_of_any_kind(audits: tuple[float, ...]) -> None:
    """Broken answers come in clusters and react to what was found; 200 seeded sequences of 2,000 answers."""
    failed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        broken, found, ever = 0, dict.fromkeys(audits, 0), False
        for i in range(1, 2001):
            p = audits[int(sum(found.values()) > 2) % len(audits)]
            bad = rng.random() < (0.3 if (i // 200) % 3 == seed % 3 else 0.02 + 0.1 * (sum(found.values()) == 0))
            broken += bad
            found[p] += bool(bad and rng.random() < p)
            if i % 40 == 0:
                ever = ever or most_broken(found, answers=i, lowest=min(audits), alpha=0.05) < broken
        failed += ever
    assert failed <= 10


def test_opening_against_a_share_at_the_promise_fails_in_at_most_5_of_100_sequences() -> None:
    """400 seeded sequences of 500 observations with exactly delta violations."""
    failed = 0
    for seed in range(400):
        rng, logs = np.random.default_rng(seed), [0.0] * len(OPENING_BETS)
        for _ in range(500):
            logs = opened(logs, delta=0.1, violated=bool(rng.random() < 0.1))
            if e_value(logs) >= 20.0:
                failed += 1
                break
    assert failed <= 20
