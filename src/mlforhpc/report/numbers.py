"""How numbers are written: three significant digits, thin groups, units people read; the same in HTML, SVG and terminal."""

from __future__ import annotations

import math

from mlforhpc.core.result import Interval

NONE = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float | int | None, digits: int = 3) -> str:
    """1,234 · 0.0483 · 1.2 × 10⁷ · "–" for none or not finite; whole numbers below a million are written in full."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    size = abs(value)
    if float(value).is_integer() and size < 1e6:
        return _minus(f"{int(value):,}")
    exponent = math.floor(math.log10(float(f"{size:.{digits - 1}e}")))
    if -4 <= exponent < 6:
        return _minus(f"{round(value, digits - 1 - exponent):,.{max(0, digits - 1 - exponent)}f}")
    mantissa = f"{value / 10.0**exponent:.{digits - 1}f}".rstrip("0").rstrip(".")
    return _minus(f"{mantissa} × 10") + f"{exponent}".translate(_SUPERSCRIPT)


def given(value: float | None) -> str:
    """A number that somebody chose (a target, a level): no digits that were not given; "–" where nobody did."""
    text = number(value, 6)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def tick(value: float) -> str:
    """For a logarithmic axis: 0.001 ... 10,000 plain, powers of ten beyond."""
    if value <= 0 or not math.isfinite(value):
        return ""
    exponent = math.floor(math.log10(value) + 1e-9)
    if -3 <= exponent <= 4:
        return f"{value:,.{max(0, -exponent)}f}"
    mantissa = round(value / 10.0**exponent)
    power = "10" + f"{exponent}".translate(_SUPERSCRIPT)
    return power if mantissa == 1 else f"{mantissa}×{power}"


def cell(value: str | float | int | None) -> str:
    """A table's cell."""
    return value if isinstance(value, str) else number(value)


def span(interval: Interval) -> str:
    """ "[0.041, 0.055]", "≤ 0.055", "≥ 1.2", or nothing."""
    if interval.lower is not None and interval.upper is not None:
        return f"[{number(interval.lower)}, {number(interval.upper)}]"
    if interval.upper is not None:
        return f"≤ {number(interval.upper)}"
    return f"≥ {number(interval.lower)}" if interval.lower is not None else ""


def estimate(interval: Interval | None) -> str:
    """ "0.0432 [0.039, 0.0478]"."""
    if interval is None:
        return NONE
    return f"{number(interval.value)} {span(interval)}".strip()


def percent(share: float) -> str:
    """12 %, 3.4 %, under 0.1 %."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def seconds(value: float | None) -> str:
    """3.2 µs · 41 ms · 12.3 s · 4 min 10 s · 5 min · 2 h 05 min."""
    if value is None or not math.isfinite(value):
        return NONE
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (0.9995, 1e3, "ms"), (119.5, 1.0, "s")):
        if abs(value) < limit and value != 0:
            return f"{number(value * factor)} {unit}"
    if value == 0:
        return "0 s"
    whole = round(value)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes % 60 else f"{minutes // 60} h"


def size(value: int) -> str:
    """15.6 GiB; "–" for 0, which means not stated."""
    if value <= 0:
        return NONE
    power = min(int(math.log2(value) // 10), len(_BINARY) - 1)
    return f"{number(value / 1024.0**power)} {_BINARY[power]}"


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
