"""What to read from the files of a finished run: a regular expression, a JSON document, or columns of numbers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlforhpc.core.errors import InvalidOutput
from mlforhpc.core.space import FloatArray


@dataclass(frozen=True, slots=True)
class Pattern:
    """The first group of a regular expression: a number where it matches once (or `last`), else every match (n,)."""

    expression: str
    file: str = "stdout"
    last: bool = False

    def read(self, workdir: Path) -> FloatArray:
        """The number or numbers."""
        found = [_number(match[1], self.file) for match in re.finditer(self.expression, _text(workdir, self.file), re.MULTILINE)]
        if not found:
            raise InvalidOutput(f"Nothing in '{self.file}' matches {self.expression!r}.")
        return np.array(found[-1] if self.last or len(found) == 1 else found)


@dataclass(frozen=True, slots=True)
class Json:
    """A number or nested list in a JSON document; `path` walks keys and list positions: "results.0.energy"."""

    path: str = ""
    file: str = "stdout"

    def read(self, workdir: Path) -> FloatArray:
        """The value as an array."""
        try:
            value = json.loads(_text(workdir, self.file))
        except json.JSONDecodeError as error:
            raise InvalidOutput(f"'{self.file}' is not JSON: {error}.") from None
        for step in filter(None, self.path.split(".")):
            try:
                value = value[int(step)] if isinstance(value, list) else value[step]
            except (KeyError, IndexError, TypeError, ValueError):
                raise InvalidOutput(f"'{self.file}' has no '{self.path}': '{step}' is not there.") from None
        try:
            return np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            raise InvalidOutput(f"'{self.path}' in '{self.file}' is no number or array of numbers.") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """One column of a text table, counted from 0; `separator` None is any blank; lines that start with # are skipped."""

    file: str
    column: int
    skip: int = 0
    separator: str | None = None

    def read(self, workdir: Path) -> FloatArray:
        """The column (n,)."""
        rows = [line for line in _text(workdir, self.file).splitlines()[self.skip :] if line.strip() and not line.lstrip().startswith("#")]
        values = []
        for row in rows:
            cells = row.split(self.separator)
            if not -len(cells) <= self.column < len(cells):
                raise InvalidOutput(f"'{self.file}' has no column {self.column} in the line '{row.strip()}'.")
            values.append(_number(cells[self.column], self.file))
        return np.array(values)


def _text(workdir: Path, file: str) -> str:
    try:
        return (workdir / file).read_text(errors="replace")
    except FileNotFoundError:
        raise InvalidOutput(f"The run left no file '{file}'.") from None


def _number(text: str, file: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidOutput(f"'{text.strip()}' in '{file}' is no number.") from None
