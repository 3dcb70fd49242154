"""`manifest.json` and `result.json` as documents: encoded, decoded and published from the types alone (msgspec).

encode(document) -> bytes          decode(data, ResultDocument) -> document, or ValueError with where and why
schema(ResultDocument) -> JSON Schema 2020-12, kept in docs/schema/
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from mlforhpc.core.manifest import MANIFEST_VERSION, Manifest
from mlforhpc.core.result import Result

RESULT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultDocument:
    """The content of `result.json`.

    Attributes:
        run_id: of the manifest beside it.
        result: what the benchmark returned.
        ended: when, ISO 8601 with offset.
        schema_version: of this file.
    """

    run_id: str
    result: Result
    ended: str = ""
    schema_version: int = RESULT_VERSION


D = TypeVar("D", Manifest, ResultDocument)


def encode(document: Manifest | ResultDocument) -> bytes:
    """Indented UTF-8 JSON with a final newline; a number that is not finite becomes null."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, kind: type[D]) -> D:
    """The document in `data`.

    Raises:
        ValueError: not JSON, not this document, or of a newer schema version than this package knows.
    """
    known = MANIFEST_VERSION if kind is Manifest else RESULT_VERSION
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("schema_version")
        if isinstance(version, int) and version > known:
            raise ValueError(f"it has schema version {version}, this package knows {known}: install a newer mlforhpc")
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def schema(kind: type[Manifest] | type[ResultDocument]) -> dict[str, Any]:
    """JSON Schema of a document, derived from its types; docstrings are dedented, which Python does by itself from 3.13 on."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    for definition in found["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return found
