"""Evidence about a share that may be looked at after every observation: bets, and a limit that holds at all times.

Below delta (opening):   E <- E (1 + b w (delta - v)),                E >= 1/alpha with probability at most alpha if the share is >= delta
Above delta (closing):   M <- max(1, M) (1 + b (v - delta)),          an e-detector: on average 1/alpha observations up to a false alarm
Broken share of n answers, each audited with a probability p that was fixed before:
    exp(-sum_audited v log(1/(1 - theta/p)) + theta B) is a supermartingale for every theta < p,   B = number broken of the n
so the B at which a fixed mixture over theta reaches 1/alpha is an upper limit, whatever the answers are like and in any order.

Ville, Etude critique de la notion de collectif, 1939. Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting,
J. R. Stat. Soc. B 86(1), 2024, doi 10.1093/jrsssb/qkad009. Shin, Ramdas & Rinaldo, E-detectors: a nonparametric framework for sequential
change detection, New England J. Stat. Data Sci. 2(2), 2024, doi 10.51387/23-NEJSDS51.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, log, log1p

OPENING_BETS = (0.25, 0.5, 0.95)
"""Shares of the largest bet, which one violation would ruin."""
CLOSING_BETS = (0.1, 0.2, 0.4)
"""Likewise, of the largest bet that one success would ruin."""
_THETAS = ((0.99, 0.4), *((share, 0.6 / 6) for share in (0.05, 0.15, 0.3, 0.5, 0.7, 0.9)))
"""Of p, and the weight of each in the mixture."""


def opened(logs: Sequence[float], *, delta: float, violated: bool, weight: float = 1.0) -> list[float]:
    """Log capital of each opening bet after one more observation.

    Args:
        logs: before it, one a bet; zeros at the start.
        delta: the share against which is bet, in (0, 1).
        violated: what was seen.
        weight: of the observation over the largest that any may have, in (0, 1]; known before it.
    """
    gain = (delta - violated) / (1.0 - delta)  # in [-1, delta / (1 - delta)]
    return [a + log1p(bet * weight * gain) for a, bet in zip(logs, OPENING_BETS, strict=True)]


def detected(logs: Sequence[float], *, delta: float, violated: bool) -> list[float]:
    """Log of each closing bet's detector after one more observation; zeros at the start."""
    gain = (violated - delta) / delta  # in [-1, (1 - delta) / delta]
    return [max(0.0, a) + log1p(bet * gain) for a, bet in zip(logs, CLOSING_BETS, strict=True)]


def e_value(logs: Sequence[float]) -> float:
    """Mean of the bets' capitals, in (0, inf)."""
    return sum(exp(min(a, 700.0)) for a in logs) / len(logs)


def most_broken(violations: Mapping[float, int], *, answers: int, lowest: float, alpha: float) -> float:
    """Upper limit, at all times at once, of the number of broken answers.

    Args:
        violations: audit probability -> violations that such audits found.
        answers: how many there were, audited or not.
        lowest: the smallest probability with which any of them was audited, in (0, 1].
        alpha: the limit fails with at most this probability, in (0, 1).

    Returns:
        In [violations, answers].
    """
    terms = []
    for share, weight in _THETAS:
        theta = share * lowest
        spent = sum(v * -log1p(-theta / p) for p, v in violations.items())
        terms.append((theta, log(weight) - spent))
    low, high = float(sum(violations.values())), float(answers)
    if low >= high or _log_mixture(terms, high) < -log(alpha):
        return high
    while high - low > 1e-3 * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if _log_mixture(terms, middle) < -log(alpha) else (low, middle)
    return high


def _log_mixture(terms: Sequence[tuple[float, float]], broken: float) -> float:
    exponents = [a + theta * broken for theta, a in terms]
    top = max(exponents)
    return top + log(sum(exp(e - top) for e in exponents)) if top > -inf else -inf
