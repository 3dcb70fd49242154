"""The kinds of events of a trace: one JSON line each, tagged by "e", times in integer unix ns.

A task has one `submitted`, and one `started` and one `finished` an *attempt* (counted from 1): an attempt that ended
`lost` is followed by the next, unless it was the last one. The last `finished` of a task stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

SCHEMA_VERSION = 1


class _Event(msgspec.Struct, kw_only=True, frozen=True, gc=False, tag_field="e"):
    """What every line has: `t`, unix ns."""

    t: int


class Opened(_Event, kw_only=True, frozen=True, gc=False, tag="opened"):
    """A driver opened the file: the anchors of its clock, and what the tasks run on."""

    schema_version: int = SCHEMA_VERSION
    host: str
    pid: int
    unix_ns: int
    monotonic_ns: int
    system: str
    engine: str
    slots: int
    resumed: bool


class Host(_Event, kw_only=True, frozen=True, gc=False, tag="host"):
    """A worker of another host joined: what, added to its monotonic clock (named), gives the time of this trace, and within what."""

    host: str
    clock: str
    offset_ns: int
    uncertainty_ns: int


class Submitted(_Event, kw_only=True, frozen=True, gc=False, tag="submitted"):
    """A task was asked for; `key` is the store key of a simulation, else empty."""

    task: int
    kind: str
    charge: str
    label: str
    cores: int
    key: str


class Started(_Event, kw_only=True, frozen=True, gc=False, tag="started"):
    """An attempt was handed to a slot."""

    task: int
    slot: str
    attempt: int


class Finished(_Event, kw_only=True, frozen=True, gc=False, tag="finished"):
    """An attempt ended; `started_ns` and `ended_ns` are worker-side, `reason` is one line, empty if `ok`."""

    task: int
    outcome: str
    slot: str
    started_ns: int
    ended_ns: int
    bytes_in: int
    bytes_out: int
    peak_memory_bytes: int
    attempt: int
    reason: str


class Decision(_Event, kw_only=True, frozen=True, gc=False, tag="decision"):
    """What was decided (ask, tell, reused, gate, stop, learned, closed ...): enough to replay."""

    decision: str
    data: Mapping[str, Any]


class Mark(_Event, kw_only=True, frozen=True, gc=False, tag="mark"):
    """A number from inside a task: epoch loss, progress. `task` 0 is the driver itself."""

    task: int
    name: str
    value: float


class Quality(_Event, kw_only=True, frozen=True, gc=False, tag="quality"):
    """Errors, with the store keys they came from."""

    name: str
    data: Mapping[str, Any]
    keys: list[str]


Event: TypeAlias = Opened | Host | Submitted | Started | Finished | Decision | Mark | Quality

_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode(line: bytes) -> Event | None:
    """The event of one line, or None if the line is torn or of a kind that this version does not know."""
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


ENCODER = msgspec.json.Encoder(enc_hook=_plain)
