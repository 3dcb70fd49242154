"""Batches as parcels, and what comes back as results. A function that travels by value goes along until every worker has it."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from mlforhpc.core.task import Batch, Call
from mlforhpc.engines._messages import PACK, Parcel, Site

_MOST_FUNCTIONS = 500
_SMALL_BYTES = 4096  # not worth remembering who has it


class Parcels:
    """Packs for one campaign.

    Args:
        site: where the driver is.
        slots: how many workers have to know a function before it stays at home.
        elsewhere: they may be on several hosts.

    Attributes:
        lent: shared files, whose names say which parcels need them.
    """

    def __init__(self, site: Site, slots: int, elsewhere: bool) -> None:
        self.lent: set[Path] = set()
        self._elsewhere = elsewhere
        self._site = site
        self._slots = slots
        self._knowing: defaultdict[str, set[str]] = defaultdict(set)

    def pack(self, number: int, batch: Batch, calls: list[Call], *, whole: bool = False) -> bytes:
        """These calls of a batch (none: a greeting); `whole` brings every function along."""
        functions = {
            call.function.reference: call.function.pickled
            for call in calls
            if call.function.pickled and (whole or self._travels(call.function.reference, call.function.pickled))
        }
        asked = [(call.task, call.function.reference, call.arguments) for call in calls]
        shared = [str(path) for path in self.lent if any(path.name.encode() in call.arguments for call in calls)]
        isolated = batch.isolated or not batch.quick  # a child of its own: it can be killed alone
        how = (batch.cores, batch.ranks, isolated, batch.limit_s, self._elsewhere)
        return PACK.encode(Parcel(self._site, number, sys.path, asked, functions, shared, *how))

    def learned(self, slot: str, calls: list[Call]) -> None:
        """A worker has run these."""
        if len(self._knowing) > _MOST_FUNCTIONS:
            self._knowing.clear()
        for call in calls:
            if call.function.pickled and len(call.function.pickled) > _SMALL_BYTES:
                self._knowing[call.function.reference].add(slot)

    def _travels(self, reference: str, pickled: bytes) -> bool:
        return len(pickled) <= _SMALL_BYTES or len(self._knowing.get(reference, ())) < self._slots
