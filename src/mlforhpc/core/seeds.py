"""Seeds: one number for a campaign, one derived from it for everything random in it, the same on every engine."""

from __future__ import annotations

import hashlib


def derive(seed: int, *labels: str | int) -> int:
    """A seed in [0, 2^31 - 2] for the use that `labels` name; independent uses get independent streams.

    31 bits, because simulators written in C and Fortran take a positive 32-bit integer.
    """
    digest = hashlib.sha256(repr((int(seed), labels)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (2**31 - 1)
