"""Reads a run folder: manifest.json, result.json and events.jsonl, as they were written; needs no engine and no simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlforhpc.core import trace
from mlforhpc.core.document import ResultDocument, decode
from mlforhpc.core.errors import UsageError
from mlforhpc.core.manifest import Manifest
from mlforhpc.core.result import Result

D = TypeVar("D", Manifest, ResultDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A finished run.

    Attributes:
        path: of the folder.
        manifest: what ran, where.
        document: what it gave, and when it ended.
    """

    path: Path
    manifest: Manifest
    document: ResultDocument

    @property
    def result(self) -> Result:
        """What the benchmark returned."""
        return self.document.result

    @property
    def name(self) -> str:
        """Short name for tables: benchmark, size and seed."""
        return f"{self.manifest.benchmark} {self.manifest.size} seed {self.manifest.seed}"

    def events(self) -> Iterator[trace.Event]:
        """The trace; empty where the folder has none."""
        path = self.path / "events.jsonl"
        return iter(trace.read(path)) if path.exists() else iter(())


def read(path: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        UsageError: no run folder, a run that did not end, a damaged file, or one of a newer schema version.
    """
    if not path.is_dir():
        raise UsageError(f"'{path}' is no run folder: there is no such folder. Give a folder that `mlforhpc run` made, below runs/.")
    if not (path / "manifest.json").exists():
        raise UsageError(f"'{path}' is no run folder: it has no manifest.json. Give a folder that `mlforhpc run` made, below runs/.")
    if not (path / "result.json").exists():
        raise UsageError(f"The run in '{path}' has not ended: it has no result.json. Go on with: mlforhpc run --resume {path}")
    manifest, document = _document(path / "manifest.json", Manifest), _document(path / "result.json", ResultDocument)
    if manifest.run_id != document.run_id:
        raise UsageError(
            f"The files in '{path}' belong to two runs: manifest.json is of '{manifest.run_id}', result.json of '{document.run_id}'."
        )
    return RunFolder(path=path, manifest=manifest, document=document)


def _document(path: Path, kind: type[D]) -> D:
    try:
        return decode(path.read_bytes(), kind)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {error}.") from None
