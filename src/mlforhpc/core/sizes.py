"""Sizes of files and stores: what people write ("10 GB", "512 MiB", "4096") as bytes, and bytes as people read them."""

from __future__ import annotations

import re

from mlforhpc.core.errors import UsageError

_UNITS = (
    {"": 1, "B": 1}
    | {f"{letter}B": 1000**i for i, letter in enumerate("kMGT", 1)}
    | {f"{letter}iB": 1024**i for i, letter in enumerate("KMGT", 1)}
)
_FACTORS = {unit.lower(): factor for unit, factor in _UNITS.items()}


def size_bytes(text: str) -> int:
    """The bytes of "10 GB" (1000-based), "512 MiB" (1024-based) or a plain number; upper or lower case."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _FACTORS:
        raise UsageError(f"A size is a number and a unit, such as 500MB, 10GB or 1.5GiB; found '{text}'.")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def spelt(size: float) -> str:
    """A size with three digits: "20.5 kB"."""
    unit = "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
