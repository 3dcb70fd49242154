"""What `verify` calls."""

from mlforhpc.metrics.handcase import Case, hand_cases


def test_every_hand_computed_case_holds() -> None:
    """To 1e-12."""
    cases = hand_cases()
    assert len(cases) >= 8
    assert [case.name for case in cases if not case.holds] == []


def test_a_wrong_figure_is_seen() -> None:
    """The check can fail."""
    assert not Case(name="x", computed=1.0, expected=1.0 + 1e-9).holds
