"""Records as bytes: a head (JSON, everything but the numbers) and a payload (the arrays' float64 values, end to end).

    hash = sha256(head), and the head holds sha256(payload): one hash vouches for the record, wherever its payload lies.

Plain JSON, and little-endian float64 that becomes a one-dimensional .npy when it is large: readable without this package.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy as np

from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import ANSWERS, Record
from mlforhpc.core.space import FloatArray

LARGE_BYTES = 64 * 1024
_PLAIN = ("key", "simulation", "version", "fidelity", "seed", "outcome", "reason", "limit_s", "cost_s", "system")
_NAMED = ("parameters", "settings", "checks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A record as it is stored.

    Attributes:
        key, simulation, version, outcome, cost_s: the columns of the index.
        head: JSON; holds `arrays` [[group, name, shape], ...], `sha256` of the payload, and whether it is in a `file`.
        hash: sha256 of the head.
        payload: float64 values, in a file with a .npy header before them.
        sha256: hex digest of the payload; the name of its file.
        in_file: the payload is larger than LARGE_BYTES.
        size_bytes: of head and payload.
    """

    key: str
    simulation: str
    version: str
    outcome: str
    cost_s: float
    head: bytes
    hash: bytes
    payload: bytes
    sha256: str
    in_file: bool
    size_bytes: int


def encode(record: Record) -> Encoded:
    """The record as bytes, or `UsageError` if it is none that a store keeps."""
    if record.outcome not in ANSWERS:
        raise UsageError(
            f"A store keeps the outcomes {', '.join(ANSWERS)}, found '{record.outcome}' for simulation '{record.simulation}': "
            "it says nothing about the simulation, so run it again."
        )
    if not math.isfinite(record.cost_s):
        raise UsageError(f"The cost of a record must be a finite number of seconds, found {record.cost_s}.")
    arrays, payload = _payload(record)
    in_file = len(payload) > LARGE_BYTES
    if in_file:
        payload = _npy_header(len(payload) // 8) + payload
    sha256 = hashlib.sha256(payload).hexdigest()
    head = _head(record, {"arrays": arrays, "sha256": sha256, "file": in_file})
    return Encoded(
        key=record.key,
        simulation=record.simulation,
        version=record.version,
        outcome=record.outcome,
        cost_s=float(record.cost_s),
        head=head,
        hash=hashlib.sha256(head).digest(),
        payload=payload,
        sha256=sha256,
        in_file=in_file,
        size_bytes=len(head) + len(payload),
    )


def decode(fields: dict[str, Any], payload: bytes | bytearray | mmap) -> Record:
    """The record of a parsed head and its payload (whose hashes were compared before); its arrays are writable."""
    sizes = [math.prod(shape) for _, _, shape in fields["arrays"]]
    values = bytearray(payload) if isinstance(payload, bytes) else payload
    flat = np.frombuffer(values, dtype="<f8", count=sum(sizes), offset=len(values) - 8 * sum(sizes))
    groups: dict[str, dict[str, FloatArray]] = {"outputs": {}, "standard_errors": {}}
    start = 0
    for (group, name, shape), size in zip(fields["arrays"], sizes, strict=True):
        groups[group][name] = flat[start : start + size].reshape(shape)
        start += size
    plain = {name: fields[name] for name in (*_PLAIN, *_NAMED)}
    return Record(outputs=groups["outputs"], standard_errors=groups["standard_errors"], **plain)


def _payload(record: Record) -> tuple[list[tuple[str, str, tuple[int, ...]]], bytes]:
    arrays, chunks = [], []
    for group, named in (("outputs", record.outputs), ("standard_errors", record.standard_errors)):
        for name, value in named.items():
            try:
                array = np.asarray(value).astype("<f8", casting="safe", copy=False)
            except (TypeError, ValueError):
                raise UsageError(f"'{name}' of simulation '{record.simulation}' must be real numbers to be stored.") from None
            arrays.append((group, name, array.shape))
            chunks.append(array.tobytes())
    return arrays, b"".join(chunks)


def _npy_header(count: int) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (count,)})
    return buffer.getvalue()


def _head(record: Record, more: dict[str, object]) -> bytes:
    fields = {name: getattr(record, name) for name in _PLAIN} | {name: dict(getattr(record, name)) for name in _NAMED}
    try:
        return json.dumps(fields | more, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"A record of simulation '{record.simulation}' must hold numbers and text only: {error}.") from None


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"found {type(value).__name__}")
