"""How to get at another system, and where its workers find the driver."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOOPBACK = "127.0.0.1"


def reachable(peer: str = "") -> str:
    """The address of this machine that another one sees: on the way to `peer` ("tcp://host:port"), or on the way out."""
    host = peer.rpartition("//")[2].rpartition(":")[0] or peer
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:  # nothing is sent: connecting picks the interface
        try:
            way.connect((host or "192.0.2.1", 9))
        except OSError:
            return LOOPBACK
        address: str = way.getsockname()[0]
        return address


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to get at another system.

    Attributes:
        name: of the engine.
        module: the adapter, with `connect(slots, address, folder, **options)`.
        slots, address, options: for `connect`.
        launcher: words before the gateway's command (MPI: what starts the ranks).
        host: where workers find the driver; empty = the loopback interface if they are all on this machine, else the one that
            leads to the address, or out.
        elsewhere: workers may be on other machines.
        patient: workers come when an allocation starts, which may take hours: one of them is enough to begin with.
        start_s: how long the system may take to be there.
    """

    name: str
    module: str
    slots: int
    address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    host: str = ""
    elsewhere: bool = False
    patient: bool = False
    start_s: float = 120.0
