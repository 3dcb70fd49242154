"""Names: a name is a file name, found without importing it; third parties add theirs through entry points.

    find("simulations") -> {"borehole": "mlforhpc.simulations.borehole", ...}
    load("simulations", "borehole") -> the module, or a sentence with a suggestion or the extra to install
Every such module offers one factory, `create`; a benchmark's module is the benchmark.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import pkgutil
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Literal, TypeAlias

from mlforhpc.core.errors import MissingExtra, UnknownName

Group: TypeAlias = Literal["simulations", "learners", "strategies", "engines", "benchmarks"]
_SINGULAR = {"simulations": "simulation", "learners": "learner", "strategies": "strategy", "engines": "engine", "benchmarks": "benchmark"}


def find(group: Group) -> dict[str, str]:
    """Name -> where it is ("module" or "module:attribute"), built-in ones first; nothing is imported but packages."""
    package = importlib.import_module(f"mlforhpc.{group}")
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        leaf = info.name.rpartition(".")[2]
        if not info.ispkg and not leaf.startswith("_"):
            found[leaf.replace("_", "-") if group == "benchmarks" else leaf] = info.name
    for point in importlib.metadata.entry_points(group=f"mlforhpc.{group}"):
        found.setdefault(point.name, point.value)
    return found


def load(group: Group, name: str) -> ModuleType:
    """The module behind a name.

    Raises:
        UnknownName: with the nearest name as a suggestion.
        MissingExtra: it is there, but a package it imports is not installed.
    """
    found = find(group)
    if name not in found:
        raise UnknownName(
            f"There is no {_SINGULAR[group]} named '{name}'; known are {', '.join(sorted(found)) or 'none'}.{suggestion(name, found)}"
        )
    try:
        return importlib.import_module(found[name].partition(":")[0])
    except ModuleNotFoundError as error:
        raise missing(f"The {_SINGULAR[group]} '{name}'", error.name or "", extra=name) from error


def missing(wanting: str, package: str, *, extra: str = "") -> MissingExtra:
    """The error for an optional package that is not installed: which extra brings it; `extra`, if that is one of them."""
    extras = _extras_of(package.partition(".")[0])
    extra = extra if extra in extras else next(iter(extras), "")
    way_out = f"pip install 'mlforhpc[{extra}]'" if extra else f"pip install {package}"
    return MissingExtra(f"{wanting} needs the package '{package}', which is not installed. Install it with: {way_out}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?", or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _extras_of(package: str) -> list[str]:
    found = []
    for requirement in importlib.metadata.requires("mlforhpc") or []:
        name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", requirement)
        if extra and package.lower() in (name.lower().replace("-", "_"), extra.group(1)):  # scikit-learn is imported as sklearn
            found.append(extra.group(1))
    return found
