"""Effective speedup by hand."""

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.metrics.speedup import Speedup

TWO_SLOTS = Speedup(n_train=10, t_seq_s=8.0, t_train_s=4.0, t_learn_s=1.0, t_lookup_s=0.5)


def test_speedup_and_its_limits() -> None:
    """S(90) = 8 * 100 / (45 + 50); S(0) = 8 / 5; S(infinity) = 16."""
    assert TWO_SLOTS.at(90) == pytest.approx(160.0 / 19.0)
    assert TWO_SLOTS.at_zero == pytest.approx(1.6)
    assert TWO_SLOTS.at_infinity == pytest.approx(16.0)
    assert TWO_SLOTS.at(1e12) == pytest.approx(16.0)
    assert TWO_SLOTS.curve([0, 90]).y == [pytest.approx(1.6), pytest.approx(160.0 / 19.0)]


def test_immeasurable_lookups_have_no_limit() -> None:
    """None, not a division by zero."""
    assert Speedup(n_train=1, t_seq_s=1.0, t_train_s=1.0, t_learn_s=0.0, t_lookup_s=0.0).at_infinity is None


def test_times_must_be_positive() -> None:
    """An estimate of zero is no measurement."""
    with pytest.raises(UsageError):
        Speedup(n_train=0, t_seq_s=1.0, t_train_s=1.0, t_learn_s=0.0, t_lookup_s=0.0)
