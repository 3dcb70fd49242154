"""Requests of the Open Inference Protocol v2 as points: JSON tensors, and those of the binary extension behind the JSON.

    body = JSON (its length in the header Inference-Header-Content-Length) + raw tensors, in order, little-endian, row by row;
    a BYTES tensor is a 4-byte length and that many bytes for each element
Nothing here trusts a number in the request: sizes must agree with each other before anything of that size is made.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlforhpc.core.errors import OutOfBounds, UsageError
from mlforhpc.core.names import suggestion
from mlforhpc.core.space import Choice, FloatArray, Integer, Parameter, Space

Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Column: TypeAlias = "Sequence[float] | NDArray[Any]"


class Tensor(msgspec.Struct, gc=False):
    """An input: its data here, or behind the JSON if `parameters` has a `binary_data_size`."""

    name: str
    shape: list[Size]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: dict[str, Any] | None = None


class Wish(msgspec.Struct, gc=False):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class Request(msgspec.Struct, gc=False):
    """The JSON of an inference."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wish] | None = None
    parameters: dict[str, Any] | None = None


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """The input tensor of one parameter."""

    name: str
    datatype: str
    options: dict[str, int] | None = None


_REQUEST = msgspec.json.Decoder(Request)
_FLAT: Mapping[str, msgspec.json.Decoder[Any]] = {
    "FP64": msgspec.json.Decoder(list[float]),
    "INT64": msgspec.json.Decoder(list[Whole]),
    "BYTES": msgspec.json.Decoder(list[str]),
}
_NESTED: Mapping[str, msgspec.json.Decoder[Any]] = {
    "FP64": msgspec.json.Decoder(list[list[float]]),
    "INT64": msgspec.json.Decoder(list[list[Whole]]),
    "BYTES": msgspec.json.Decoder(list[list[str]]),
}
_ONE = ([1, 1], [1])
_WORDS = {"FP64": "numbers", "INT64": "whole numbers", "BYTES": "texts"}
_DTYPES = {"FP64": "<f8", "INT64": "<i8"}
_LENGTH = struct.Struct("<I")


def wanted(space: Space) -> dict[str, Wanted]:
    """The input tensors of a space, by name: FP64 for a number, INT64 for a whole one, BYTES for a choice."""
    return {name: _wanted(name, parameter) for name, parameter in space.parameters.items()}


def _wanted(name: str, parameter: Parameter) -> Wanted:
    if isinstance(parameter, Choice):
        return Wanted(name, "BYTES", {option: i for i, option in enumerate(parameter.options)})
    return Wanted(name, "INT64" if isinstance(parameter, Integer) else "FP64")


def request_of(body: bytes, header_length: int | None) -> tuple[Request, memoryview]:
    """The JSON of a body, and what lies behind it.

    Raises:
        UsageError: it is no such JSON, or the header's length is none of this body.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise UsageError(f"Inference-Header-Content-Length must be the length of the JSON in a body of {len(body)} bytes: {header_length}.")
    whole = memoryview(body)
    try:
        return _REQUEST.decode(body if header_length is None else whole[:header_length]), whole[
            len(body) :
        ] if header_length is None else whole[header_length:]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"The request is no JSON of an inference (Open Inference Protocol v2): {error}.") from None
    except RecursionError:
        raise UsageError("The request is no JSON of an inference: it is nested too deeply.") from None


def points(inputs: Sequence[Tensor], wants: Mapping[str, Wanted], rest: memoryview, *, most: int) -> FloatArray:
    """The points of a request in physical units (n, d); choices stand as the index of their option.

    Args:
        inputs: of the request.
        wants: what the model takes.
        rest: the binary tensors, one after another.
        most: rows that may be asked for.

    Raises:
        UsageError: with what was wanted and what was found.
    """
    if not rest and (row := _one(inputs, wants)) is not None:
        return row
    columns: dict[str, Column] = {}
    rows, begin = -1, 0
    for tensor in inputs:
        want = wants.get(tensor.name)
        if want is None or tensor.name in columns:
            raise _unknown_or_twice(tensor.name, wants)
        n = _rows(tensor, want, most)
        if rows not in (-1, n):
            raise UsageError(f"All inputs must have the same number of rows; found {rows} and, in '{tensor.name}', {n}.")
        rows = n
        size = _binary_size(tensor)
        if size is None:
            columns[tensor.name] = _from_json(tensor, want, n)
        else:
            columns[tensor.name] = _from_binary(rest[begin : begin + size], size, want, n)
            begin += size
    if begin != len(rest):
        raise UsageError(f"The binary inputs take {begin} bytes by their binary_data_size; found {len(rest)} behind the JSON.")
    if len(columns) < len(wants):
        missing = next(name for name in wants if name not in columns)
        raise UsageError(f"Input '{missing}' is missing; this model takes {', '.join(wants)}.")
    columns_first = np.array([columns[name] for name in wants], dtype=float)  # (d, n)
    return np.ascontiguousarray(columns_first.T)  # (n, d), as in the library, so that the digits are the same


def _one(inputs: Sequence[Tensor], wants: Mapping[str, Wanted]) -> FloatArray | None:
    """The one point (1, d) of a request in plain JSON whose inputs stand in the model's order; None for every other request."""
    row: list[float] = []
    if len(inputs) != len(wants):
        return None
    for tensor, want in zip(inputs, wants.values(), strict=True):
        if tensor.name != want.name or tensor.datatype != want.datatype or tensor.parameters is not None or tensor.shape not in _ONE:
            return None
        try:
            (value,) = _FLAT[want.datatype].decode(tensor.data)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return None
        if want.options is not None:
            value = want.options.get(value)
            if value is None:
                return None
        row.append(value)
    return np.array([row], dtype=float)


def _rows(tensor: Tensor, want: Wanted, most: int) -> int:
    if tensor.datatype != want.datatype:
        raise UsageError(f"Input '{tensor.name}' must have the datatype {want.datatype}, found {brief(tensor.datatype)}.")
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 1:
        raise UsageError(f"Input '{tensor.name}' must have the shape [n, 1], n at least 1, found {brief(shape)}.")
    if shape[0] > most:
        raise UsageError(f"An inference may ask for {most} rows, found {shape[0]}; ask in several requests.")
    return shape[0]


def _binary_size(tensor: Tensor) -> int | None:
    """Bytes behind the JSON; None if the data are within."""
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise UsageError(f"Input '{tensor.name}': binary_data_size must be a number of bytes, found {brief(size)}.")
    if len(tensor.data):
        raise UsageError(f"Input '{tensor.name}' has both data and a binary_data_size; send one of the two.")
    return size


def _from_json(tensor: Tensor, want: Wanted, n: int) -> Column:
    if not len(tensor.data):
        raise UsageError(f"Input '{tensor.name}' has neither data nor a binary_data_size.")
    try:
        values = _FLAT[want.datatype].decode(tensor.data)
    except UnicodeDecodeError as error:
        raise UsageError(f"The data of input '{tensor.name}' must be UTF-8: {error}.") from None
    except msgspec.MsgspecError:
        values = _flattened(tensor, want)
    if len(values) != n:
        raise UsageError(f"Input '{tensor.name}' of shape {tensor.shape} must have {n} values, found {len(values)}.")
    return values if want.options is None else _indices(want, values)


def _flattened(tensor: Tensor, want: Wanted) -> list[Any]:
    """The data as a list a row, [[1.0], [2.0]]."""
    try:
        nested = _NESTED[want.datatype].decode(tensor.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The data of input '{tensor.name}' must be {_WORDS[want.datatype]}, [1, 2] or [[1], [2]]: {error}.") from None
    if any(len(row) != 1 for row in nested):
        raise UsageError(f"The data of input '{tensor.name}' must be flat or have one value a row, as its shape is [n, 1].")
    return [row[0] for row in nested]


def _from_binary(part: memoryview, size: int, want: Wanted, n: int) -> Column:
    if len(part) != size:
        raise UsageError(f"Input '{want.name}' is said to have {size} bytes; found {len(part)} behind the JSON.")
    if want.options is not None:
        return _indices(want, _texts(part, want.name, n))
    if size != 8 * n:
        raise UsageError(f"Input '{want.name}' must have {8 * n} bytes, {n} x {want.datatype}, found {size}.")
    return np.frombuffer(part, dtype=_DTYPES[want.datatype])


def _texts(part: memoryview, name: str, n: int) -> list[str]:
    """The elements of a BYTES tensor; their number and the tensor's length must come out even."""
    texts: list[str] = []
    at = 0
    try:
        while at < len(part) and len(texts) <= n:
            (length,) = _LENGTH.unpack_from(part, at)
            at += 4 + length
            if at > len(part):
                raise UsageError(f"Input '{name}': element {len(texts)} is said to have {length} bytes, more than the tensor has left.")
            texts.append(str(part[at - length : at], "utf-8"))
    except (struct.error, UnicodeDecodeError):
        raise UsageError(f"Input '{name}': element {len(texts)} is no 4-byte length with that many bytes of UTF-8.") from None
    if len(texts) != n:
        raise UsageError(f"Input '{name}' must have {n} elements, found {'more' if len(texts) > n else len(texts)}.")
    return texts


def _indices(want: Wanted, values: Sequence[str]) -> list[float]:
    options = want.options or {}
    try:
        return [options[value] for value in values]
    except KeyError:
        i, value = next((i, value) for i, value in enumerate(values) if value not in options)
        near = suggestion(value[:100], options)
        raise OutOfBounds(f"Parameter '{want.name}' must be one of {', '.join(options)}, found {brief(value)} in row {i}.{near}") from None


def _unknown_or_twice(name: str, wants: Mapping[str, Wanted]) -> UsageError:
    if name in wants:
        return UsageError(f"Input '{name}' was given twice.")
    return UsageError(f"Unknown input {brief(name)}; this model takes {', '.join(wants)}.{suggestion(name[:100], wants)}")


def to_bytes(texts: Sequence[str]) -> bytes:
    """A BYTES tensor in binary."""
    encoded = [text.encode() for text in texts]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def brief(value: object) -> str:
    """A value as it may stand in a sentence, whatever its size."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."
