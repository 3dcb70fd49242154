"""Systems are weighted back to the space."""

import numpy as np
import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.metrics.strata import one_stratum, stratify


def test_an_oversampled_corner_is_weighted_back() -> None:
    """Two systems of a corner that is a tenth of the space weigh 0.05 each, whatever else was drawn."""
    strata = stratify(["bulk", "corner", "corner", "bulk", "bulk"], {"bulk": 9.0, "corner": 1.0})
    np.testing.assert_allclose(strata.weights, [0.3, 0.05, 0.05, 0.3, 0.3], rtol=1e-15)


def test_without_shares_each_system_counts_the_same() -> None:
    """Shares proportional to the counts."""
    np.testing.assert_allclose(stratify(["a", "b", "b", "b"]).weights, 0.25)
    np.testing.assert_allclose(one_stratum(5).weights, 0.2)


def test_single_systems_are_collapsed_for_resampling() -> None:
    """A stratum of one has no variance of its own: it joins the smallest other group."""
    groups = stratify(["a", "b", "c", "c", "c", "d", "d", "d", "d"]).groups
    assert [g.tolist() for g in groups] == [[0, 1], [2, 3, 4], [5, 6, 7, 8]]
    assert [g.tolist() for g in stratify(["a", "b", "b", "c", "c", "c"]).groups] == [[0, 1, 2], [3, 4, 5]]
    assert [g.tolist() for g in one_stratum(1).groups] == [[0]]


@pytest.mark.parametrize("labels, shares", [(["a"], {"a": 1.0, "b": 1.0}), (["a", "b"], {"a": 1.0}), (["a"], {"a": 0.0}), ([], None)])
def test_a_share_without_systems_is_refused(labels: list[str], shares: dict[str, float] | None) -> None:
    """Nothing can be said about a part of the space in which nothing was held out."""
    with pytest.raises(UsageError):
        stratify(labels, shares)
