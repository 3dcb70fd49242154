"""Spaces: encoding, decoding, and the sentences about bad points."""

from __future__ import annotations

import numpy as np
import pytest

from mlforhpc import Choice, Integer, Real, Space
from mlforhpc.core.errors import OutOfBounds, UsageError

SPACE = Space(h=Real(3.0, 4.0, unit="nm"), k=Real(1.0, 100.0, log=True), z=Integer(1, 3), wall=Choice(("soft", "hard")))


def test_encodes_to_the_unit_cube_by_hand():
    """Linear, logarithmic, integer and categorical columns, each calculated by hand."""
    np.testing.assert_allclose(SPACE.encode([3.25, 10.0, 2, 1]), [[0.25, 0.5, 0.5, 0.75]])


def test_decode_inverts_encode():
    """Any point of the space comes back, also the corners."""
    x = np.array([[3.0, 1.0, 1, 0], [4.0, 100.0, 3, 1], [3.7, 3.3, 2, 0]])
    np.testing.assert_allclose(SPACE.decode(SPACE.encode(x)), x)


def test_equal_shares_of_the_cube_belong_to_each_integer():
    """300 even points of [0, 1) give each of three values 100 times."""
    z = Space(z=Integer(1, 3)).decode((np.arange(300)[:, None] + 0.5) / 300)
    assert np.unique(z, return_counts=True)[1].tolist() == [100, 100, 100]


def test_decode_stays_inside_at_the_upper_edge():
    """u = 1 is the highest value, not one beyond."""
    assert SPACE.decode(np.ones(4)).tolist() == [[4.0, pytest.approx(100.0), 3.0, 1.0]]


def test_a_point_has_the_types_of_its_parameters():
    """Integers come as int and choices as their text; row() takes them back."""
    point = SPACE.point([3.5, 2.0, 3, 1])
    assert point == {"h": 3.5, "k": 2.0, "z": 3, "wall": "hard"} and isinstance(point["z"], int)
    assert SPACE.row(point).tolist() == [3.5, 2.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"h": 5.0}, r"'h' must be a number in \[3, 4\] nm, found 5.0"),
        ({"h": float("nan")}, "found nan"),
        ({"z": 1.5}, "a whole number"),
        ({"wall": "sofd"}, "Did you mean 'soft'"),
        ({"h": "wide"}, "found 'wide'"),
    ],
)
def test_a_bad_value_is_named_with_what_was_wanted(change, sentence):
    """The sentence names the parameter, its bounds and what was found."""
    with pytest.raises(UsageError, match=sentence):
        SPACE.row({"h": 3.5, "k": 2.0, "z": 3, "wall": "hard"} | change)


def test_unknown_and_missing_parameters():
    """A misspelt name gets a suggestion, a missing one is named."""
    with pytest.raises(UsageError, match="Did you mean 'wall'"):
        SPACE.row({"h": 3.5, "k": 2.0, "z": 3, "walls": "hard"})
    with pytest.raises(UsageError, match="'wall' is missing"):
        SPACE.row({"h": 3.5, "k": 2.0, "z": 3})


def test_check_names_the_row():
    """Of many points, the first bad one is named."""
    with pytest.raises(OutOfBounds, match="row 1"):
        SPACE.check([[3.5, 2, 1, 0], [3.5, 200, 1, 0]])
    with pytest.raises(UsageError, match=r"shape \(n, 4\)"):
        SPACE.check([[1.0, 2.0]])


@pytest.mark.parametrize("make", [lambda: Real(1, 1), lambda: Real(0, 1, log=True), lambda: Integer(3, 1), lambda: Choice(()), Space])
def test_impossible_spaces_are_refused(make):
    """Empty ranges, logarithms of zero, no options, no parameters."""
    with pytest.raises(UsageError):
        make()


REALS = Space(h=Real(3.0, 4.0, unit="nm"), k=Real(1.0, 100.0, log=True))


@pytest.mark.parametrize("space", [SPACE, REALS], ids=["mixed", "reals"])
def test_locate_is_check_then_encode(space):
    """The same digits for many points, one point, no point, corners, and a row without its second axis."""
    x = space.decode(np.random.default_rng(0).random((50, len(space))))
    corners = space.decode(np.array([np.zeros(len(space)), np.ones(len(space))]))
    for points in (x, x[:1], x[:0], corners, x[0]):
        np.testing.assert_array_equal(space.locate(points), space.encode(space.check(points)))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"h": 4.0 + 1e-9}, OutOfBounds, r"'h' must be a number in \[3, 4\] nm, found 4 in row 1"),
        ({"h": 2.9}, OutOfBounds, "found 2.9 in row 1"),
        ({"h": float("nan")}, OutOfBounds, "'h' must be a number .* found nan in row 1"),
        ({"h": float("inf")}, OutOfBounds, "found inf in row 1"),
        ({"k": 0.0}, OutOfBounds, r"'k' must be a number in \[1, 100\], found 0 in row 1"),
        ({"k": -5.0}, OutOfBounds, "'k' .* found -5 in row 1"),
        ({"k": float("nan")}, OutOfBounds, "'k' .* found nan in row 1"),
        ({"k": 100.0 + 1e-9}, OutOfBounds, "'k' .* found 100 in row 1"),
        ({"z": 1.5}, OutOfBounds, "'z' must be a whole number .* found 1.5 in row 1"),
        ({"z": 4.0}, OutOfBounds, "'z' .* found 4 in row 1"),
        ({"wall": 0.5}, OutOfBounds, "'wall' must be one of soft, hard, found 0.5 in row 1"),
        ({"wall": 2.0}, OutOfBounds, "'wall' .* found 2 in row 1"),
    ],
)
def test_locate_refuses_what_check_refuses(change, error, sentence):
    """The same sentence for one bad value among good ones, with and without integers and choices beside it."""
    for space in (SPACE, REALS):
        if not set(change) <= set(space.names):
            continue
        good = {"h": 3.5, "k": 2.0, "z": 3.0, "wall": 1.0}
        x = [[good[name] for name in space.names], [(good | change)[name] for name in space.names]]
        for method in (space.check, space.locate):
            with pytest.raises(error, match=sentence):
                method(x)


@pytest.mark.parametrize("wrong", [np.ones((2, 3)), np.ones(3), np.ones((1, 2, 2)), np.ones((0, 5))])
def test_locate_refuses_the_wrong_shape(wrong):
    """As check does, whatever the space."""
    for space in (SPACE, REALS):
        for method in (space.check, space.locate):
            with pytest.raises(UsageError, match=rf"shape \(n, {len(space)}\), found"):
                method(wrong)


def test_slopes_by_hand():
    """1 / (high - low) of a number, 1 / (x log(high / low)) of a logarithm, none of integers and choices."""
    slopes = SPACE.slopes(np.array([[3.25, 10.0, 2, 1], [4.0, 1.0, 1, 0]]))
    np.testing.assert_allclose(slopes[:, :2], [[1.0, 0.1 / np.log(100.0)], [1.0, 1.0 / np.log(100.0)]], rtol=1e-15)
    assert np.isnan(slopes[:, 2:]).all()


def test_slopes_are_those_of_encode():
    """Central differences of the encoding, with a range that is not 1."""
    space = Space(a=Real(-2.0, 8.0), k=Real(1e-3, 1e3, log=True))
    x = space.decode(np.random.default_rng(1).random((20, 2)))
    step = 1e-6 * x
    np.testing.assert_allclose(space.slopes(x), (space.encode(x + step) - space.encode(x - step)) / (2.0 * step), rtol=1e-7)
