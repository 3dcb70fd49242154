"""The bytes of an answer: rows that were simulated from their runs, the others from the surrogate's prediction; JSON or binary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from mlforhpc.core.errors import UsageError
from mlforhpc.core.output_columns import Places, columns
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.online import Answer, Look
from mlforhpc.server.models import Model, Part, Sheet
from mlforhpc.server.tensors import to_bytes

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_ENDS = ("mean", "lower", "upper")


class Reply(NamedTuple):
    """An answer.

    Attributes:
        header_length: of its JSON if binary tensors follow.
        rows, simulated: for the statistics.
        uncounted: what the surrogate was sure of, still to be served (`Online.serve`), which may wait until the answer is on its way.
    """

    body: bytes
    header_length: int | None
    rows: int
    simulated: bool
    uncounted: Look | None


class Asked(NamedTuple):
    """What an answer is to have."""

    model: Model
    id: str | None
    sheet: Sheet


def encode(asked: Asked, look: Look, answers: Mapping[int, Answer], *, uncounted: Look | None = None) -> Reply:
    """The bytes of an answer: rows of `answers` from there, the others from the surrogate's prediction."""
    n = len(look.x)
    behind: list[bytes] = []
    ends, lineage = _ends(asked.model.places, look, answers), _lineage(look, answers)
    for part, binary, said in asked.sheet.parts:
        array, begin, numbers = ends.get(part.kind), part.begin, part.numbers
        data: Any
        if array is None:
            data = lineage[part.kind]
        elif numbers == 1:
            data = [array.item(begin)] if n == 1 else array[:, begin].tolist()
        else:
            data = array[0, begin : begin + numbers] if n == 1 else array[:, begin : begin + numbers].ravel()
        if n != 1:
            said["shape"] = (n, *part.shape)
        if binary:
            raw = to_bytes(data) if part.datatype == "BYTES" else _raw(part, data)
            behind.append(raw)
            said["parameters"] = {"binary_data_size": len(raw)}
        else:
            said["data"] = data
    document: dict[str, Any] = {"model_name": asked.model.name, "model_version": look.version, "outputs": asked.sheet.outputs}
    if asked.id is not None:
        document["id"] = asked.id
    unkept = sum(not each.kept for each in answers.values())
    if unkept:
        document["parameters"] = {"not_kept": unkept}
    try:
        head = orjson.dumps(document, option=_NUMPY)
    except TypeError:
        raise UsageError("The id of a request must be valid Unicode.") from None
    return Reply(b"".join((head, *behind)) if behind else head, len(head) if behind else None, n, bool(answers), uncounted)


def _ends(places: Places, look: Look, answers: Mapping[int, Answer]) -> dict[str, FloatArray]:
    """Means and ends of intervals, all columns (n, m)."""
    p = look.prediction
    if p is not None:
        ends = {kind: columns(arrays, places) for kind, arrays in zip(_ENDS, p[:3], strict=True)}
    else:
        ends = {kind: np.empty((len(look.x), max(place.end for place in places.values()))) for kind in _ENDS}
    if answers:
        ends = {kind: array.copy() for kind, array in ends.items()}
        for row, found in answers.items():
            for kind, arrays in zip(_ENDS, (found.values, found.lower, found.upper), strict=True):
                ends[kind][row] = columns({name: np.asarray(a)[None] for name, a in arrays.items()}, places)[0]
    return ends


def _lineage(look: Look, answers: Mapping[int, Answer]) -> dict[str, list[Any]]:
    """What is said of each row beside its numbers."""
    n = len(look.x)
    said: dict[str, list[Any]] = {
        "source": ["surrogate"] * n, "rho": list(look.rho), "version": [look.version] * n, "key": [""] * n, "kept": [True] * n
    }  # fmt: skip
    for row, found in answers.items():
        said["source"][row], said["version"][row] = found.source, found.surrogate_version
        said["key"][row], said["kept"][row] = found.key, found.kept
    return said


def _raw(part: Part, data: Any) -> bytes:
    return np.asarray(data, dtype="u1" if part.datatype == "BOOL" else "<f8").tobytes()
