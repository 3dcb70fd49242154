"""Sizes: what people write, and what they read."""

import pytest

from mlforhpc.core.errors import UsageError
from mlforhpc.core.sizes import size_bytes, spelt


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("1 kB", 1000),
        ("10GB", 10**10),
        ("1.5GiB", 3 << 29),
        ("512 mib", 512 << 20),
        ("0", 0),
        ("2TB", 2 * 10**12),
        ("7b", 7),
    ],
)
def test_what_people_write(text, size):
    """A number and a unit, in any case."""
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "1 PB", "nan", "inf", "1,5GB", "10 G B"])
def test_what_is_no_size_is_refused(text):
    """With an example."""
    with pytest.raises(UsageError, match=r"such as 500MB, 10GB or 1\.5GiB; found"):
        size_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (20_480, "20.5 kB"), (999_700, "1 MB"), (3 * 10**12, "3 TB"), (10**16, "1e+04 TB")],
)
def test_what_people_read(size, text):
    """Three digits."""
    assert spelt(size) == text
