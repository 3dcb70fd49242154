"""Which engine, as a user says it: "NAME", "NAME:ADDRESS", or the name of a table of a configuration file:

[engines.cluster]                  # --engine cluster
engine = "parsl"                   # the adapter; left out, it is the table's name
slots = 64
provider = "slurm"                 # and so on: what the adapter's `create` takes
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlforhpc.core.errors import UsageError
from mlforhpc.core.manifest import EngineOption
from mlforhpc.core.names import suggestion

DEFAULT_FILE = Path("mlforhpc.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine and how to make it.

    Attributes:
        name: of the adapter.
        address: of a system that runs already; empty = none.
        slots: how many; None = what the engine finds.
        options: further arguments of the adapter's `create`.
    """

    name: str
    address: str = ""
    slots: int | None = None
    options: Mapping[str, EngineOption] = field(default_factory=dict)


def engine_choice(said: str | EngineChoice, *, slots: int | None = None, file: Path | None = None) -> EngineChoice:
    """What a user means.

    Args:
        said: as in the file's docstring.
        slots: overrides the table's.
        file: configuration; None = mlforhpc.toml in the current folder, if there is one.

    Raises:
        UsageError: the file cannot be read, or a table is not one of these.
    """
    if isinstance(said, EngineChoice):
        return said
    tables = _tables(file)
    if said in tables:
        table = dict(tables[said])
        name, address, own = str(table.pop("engine", said)), str(table.pop("address", "")), table.pop("slots", None)
        if own is not None and (not isinstance(own, int) or own < 1):
            raise UsageError(f"[engines.{said}] has slots = {own!r}; wanted is a whole number of at least 1.")
        return EngineChoice(name=name, address=address, slots=slots or own, options=table)
    if file is not None and said not in ("processes", "serial") and ":" not in said and (near := suggestion(said, tables)):
        raise UsageError(f"'{file}' has no table [engines.{said}].{near}")
    name, _, address = said.partition(":")
    return EngineChoice(name=name, address=address, slots=slots)


def _tables(file: Path | None) -> Mapping[str, Mapping[str, Any]]:
    path = DEFAULT_FILE if file is None else file
    if file is None and not path.is_file():
        return {}
    try:
        with path.open("rb") as opened:
            engines = tomllib.load(opened).get("engines", {})
    except OSError as error:
        raise UsageError(f"The configuration '{path}' cannot be read: {error.strerror}.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The configuration '{path}' is no TOML: {error}.") from None
    if not isinstance(engines, dict) or not all(isinstance(table, dict) for table in engines.values()):
        raise UsageError(f"In '{path}', engines are tables: [engines.NAME], with engine, slots, address and options of that engine.")
    return engines
