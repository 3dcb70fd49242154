"""Tables of a TOML file, whose every key is known and of its type, or a sentence says which is not: file, key, wanted, found."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from mlforhpc.core.errors import UsageError
from mlforhpc.core.names import suggestion

T = TypeVar("T")
D = TypeVar("D")
_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file, and where in it."""

    file: Path
    key: str
    values: Mapping[str, Any]

    def where(self, key: str) -> str:
        return f"'{self.file}', key '{self.key}.{key}'" if self.key else f"'{self.file}', key '{key}'"

    def wrong(self, key: str, wanted: str, found: object) -> NoReturn:
        raise UsageError(f"{self.where(key)}: wanted {wanted}, found {found!r}.")

    def only(self, *known: str) -> None:
        """Refuse keys that mean nothing: a misspelt one would be ignored in silence."""
        for key in self.values:
            if key not in known:
                raise UsageError(f"{self.where(key)}: there is no such key; here are {', '.join(known)}.{suggestion(key, known)}")

    def need(self, key: str, kind: type[T]) -> T:
        """The value of a key that must be there."""
        if key not in self.values:
            raise UsageError(f"{self.where(key)}: wanted {_WORDS[kind]}, and the key is not there. Add it.")
        return self.get(key, kind, None)  # type: ignore[return-value]

    def get(self, key: str, kind: type[T], default: D) -> T | D:
        """The value of a key, of its type; whole numbers are numbers too."""
        if key not in self.values:
            return default
        value = self.values[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)  # type: ignore[call-arg]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.wrong(key, _WORDS[kind], value)
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        words = self.need(key, list)
        if not all(isinstance(word, str) for word in words):
            self.wrong(key, "a list of texts", words)
        return tuple(words)

    def section(self, key: str) -> Section:
        """A table in this one."""
        return Section(self.file, f"{self.key}.{key}" if self.key else key, self.need(key, dict))

    def sections(self) -> dict[str, Section]:
        """The tables in this one."""
        return {key: self.section(key) for key in self.values}

    def texts(self) -> dict[str, str]:
        """The texts in this one."""
        return {key: self.need(key, str) for key in self.values}


def read(file: Path, what: str) -> tuple[Section, bytes]:
    """The top of a file, and its content; `what` was to be read from it.

    Raises:
        UsageError: it cannot be opened, or is no TOML.
    """
    try:
        content = file.read_bytes()
        return Section(file, "", tomllib.loads(content.decode())), content
    except OSError as error:
        raise UsageError(f"{what} was to be read from '{file}', but it cannot be opened ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{file}' is not TOML: {error}.") from None
