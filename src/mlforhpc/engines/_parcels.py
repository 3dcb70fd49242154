"""Batches as parcels, and what comes back as results. A function that travels by value goes along until every worker has it."""

from __future__ import annotations

import sys
from collections import defaultdict

from mlforhpc.core.task import Batch, Call
from mlforhpc.engines._messages import PACK, Parcel, Site

_SMALL_BYTES = 4096  # not worth remembering who has it


class Parcels:
    """Packs for one campaign.

    Args:
        site: where the driver is.
        slots: how many workers have to know a function before it stays at home.
    """

    def __init__(self, site: Site, slots: int) -> None:
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
        isolated = batch.isolated or not batch.quick  # a child of its own: it can be killed alone
        return PACK.encode(Parcel(self._site, number, sys.path, asked, functions, batch.cores, isolated, batch.limit_s))

    def learned(self, slot: str, calls: list[Call]) -> None:
        """A worker has run these."""
        for call in calls:
            if call.function.pickled and len(call.function.pickled) > _SMALL_BYTES:
                self._knowing[call.function.reference].add(slot)

    def _travels(self, reference: str, pickled: bytes) -> bool:
        return len(pickled) <= _SMALL_BYTES or len(self._knowing.get(reference, ())) < self._slots
