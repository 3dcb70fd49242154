"""The bytes of an answer: rows that were simulated from their runs, the others from the surrogate's prediction; JSON or binary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from mlforhpc.core.errors import UsageError
from mlforhpc.core.output_columns import columns
from mlforhpc.core.space import FloatArray
from mlforhpc.scenarios.online import Answer, Look
from mlforhpc.server.models import Model, Part, Sheet
from mlforhpc.server.tensors import to_bytes

_NUMPY = orjson.OPT_SERIALIZE_NUMPY
_FEW = 16
_ENDS = ("mean", "lower", "upper")


class Reply(NamedTuple):
    """An answer; `header_length` is of its JSON if binary tensors follow. `rows` and `simulated` are for the statistics."""

    body: bytes
    header_length: int | None
    rows: int
    simulated: bool


class Asked(NamedTuple):
    """What an answer is to have."""

    model: Model
    id: str | None
    sheet: Sheet


def encode(asked: Asked, look: Look, answers: Mapping[int, Answer]) -> Reply:
    """The bytes of an answer: rows of `answers` from there, the others from the surrogate's prediction."""
    n = len(look.x)
    behind: list[bytes] = []
    p = look.prediction
    ends = {} if answers or p is None else {kind: columns(arrays, asked.model.places) for kind, arrays in zip(_ENDS, p[:3], strict=True)}
    for part, binary, said in asked.sheet.parts:
        array, begin, numbers = ends.get(part.kind), part.begin, part.numbers
        if array is None:
            data = _data(part, look, answers)
        elif n == 1:
            data = [array.item(begin)] if numbers == 1 else array[0, begin : begin + numbers]
        else:
            data = _flat(array[:, begin : begin + numbers])
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
    return Reply(b"".join((head, *behind)) if behind else head, len(head) if behind else None, n, bool(answers))


def _data(part: Part, look: Look, answers: Mapping[int, Answer]) -> Any:
    """The elements of a part, row by row, flat."""
    n = len(look.x)
    match part.kind:
        case "mean" | "lower" | "upper":
            return _flat(_numbers(part, look, answers))
        case "rho":
            return list(look.rho)
        case "version":
            return [answers[i].surrogate_version if i in answers else look.version for i in range(n)]
        case "source":
            return [answers[i].source if i in answers else "surrogate" for i in range(n)]
        case "key":
            return [answers[i].key if i in answers else "" for i in range(n)]
    return [answers[i].kept if i in answers else True for i in range(n)]


def _numbers(part: Part, look: Look, answers: Mapping[int, Answer]) -> FloatArray:
    """Means or ends of intervals (n, *shape), some of them simulated."""
    shape = (len(look.x), *part.shape)
    numbers = np.array(getattr(look.prediction, part.kind)[part.output]) if look.prediction is not None else np.empty(shape)
    field = "values" if part.kind == "mean" else part.kind
    for row, found in answers.items():
        numbers[row] = getattr(found, field)[part.output]
    return numbers


def _flat(numbers: FloatArray) -> Any:
    """In one piece, as the encoder wants it; a few are quicker as a list."""
    flat: FloatArray = numbers.ravel()
    return flat.tolist() if len(flat) <= _FEW else flat


def _raw(part: Part, data: Any) -> bytes:
    return np.asarray(data, dtype="u1" if part.datatype == "BOOL" else "<f8").tobytes()
