"""What the driver says to the gateway of another system and to that system's workers, and what they say back.

    driver --Place--> gateway --the system's own submit--> worker        tasks, as parcels that the gateway does not open
    driver <--Came--- gateway <--the system's own result-- worker        results, the same way
    driver <==Started, Marked, Tock== worker <==Tick, Kill, Go== driver  a connection of its own, for what cannot wait

The frames are those of `_wire`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from mlforhpc.engines._wire import Answer, Marked


class Knock(msgspec.Struct, array_like=True, tag="knock"):
    """First word of whoever connects to the driver.

    Attributes:
        token: the campaign's secret.
        role: who it is.
        host, pid: where it runs.
        clock: which monotonic clock it reads: equal names, equal clocks.
        version: of this package.
    """

    token: str
    role: Literal["gateway", "worker"]
    host: str
    pid: int
    clock: str
    version: str


class Open(msgspec.Struct, array_like=True, tag="open"):
    """Driver -> gateway, once: start the system (options as JSON)."""

    module: str
    slots: int
    address: str
    options: str
    folder: str


class Up(msgspec.Struct, array_like=True, tag="up"):
    """Gateway -> driver, once: the system takes tasks; it has so many slots."""

    slots: int


class Fault(msgspec.Struct, array_like=True, tag="fault"):
    """Gateway -> driver: the system cannot be started, and why."""

    sentence: str


class Place(msgspec.Struct, array_like=True, tag="place"):
    """Driver -> gateway: hand this parcel to a worker."""

    number: int
    cores: int
    parcel: bytes


class Came(msgspec.Struct, array_like=True, tag="came"):
    """Gateway -> driver: what the worker made of a parcel."""

    number: int
    reply: bytes


class Gone(msgspec.Struct, array_like=True, tag="gone"):
    """Gateway -> driver: the system lost a parcel, and what it said."""

    number: int
    sentence: str


class Tick(msgspec.Struct, array_like=True, tag="tick"):
    """Driver -> worker: say what your monotonic clock shows."""


class Tock(msgspec.Struct, array_like=True, tag="tock"):
    """Worker -> driver: the answer."""

    monotonic_ns: int


class Aligned(msgspec.Struct, array_like=True, tag="aligned"):
    """Driver -> worker: add this to your monotonic clock to get the campaign's time; it may begin."""

    offset_ns: int


class Waiting(msgspec.Struct, array_like=True, tag="waiting"):
    """Worker -> driver: a slot holds a greeting."""


class Go(msgspec.Struct, array_like=True, tag="go"):
    """Driver -> worker: all slots are there; let the greetings go."""


class Kill(msgspec.Struct, array_like=True, tag="kill"):
    """Driver -> worker: end this task's process."""

    task: int


class Forgo(msgspec.Struct, array_like=True, tag="forgo"):
    """Driver -> worker: nobody wants the parcel with this number any more; do not begin it."""

    number: int


class Wanted(msgspec.Struct, array_like=True, tag="wanted"):
    """Worker -> driver: send me this shared file."""

    path: str


class Piece(msgspec.Struct, array_like=True, tag="piece"):
    """Driver -> worker: a piece of a shared file; an empty one is its end."""

    path: str
    data: bytes


class Forget(msgspec.Struct, array_like=True, tag="forget"):
    """Driver -> worker: this file is not shared any more."""

    path: str


class Began(msgspec.Struct, array_like=True, tag="started"):
    """Worker -> driver: a slot has taken this task of the parcel with this number."""

    number: int
    task: int
    slot: str


Heard: TypeAlias = Knock | Up | Fault | Came | Gone | Tock | Waiting | Wanted | Began | Marked
Told: TypeAlias = Open | Place | Tick | Aligned | Go | Kill | Forgo | Piece | Forget

HEARD: msgspec.msgpack.Decoder[Heard] = msgspec.msgpack.Decoder(Heard)
TOLD: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


class Site(msgspec.Struct, array_like=True, frozen=True):
    """Who sent a parcel: where the driver listens, its secret, its folder for large results, its version."""

    host: str
    port: int
    token: str
    folder: str
    version: str


class Parcel(msgspec.Struct, array_like=True):
    """A batch on its way through another system; without calls it is a greeting.

    Attributes:
        number: the driver's own.
        sys_path: where the driver imports from.
        calls: (task, reference, arguments) to run in order.
        functions: reference -> pickled bytes of those that a worker may not know yet.
        cores, ranks, isolated, limit_s: as in `core.task.Batch`.
        shared: paths of shared files that the calls name.
        shared_hosts: slots are on several hosts, each of which sees itself that a wide task has its cores.
    """

    site: Site
    number: int
    sys_path: list[str]
    calls: list[tuple[int, str, bytes]]
    functions: dict[str, bytes]
    shared: list[str]
    cores: int
    ranks: int
    isolated: bool
    limit_s: float | None
    shared_hosts: bool


class Reply(msgspec.Struct, array_like=True):
    """What became of a parcel: results in the order of the calls; or none, because the worker does not know these
    functions, or cannot work for us at all, and why."""

    slot: str = ""
    answers: list[Answer] = []
    unknown: list[str] = []
    problem: str = ""


PARCELS: msgspec.msgpack.Decoder[Parcel] = msgspec.msgpack.Decoder(Parcel)
REPLIES: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
PACK = msgspec.msgpack.Encoder()
