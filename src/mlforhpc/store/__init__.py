"""Stores: records on disk, whole or named as damaged; see docs/guides/store.md.

    with FolderStore.open("answers") as store:
        store.put(record).result()
        store.get(record.key)
When `put`'s future resolves the record is on disk; what `get` returns was compared with its hash.
"""

from mlforhpc.store.budget import Usage
from mlforhpc.store.export import export
from mlforhpc.store.folder import FolderStore
from mlforhpc.store.pruning import Pruned
from mlforhpc.store.selecting import Page
from mlforhpc.store.summary import SimulationSummary, summary

__all__ = ["FolderStore", "Page", "Pruned", "SimulationSummary", "Usage", "export", "summary"]
