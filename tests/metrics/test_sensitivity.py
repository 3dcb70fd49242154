"""Sobol indices against functions whose shares are known, and against SciPy's digits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import sobol_indices, uniform

from mlforhpc.core.errors import UsageError
from mlforhpc.core.seeds import derive
from mlforhpc.core.space import Choice, Integer, Real, Space
from mlforhpc.metrics.sensitivity import Sensitivity, sensitivities, sensitivity

UNIT = Space(a=Real(0, 1), b=Real(0, 1), c=Real(0, 1))
ISHIGAMI = Space({f"x{i}": Real(-np.pi, np.pi) for i in range(3)})


def ishigami(x):
    """sin x1 + 7 sin^2 x2 + 0.1 x3^4 sin x1."""
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_shares():
    """S and T from its partial variances V1, V2, V13."""
    v1, v2, v13 = 0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2, 49 / 8, 8 * 0.01 * np.pi**8 / 225
    return np.array([v1, v2, 0.0]) / (v1 + v2 + v13), np.array([v1 + v13, v2, v13]) / (v1 + v2 + v13)


def holds(s: Sensitivity, first, total):
    """Which indices lie in their intervals (2, d)."""
    return np.array([(s.first_lower <= first) & (first <= s.first_upper), (s.total_lower <= total) & (total <= s.total_upper)])


def test_ishigami():
    """x3 does nothing alone and a quarter in interactions; intervals of 100 samples hold the truth as often as they say."""
    first, total = ishigami_shares()
    s = sensitivity(ishigami, ISHIGAMI, n=4096, seed=0)
    assert s.names == ("x0", "x1", "x2") and s.label == "sampling only" and not s.note
    assert s.first == pytest.approx(first, abs=0.01) and s.total == pytest.approx(total, abs=0.01)
    found = np.array([holds(sensitivity(ishigami, ISHIGAMI, seed=seed), first, total) for seed in range(100)])
    assert found.mean() >= 0.93 and (found.mean(axis=0) > 0.88).all()
    assert (s.total_upper - s.total_lower).max() < 0.15


def test_the_digits_are_scipys():
    """Same rows: the same numbers as scipy.stats.sobol_indices."""
    s = sensitivity(ishigami, ISHIGAMI, n=256, seed=3)
    rng = np.random.default_rng(derive(3, "rows"))
    theirs = sobol_indices(func=lambda u: ishigami(ISHIGAMI.decode(u.T)), n=256, dists=[uniform()] * 3, rng=rng)
    np.testing.assert_allclose(s.first, theirs.first_order, atol=1e-12)
    np.testing.assert_allclose(s.total, theirs.total_order, atol=1e-12)


def test_an_additive_function_has_the_same_first_order_and_total():
    """4 a + 2 b: 0.8, 0.2 and nothing for c."""
    s = sensitivity(lambda x: 4 * x[:, 0] + 2 * x[:, 1], UNIT, seed=0)
    for found in (s.first, s.total):
        assert found == pytest.approx([0.8, 0.2, 0.0], abs=0.003)
    assert holds(s, *2 * [np.array([0.8, 0.2, 0.0])]).all()


def test_a_product_has_interactions():
    """(1 + r (a - 1/2)) (1 + r (b - 1/2)) with r = sqrt 12: V = 3, of which one each alone and one together."""
    r = np.sqrt(12.0)
    s = sensitivity(lambda x: (1 + r * (x[:, 0] - 0.5)) * (1 + r * (x[:, 1] - 0.5)), UNIT, n=4096, seed=1)
    assert s.first == pytest.approx([1 / 3, 1 / 3, 0.0], abs=0.01) and s.total == pytest.approx([2 / 3, 2 / 3, 0.0], abs=0.01)


def test_choices_and_integers_count_each_level_the_same():
    """Options worth 0, 1 and 5 (variance 14/3) plus an integer of 0 to 4 (variance 2)."""
    space = Space(solver=Choice(("a", "b", "c")), k=Integer(0, 4))
    s = sensitivity(lambda x: np.array([0.0, 1.0, 5.0])[x[:, 0].astype(int)] + x[:, 1], space, n=4096, seed=0)
    assert s.first == pytest.approx([0.7, 0.3], abs=0.01) and s.total == pytest.approx([0.7, 0.3], abs=0.01)


def test_logarithmic_parameters_are_uniform_in_the_logarithm():
    """log10 of 1 to 100 has four times the variance of a uniform 0 to 1."""
    s = sensitivity(lambda x: np.log10(x[:, 0]) + x[:, 1], Space(p=Real(1, 100, log=True), q=Real(0, 1)), seed=0)
    assert s.first == pytest.approx([0.8, 0.2], abs=0.003)


def test_an_array_s_elements_are_weighted_by_their_variance():
    """(a, 2 b): a fifth and four fifths; a rotation of the array changes nothing, as its definition demands."""

    def pair(x):
        return np.stack([x[:, 0], 2 * x[:, 1]], axis=1)

    s = sensitivity(pair, UNIT, seed=0)
    assert s.first == pytest.approx([0.2, 0.8, 0.0], abs=0.003) and s.total == pytest.approx([0.2, 0.8, 0.0], abs=0.003)
    turned = sensitivity(lambda x: pair(x) @ np.array([[0.6, -0.8], [0.8, 0.6]]), UNIT, seed=0)
    np.testing.assert_allclose(turned.first, s.first, atol=1e-12)


def test_every_output_has_its_own():
    """Of several named outputs, each is what it is alone; shapes beyond a line are flattened."""
    found = sensitivities(lambda x: {"one": x[:, 0], "two": np.tile(x[:, 1][:, None, None], (1, 2, 3))}, UNIT, seed=0)
    assert list(found) == ["one", "two"] and found["two"].first == pytest.approx([0, 1, 0], abs=0.003)
    np.testing.assert_array_equal(found["one"].first, sensitivity(lambda x: x[:, 0], UNIT, seed=0).first)


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e9])
def test_a_constant_output_has_no_shares_and_says_so(constant):
    """NaN and a sentence, also where rounding leaves a trace; no warning."""
    s = sensitivity(
        lambda x: np.where(x[:, 0] > 0.5, constant, np.nextafter(constant, np.inf)) if constant else np.zeros(len(x)), UNIT, seed=0
    )
    for numbers in (s.first, s.first_lower, s.first_upper, s.total, s.total_lower, s.total_upper):
        assert np.isnan(numbers).all()
    assert "does not vary" in s.note


def test_a_single_parameter_explains_all():
    """d = 1."""
    s = sensitivity(lambda x: x[:, 0] ** 2, Space(a=Real(0, 1)), seed=0)
    assert s.first == pytest.approx([1.0], abs=0.01) and s.total == pytest.approx([1.0], abs=0.01)


@pytest.mark.parametrize("folds", [False, True])
def test_other_surrogates_widen_the_interval_by_their_spread(folds):
    """a + b against 1.1 a + b, 0.9 a + b and 1.2 a + b: Student's t times their root mean square; sqrt(K - 1) times that for folds."""

    def of(slope):
        return lambda x: slope * x[:, 0] + x[:, 1]

    alone = sensitivity(of(1.0), UNIT, seed=0)
    s = sensitivity(of(1.0), UNIT, draws=[of(1.1), of(0.9), of(1.2)], folds=folds, seed=0)
    square = np.mean([(w**2 / (w**2 + 1) - 0.5) ** 2 for w in (1.1, 0.9, 1.2)])
    half = stdtrit(2, 0.975) * np.sqrt(square * (2 if folds else 1))
    np.testing.assert_array_equal(s.first, alone.first)
    assert s.first_upper[0] - s.first[0] == pytest.approx(np.hypot(alone.first_upper[0] - alone.first[0], half), rel=0.01)
    assert s.first_lower[2] == pytest.approx(alone.first_lower[2], abs=1e-3)
    assert s.label == "sampling and spread of surrogates"


def test_a_surrogate_s_error_widens_the_interval_enough():
    """y = 1.2 a + b was learned as a + b: its share of 0.59 lies outside the interval of sampling and inside that of its error."""
    truth = np.array([1.44 / 2.44, 1 / 2.44, 0.0])
    learned = {"y": 0.04 / 12}

    def mean(x):
        return {"y": x[:, 0] + x[:, 1]}

    assert not holds(sensitivities(mean, UNIT, seed=0)["y"], truth, truth)[:, :2].any()
    s = sensitivities(mean, UNIT, errors=learned, seed=0)["y"]
    assert holds(s, truth, truth).all() and s.label == "sampling and error of the surrogate"
    relative = np.sqrt(0.02)  # of the surrogate's standard deviation
    assert s.first_upper[0] == pytest.approx(((np.sqrt(0.5) + relative) / (1 - relative)) ** 2, rel=0.02)
    assert s.first_lower[0] == pytest.approx(((np.sqrt(0.5) - relative) / (1 + relative)) ** 2, rel=0.02)


def test_an_error_as_large_as_the_output_leaves_everything_open():
    """[0, 1], and never an end inside the interval of sampling; an error below resolution adds nothing."""

    def mean(x):
        return {"y": x[:, 0] + x[:, 1]}

    s = sensitivities(mean, UNIT, errors={"y": 1.0}, seed=0)["y"]
    assert s.first_lower[0] == 0.0 and s.first_upper[0] == 1.0
    below, alone = sensitivities(mean, UNIT, errors={"y": -1.0}, seed=0)["y"], sensitivities(mean, UNIT, seed=0)["y"]
    np.testing.assert_allclose(below.first_upper, alone.first_upper)
    np.testing.assert_allclose(below.first_lower, alone.first_lower)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n": 1000}, "power of two"),
        ({"n": 16}, "at least 32"),
        ({"draws": [lambda x: {"y": x[:, 0]}], "errors": {"y": 1.0}}, "choose one"),
    ],
)
def test_bad_input_is_refused(options, sentence):
    """Before anything is evaluated."""
    with pytest.raises(UsageError, match=sentence):
        sensitivities(lambda x: {"y": x[:, 0]}, UNIT, **options, seed=0)


def test_predictions_must_be_finite_and_one_a_point():
    """NaN and a wrong number of rows are named."""
    with pytest.raises(UsageError, match="'output' must be finite, found 1024"):
        sensitivity(lambda x: np.full(len(x), np.nan), UNIT, seed=0)
    with pytest.raises(UsageError, match="must have 1024 rows"):
        sensitivity(lambda x: np.zeros(3), UNIT, seed=0)
