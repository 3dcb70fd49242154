"""What is answered about records: bodies of JSON and files, made beside the server's process, each from a store opened for reading.

Numbers that JSON does not have (NaN, infinities) are null; arrays that are too long stand in `left_out` with their shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mlforhpc.core.errors import MissingExtra, MLforHPCError, StoreDamaged, StoreFull, UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.core.record import Record
from mlforhpc.core.space import FloatArray, Value
from mlforhpc.server.refusals import Refused, refusal
from mlforhpc.store import FolderStore, export, summary
from mlforhpc.store.selecting import Conditions, Wanted, names

PAGE_NUMBERS = 10_000
"""Of one array, in a page."""
_INT64 = 2**63


class Told(NamedTuple):
    """An answer: 200 and JSON, or another status and a sentence."""

    status: int
    content: bytes


class Asked(NamedTuple):
    """A question about records.

    Attributes:
        simulation: of which.
        named: (name, text) of conditions: NAME, NAME.min or NAME.max, where NAME is a parameter, `parameters.` and one,
            `settings.` and a setting, or `fidelity`.
        outcome, version: of the record.
        after, limit: which page.
    """

    simulation: str
    named: tuple[tuple[str, str], ...]
    outcome: str | None
    version: str | None
    after: int
    limit: int


def page(folder: str, asked: Asked, served: Sequence[str], numbers: int, following: str) -> Told:
    """One page of records.

    Args:
        folder: of the store.
        asked: the question.
        served: simulations that need no records to be known.
        numbers: that a page may have in all.
        following: address of the next page, to which its place is added.
    """

    def answer(store: FolderStore) -> object:
        _refuse_unheard(store, asked.simulation, served)
        found = store.select(asked.simulation, after=asked.after, limit=asked.limit, limit_bytes=8 * numbers, **_conditions(store, asked))
        more = None if found.after is None else f"{following}{found.after}"
        return {"records": [_as_json(record, PAGE_NUMBERS) for record in found.records], "damaged": found.damaged, "next": more}

    return _told(folder, answer)


def one(folder: str, key: str, numbers: int) -> Told:
    """One record by its key, with arrays of up to so many numbers."""

    def answer(store: FolderStore) -> object:
        record = store.get(key)
        if record is None:
            raise Refused(404, f"There is no record {key[:12]}... in the store: it was never kept, or it was pruned.")
        return _as_json(record, numbers)

    return _told(folder, answer)


def usage(folder: str, budget_bytes: int | None) -> Told:
    """Bytes, and records by simulation, version and outcome."""

    def answer(store: FolderStore) -> object:
        found, lines = store.usage(), summary(store)
        return {
            "used_bytes": found.used_bytes,
            "index_bytes": found.index_bytes,
            "log_bytes": found.log_bytes,
            "array_bytes": found.array_bytes,
            "budget_bytes": budget_bytes,
            "records": sum(sum(line.counts.values()) for line in lines),
            "simulations": [
                {
                    "simulation": line.simulation,
                    "version": line.version,
                    "counts": dict(line.counts),
                    "cost_s": line.cost_s,
                    "size_bytes": line.size_bytes,
                }
                for line in lines
            ],
        }

    return _told(folder, answer)


def export_to(folder: str, path: str, simulation: str | None, served: Sequence[str]) -> Told:
    """Write the table of all records, or of one simulation's, to a path that the server chose."""

    def answer(store: FolderStore) -> object:
        if simulation is not None:
            _refuse_unheard(store, simulation, served)
        try:
            return {"records": export(store, path, simulation)}
        except MissingExtra as error:
            raise Refused(501, str(error)) from error
        except StoreFull as error:
            raise Refused(507, str(error)) from error

    return _told(folder, answer)


def _told(folder: str, answer: Callable[[FolderStore], object]) -> Told:
    try:
        with FolderStore.open(Path(folder), read_only=True) as store:
            return Told(200, orjson.dumps(answer(store), option=orjson.OPT_SERIALIZE_NUMPY))
    except StoreDamaged as error:
        return Told(500, str(error).encode(errors="replace"))
    except MLforHPCError as error:
        return Told(refusal(error).status, str(error).encode(errors="replace"))


def _refuse_unheard(store: FolderStore, simulation: str, served: Sequence[str]) -> None:
    if simulation in served or store.index.heads(simulation, 0):
        return
    known = sorted({*served, *(str(name) for (name,) in store.index.ask("SELECT DISTINCT simulation FROM record"))})
    raise Refused(
        404, f"There is no simulation '{simulation[:100]}'; there are {', '.join(known) or 'none'}.{suggestion(simulation[:100], known)}"
    )


def _conditions(store: FolderStore, asked: Asked) -> Conditions:
    """The texts of a request as numbers and text, by what the records have under that name."""
    conditions: Conditions = {}
    groups: dict[str, dict[str, dict[str, str]]] = {"parameters": {}, "settings": {}, "fidelity": {}}
    for said, text in asked.named:
        plain, _, end = said.rpartition(".")
        said, end = (plain, end) if end in ("min", "max") else (said, "")
        group, _, name = said.partition(".") if said.startswith(("parameters.", "settings.")) else ("parameters", "", said)
        groups["fidelity" if said == "fidelity" else group].setdefault(name, {})[end] = text
    for group, into in (("parameters", "where"), ("settings", "settings")):
        examples = names(store.index, asked.simulation, group) if groups[group] else {}
        conditions[into] = {name: _wanted(name, ends, examples.get(name)) for name, ends in groups[group].items()}  # type: ignore[literal-required]
    for ends in groups["fidelity"].values():
        conditions["fidelity"] = _wanted("fidelity", ends, 1.0)  # type: ignore[typeddict-item]
    if asked.outcome is not None:
        conditions["outcome"] = asked.outcome
    if asked.version is not None:
        conditions["version"] = asked.version
    return conditions


def _wanted(name: str, ends: Mapping[str, str], example: Value | None) -> Wanted:
    if "" in ends:
        if len(ends) > 1:
            raise UsageError(f"Ask '{name}' for a value, or for a range with {name}.min and {name}.max, not for both.")
        return ends[""] if isinstance(example, str) else _number(name, ends[""], or_text=example is None)
    if isinstance(example, str):
        raise UsageError(f"'{name}' is text, such as '{example[:40]}', and has no range; ask for {name}=...")
    low, high = (_number(f"{name}.{end}", ends[end]) if end in ends else None for end in ("min", "max"))
    return low, high


def _number(name: str, text: str, *, or_text: bool = False) -> Any:
    try:
        return float(text)
    except ValueError:
        if or_text:
            return text
        raise UsageError(f"'{name}' is a number, found '{text[:40]}'.") from None


def _as_json(record: Record, numbers: int) -> dict[str, object]:
    left_out: dict[str, tuple[int, ...]] = {}
    arrays = {
        "outputs": {_safe(name): _listed(name, array, numbers, left_out) for name, array in record.outputs.items()},
        "standard_errors": {_safe(name): _listed(name, array, numbers, left_out) for name, array in record.standard_errors.items()},
    }
    plain = ("key", "simulation", "version", "fidelity", "seed", "outcome", "reason", "limit_s", "cost_s", "system")
    return {
        **{name: _safe(getattr(record, name)) for name in plain},
        **{group: {_safe(n): _safe(v) for n, v in getattr(record, group).items()} for group in ("parameters", "settings", "checks")},
        **{group: {name: array for name, array in named.items() if array is not None} for group, named in arrays.items()},
        "left_out": left_out,
    }


def _listed(name: str, array: FloatArray, numbers: int, left_out: dict[str, tuple[int, ...]]) -> object:
    if array.size > numbers:
        left_out[name] = array.shape
        return None
    return array if array.ndim else array.item()


def _safe(value: Any) -> Any:
    """Text as UTF-8 can write it, whole numbers that JSON readers take."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return str(value) if isinstance(value, int) and not -_INT64 <= value < 2 * _INT64 else value
