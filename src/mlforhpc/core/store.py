"""The store contract: keeps what simulations returned. Acknowledged means on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from mlforhpc.core.record import Record


@runtime_checkable
class Store(Protocol):
    """Keeps records durably."""

    def put(self, record: Record) -> Future[None]:
        """Keep it; the future resolves when it is on disk (group commit), or raises StoreFull, StoreError.

        A second record of the same key is ignored: the first answer stands.
        """
        ...

    def get(self, key: str) -> Record | None:
        """The record, hash checked; None if there is none; StoreDamaged if it does not match."""
        ...

    def scan(self, simulation: str | None = None) -> Iterator[Record]:
        """All records (of one simulation), in the order of their acknowledgement, read in short pages."""
        ...

    def check(self) -> Sequence[str]:
        """A sentence for each damaged record; empty if all are whole."""
        ...

    def close(self) -> None:
        """Finish pending commits and release the files."""
        ...
