"""How parameters and outputs are spelt on the command line.

NAME=LOW:HIGH[:log][:UNIT]      a number          load=1e3:5e3:N      conductivity=1e-3:10:log
NAME=int:LOW:HIGH[:UNIT]        a whole number    layers=int:1:5
NAME=A,B,C                      one of these      metal=steel,copper
outputs: NAME[SHAPE][:UNIT][:scale=NUMBER|rms|mean], comma between     deflection:mm,profile[64]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlforhpc.core.errors import UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, Integer, Parameter, Real

PARAMETER = "NAME=LOW:HIGH[:log][:UNIT], NAME=int:LOW:HIGH[:UNIT] or NAME=A,B,C"
OUTPUT = "NAME, NAME[64], NAME:UNIT or NAME:scale=NUMBER"


def parameters(texts: Sequence[str]) -> dict[str, Parameter]:
    """Name -> parameter."""
    found: dict[str, Parameter] = {}
    for text in texts:
        name, parameter = _parameter(text)
        if name in found:
            raise UsageError(f"Parameter '{name}' was given twice.")
        found[name] = parameter
    return found


def outputs(text: str) -> list[Output]:
    """Outputs of a plain function."""
    return [_output(item) for item in names(text)]


def names(text: str) -> list[str]:
    """Items between commas; a comma in brackets belongs to its item."""
    return [item.strip() for item in re.split(r",(?![^\[]*\])", text) if item.strip()]


def _parameter(text: str) -> tuple[str, Parameter]:
    name, given, values = (part.strip() for part in text.partition("="))
    if not name or not given or not values:
        raise UsageError(f"A parameter is spelt {PARAMETER}; found '{text}'.")
    try:
        if ":" not in values:
            options = tuple(option.strip() for option in values.split(","))
            if len(options) < 2:
                raise UsageError("one value is no choice")
            return name, Choice(options)
        words = [word.strip() for word in values.split(":")]
        whole = words[0] == "int"
        low, high, *rest = words[1:] if whole else words
        log = not whole and "log" in rest
        units = [word for word in rest if word != "log" or whole]
        if len(units) > 1:
            raise UsageError(f"two units, {' and '.join(units)}")
        unit = units[0] if units else "1"
        return name, Integer(int(low), int(high), unit=unit) if whole else Real(float(low), float(high), log=log, unit=unit)
    except UsageError as error:
        raise UsageError(f"Parameter '{text}': {str(error).rstrip('.')}. It is spelt {PARAMETER}.") from None
    except ValueError:
        raise UsageError(f"Parameter '{text}': bounds are numbers. It is spelt {PARAMETER}.") from None


def _output(text: str) -> Output:
    match = re.fullmatch(r"(\w[\w.-]*)(?:\[([\d,\s]+)\])?((?::[^:]+)*)", text)
    if not match:
        raise UsageError(f"An output is spelt {OUTPUT}; found '{text}'.")
    shape = tuple(int(size) for size in (match[2] or "").split(",") if size.strip())
    unit, scale = "1", "rms"
    for word in filter(None, (match[3] or "").split(":")):
        key, given, value = word.partition("=")
        if not given:
            unit = word.strip()
        elif key.strip() == "scale":
            scale = value.strip()
        else:
            raise UsageError(f"Output '{text}': there is no '{key}'. It is spelt {OUTPUT}.")
    if scale in ("rms", "mean"):
        return Output(name=match[1], shape=shape, unit=unit, scale="mean" if scale == "mean" else "rms")
    try:
        number = float(scale)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UsageError(f"Output '{text}': a scale is rms, mean or a number above 0, found '{scale}'.")
    return Output(name=match[1], shape=shape, unit=unit, scale=number)


def fidelity(text: str) -> float | tuple[float, float]:
    """A fidelity "0.02", or the range to choose it from, "0.005:0.05"."""
    try:
        numbers = [float(part) for part in str(text).split(":")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    raise UsageError(f"--fidelity is a number such as 0.02, or a range such as 0.005:0.05, found '{text}'.")
