"""Headline figures as cards: what they are judged against, and where they stand on their line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlforhpc.core.result import Interval
from mlforhpc.report import cards


@pytest.mark.parametrize(
    ("name", "reference", "better", "words"),
    [
        ("q", "target 0.05", "lower", "Error"),
        ("gain at N=1,000", "against 1", "higher", "cheaper"),
        ("gain at N=infinity", "against 1", "higher", "limit of many"),
        ("break-even N*", "", "lower", "From this many"),
        ("S(infinity)", "", "higher", "many lookups"),
        ("something else", "", "", ""),
        ("quiet_s", "", "", ""),
    ],
)
def test_known_figures_bring_their_words(parts: dict[str, Callable[..., Any]], name: str, reference: str, better: str, words: str) -> None:
    """The figures of the house are explained whatever their exact name; others stand for themselves."""
    one = cards.card(name, Interval(value=2.0, lower=1.0, upper=3.0), parts["result"]())
    assert one.reference == reference and words in one.meaning and bool(one.meaning) == bool(words)
    assert cards.better(name, Interval(value=1.0)) == better


def test_a_figure_s_own_words_come_first(parts: dict[str, Callable[..., Any]]) -> None:
    """Meaning, reference and direction of the interval win over what this package knows."""
    own = Interval(value=2.0, meaning="mine", reference=7.0, better="higher")
    one = cards.card("q", own, parts["result"]())
    assert one.meaning == "mine" and one.reference == "target 7" and cards.better("q", own) == "higher"


def test_a_strip_keeps_the_order_of_its_numbers() -> None:
    """Lower, value, upper and reference stand in their order within 0 to 100, on linear and on logarithmic lines."""
    for interval, reference in ((Interval(value=2.0, lower=1.0, upper=3.0), 4.0), (Interval(value=20.0, lower=10.0, upper=90.0), 1.0)):
        s = cards.strip(interval, reference)
        assert s is not None and s.value is not None and s.reference is not None
        assert 0 < s.lower < s.value < s.upper < 100
        assert (s.reference < s.lower) == (reference == 1.0)


def test_an_open_end_reaches_the_end_of_the_line() -> None:
    """A lower bound has no right end; a figure without interval has no line."""
    s = cards.strip(Interval(value=5.0, lower=3.0), 1.0)
    assert s is not None and s.upper == 100.0
    assert cards.strip(Interval(value=5.0), 1.0) is None


def test_an_overview_puts_runs_on_one_scale(parts: dict[str, Callable[..., Any]]) -> None:
    """The same target stands at the same place in every row."""
    rows = cards.overview([parts["result"](), parts["result"](valid=False)])
    places = {row[0].strip.reference for row in rows if row[0] and row[0].strip}
    assert len(rows) == 2 and len(places) == 1
