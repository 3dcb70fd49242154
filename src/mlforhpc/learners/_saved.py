"""Surrogates on disk: one safetensors file, arrays plus JSON metadata, named by a hash of its content; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mlforhpc.core.errors import StoreDamaged, UsageError
from mlforhpc.core.simulation import Output
from mlforhpc.core.space import Choice, FloatArray, Integer, Real, Space

SCHEMA_VERSION = 2
"""Of metadata and arrays together: docs/surrogate-format.md lists them."""


def content_hash(metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> str:
    """sha256 in hex of metadata and arrays, whatever their order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], dtype="<f8", order="C")
        digest.update(f"\n{name}{array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write(path: Path, metadata: Mapping[str, Any], arrays: Mapping[str, FloatArray]) -> None:
    """Write next to `path`, then rename: a reader finds the old file or the new one, never a part."""
    path = Path(path)
    content = {"metadata": metadata, "sha256": content_hash(metadata, arrays)}
    header = {"mlforhpc": json.dumps(content, sort_keys=True)}  # one entry: safetensors keeps no order of several
    data = save({name: np.asarray(array, dtype="<f8", order="C") for name, array in arrays.items()}, header)
    replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """The file's content from now on, after a sync; a reader finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def describe(learner: str, space: Space, outputs: Sequence[Output], card: Mapping[str, str | float]) -> dict[str, Any]:
    """Metadata of a surrogate."""
    return {
        "schema_version": SCHEMA_VERSION,
        "learner": learner,
        "space": space_to_json(space),
        "outputs": [output_to_json(o) for o in outputs],
        "card": dict(card),
    }


def described(metadata: dict[str, Any]) -> dict[str, Any]:
    """What `describe` was told: space, outputs and card."""
    outputs = tuple(output_from_json(row) for row in metadata["outputs"])
    return {"space": space_from_json(metadata["space"]), "outputs": outputs, "card": metadata["card"]}


def read(path: Path, learner: str) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Metadata and arrays of a file that `write` made.

    Raises:
        UsageError: no such file, no surrogate of this learner, or of another schema.
        StoreDamaged: the content does not match its hash.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"A surrogate was to be loaded from '{path}', but there is no such file.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except SafetensorError as error:
        raise StoreDamaged(f"'{path}' is not a complete safetensors file ({error}); fit and save the surrogate again.") from None
    if "mlforhpc" not in header:
        raise UsageError(f"'{path}' is a safetensors file, but not a surrogate saved by mlforhpc.")
    try:
        content = json.loads(header["mlforhpc"])
        metadata = content["metadata"]
        whole = content_hash(metadata, arrays) == content["sha256"] and json.dumps(content, sort_keys=True) == header["mlforhpc"]
    except (ValueError, KeyError, TypeError):
        metadata, whole = {}, False
    if not whole:
        raise StoreDamaged(f"'{path}' was changed after it was saved: its content does not match its hash; fit and save it again.")
    found = metadata.get("schema_version")
    if found != SCHEMA_VERSION:
        way_out = "fit and save it again" if isinstance(found, int) and found < SCHEMA_VERSION else "update mlforhpc"
        raise UsageError(f"'{path}' has schema version {found}, and this mlforhpc reads {SCHEMA_VERSION}; {way_out}.")
    if metadata.get("learner") != learner:
        raise UsageError(f"'{path}' holds a surrogate of learner '{metadata.get('learner')}', wanted '{learner}'.")
    return metadata, arrays


def space_to_json(space: Space) -> list[dict[str, Any]]:
    """One object a parameter, in order."""
    rows: list[dict[str, Any]] = []
    for name, p in space.parameters.items():
        if isinstance(p, Choice):
            rows.append({"name": name, "kind": "choice", "options": list(p.options), "unit": p.unit})
        elif isinstance(p, Integer):
            rows.append({"name": name, "kind": "integer", "low": p.low, "high": p.high, "unit": p.unit})
        else:
            rows.append({"name": name, "kind": "real", "low": p.low, "high": p.high, "log": p.log, "unit": p.unit})
    return rows


def space_from_json(rows: list[dict[str, Any]]) -> Space:
    """The inverse of `space_to_json`."""
    parameters: dict[str, Real | Integer | Choice] = {}
    for row in rows:
        if row["kind"] == "choice":
            parameters[row["name"]] = Choice(tuple(row["options"]), unit=row["unit"])
        elif row["kind"] == "integer":
            parameters[row["name"]] = Integer(row["low"], row["high"], unit=row["unit"])
        else:
            parameters[row["name"]] = Real(row["low"], row["high"], log=row["log"], unit=row["unit"])
    return Space(parameters)


def output_to_json(output: Output) -> dict[str, Any]:
    """All attributes of an output."""
    return {
        "name": output.name,
        "shape": list(output.shape),
        "unit": output.unit,
        "scale": output.scale,
        "scale_floor": output.scale_floor,
        "derived": output.derived,
    }


def output_from_json(row: dict[str, Any]) -> Output:
    """The inverse of `output_to_json`."""
    return Output(**{**row, "shape": tuple(row["shape"])})
