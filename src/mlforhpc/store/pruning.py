"""Prune: the one way in which acknowledged records go, and only those that were asked for, the oldest first.

    rows, a hundred a transaction -> array files that no row uses any more -> VACUUM, or free pages in short steps -> the log

After each step the store is sound, and between steps others write; what a killed prune left to do, the next one does.
Source of what SQLite does with space: sqlite.org/lang_vacuum.html, pragma.html (auto_vacuum).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import ANSWERS
from mlforhpc.store.arrays import ArrayFiles
from mlforhpc.store.budget import Budget, empty_log, pages_bytes
from mlforhpc.store.commits import GroupCommit, transaction
from mlforhpc.store.index import PAGE_ROWS, Index, Row
from mlforhpc.store.verification import verified_head

_OUTLINE = (
    "SELECT id, key, simulation, version, outcome, cost_s, hash, CASE WHEN payload IS NULL THEN head END, NULL, size_bytes"
    " FROM record WHERE id > ? ORDER BY id LIMIT ?"
)
_STEP_ROWS, _STEP_BYTES = 100, 256 << 10  # its log is longer than what it deletes, and disks are full when people prune
_STEP_PAGES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records may go: those that meet all that is said.

    Attributes:
        simulation, version, outcome: of the record; None = any.
        old_versions: only records of another version than the newest record of their simulation.
        down_to_bytes: the oldest of them, until the store takes no more than this; None = all of them.
    """

    simulation: str | None = None
    version: str | None = None
    outcome: str | None = None
    old_versions: bool = False
    down_to_bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.old_versions and (self.simulation, self.version, self.outcome, self.down_to_bytes) == (None,) * 4:
            raise UsageError("Say what may go: a simulation, a version, old versions, an outcome, or down to which size.")
        if self.outcome is not None and self.outcome not in ANSWERS:
            raise UsageError(f"A store keeps the outcomes {', '.join(ANSWERS)}, found '{self.outcome}'.")
        if self.down_to_bytes is not None and self.down_to_bytes < 0:
            raise UsageError(f"A size is 0 bytes or more, found {self.down_to_bytes}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedLine:
    """Records of one kind that went, or would go."""

    simulation: str
    version: str
    outcome: str
    records: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went, or would go.

    Attributes:
        dry_run: nothing went.
        lines: by simulation, version and outcome.
        array_files: that no record uses any more.
        before_bytes, after_bytes: that the store takes (a dry run estimates the latter).
    """

    dry_run: bool
    lines: tuple[PrunedLine, ...]
    array_files: int
    before_bytes: int
    after_bytes: int

    @property
    def records(self) -> int:
        return sum(line.records for line in self.lines)


class _Candidate(NamedTuple):
    """A record that may go; `file_bytes` of its array file `sha256`, if it has one."""

    id: int
    hash: bytes
    kind: tuple[str, str, str]
    row_bytes: int
    file_bytes: int
    sha256: str


@dataclass(slots=True)
class _Plan:
    """What may go, oldest first, and what that frees.

    Attributes:
        candidates: that have not gone.
        users: sha256 of an array file -> how many records use it.
        array_bytes: of array files that still have a user.
        index_bytes: of the index without what has gone.
        index_share: bytes of the index for a byte of a row.
    """

    candidates: deque[_Candidate]
    users: Counter[str]
    array_bytes: int
    index_bytes: float
    index_share: float

    @property
    def left_bytes(self) -> int:
        return int(self.index_bytes) + self.array_bytes

    def take(self, down_to_bytes: int | None) -> list[_Candidate]:
        """The next candidates: all, or until what is left fits."""
        taken: list[_Candidate] = []
        while self.candidates and (down_to_bytes is None or self.left_bytes > down_to_bytes):
            taken.append(candidate := self.candidates.popleft())
            self.index_bytes -= self.index_share * candidate.row_bytes
            if candidate.sha256:
                self.users[candidate.sha256] -= 1
                self.array_bytes -= 0 if self.users[candidate.sha256] else candidate.file_bytes
        return taken


def prune(commits: GroupCommit, budget: Budget, index: Index, arrays: ArrayFiles, folder: Path, *, of: Selection, dry_run: bool) -> Pruned:
    """See `FolderStore.prune`."""
    with commits.alone() as connection:
        if not dry_run:
            empty_log(connection)  # on a disk that is nearly full, its space is what the first step needs
        live_bytes, before_bytes = _live_bytes(connection), pages_bytes(connection) + arrays.total_bytes()
    plan = _planned(index, folder, of, live_bytes)
    gone = plan.take(of.down_to_bytes)
    if dry_run:
        unused = sum(not plan.users[file.stem] for file in arrays.files())
        return Pruned(dry_run=True, lines=_lines(gone), array_files=unused, before_bytes=before_bytes, after_bytes=plan.left_bytes)
    taken, unused = gone, 0
    while True:
        _delete(commits, taken)
        unused += _sweep(commits, budget, index, arrays, folder)
        plan.index_bytes = _give_back(commits, folder)
        if of.down_to_bytes is None or not (taken := plan.take(of.down_to_bytes)):
            break
        gone += taken  # the rows' shares of the index were smaller than reckoned
    return Pruned(dry_run=False, lines=_lines(gone), array_files=unused, before_bytes=before_bytes, after_bytes=plan.left_bytes)


def _planned(index: Index, folder: Path, of: Selection, live_bytes: int) -> _Plan:
    found: deque[_Candidate] = deque()
    users: Counter[str] = Counter()
    files: dict[str, int] = {}
    newest: dict[str, str] = {}
    row_bytes = 0
    for row, size_bytes in _outline(index):
        sha256 = "" if row.head is None else json.loads(verified_head(row, folder))["sha256"]
        file_bytes = size_bytes - len(cast(bytes, row.head)) if sha256 else 0
        if sha256:
            users[sha256] += 1
            files[sha256] = file_bytes
        row_bytes += size_bytes - file_bytes
        newest[row.simulation] = row.version
        if all(wanted in (None, value) for wanted, value in zip((of.simulation, of.version, of.outcome), row[2:5], strict=True)):
            found.append(_Candidate(row.id, cast(bytes, row.hash), row[2:5], size_bytes - file_bytes, file_bytes, sha256))
    if of.old_versions:
        found = deque(candidate for candidate in found if candidate.kind[1] != newest[candidate.kind[0]])
    return _Plan(found, users, sum(files.values()), live_bytes, live_bytes / max(1, row_bytes))


def _outline(index: Index) -> Iterator[tuple[Row, int]]:
    """Every row and its size, in short pages; `head` only where the numbers are in a file, no payloads."""
    after = 0
    while page := index.ask(_OUTLINE, (after, PAGE_ROWS)):
        for *fields, size_bytes in page:
            row = Row(*fields)  # type: ignore[arg-type]
            yield row, cast(int, size_bytes)
            after = row.id


def _delete(commits: GroupCommit, taken: list[_Candidate]) -> None:
    """In short transactions; an id that has another record by now is left alone."""
    step: list[tuple[int, bytes]] = []
    step_bytes = 0
    for i, candidate in enumerate(taken, 1):
        step.append((candidate.id, candidate.hash))
        step_bytes += candidate.row_bytes
        if step_bytes >= _STEP_BYTES or len(step) >= _STEP_ROWS or i == len(taken):
            with commits.alone() as connection, transaction(connection):
                connection.executemany("DELETE FROM record WHERE id = ? AND hash = ?", step)
            step, step_bytes = [], 0


def _sweep(commits: GroupCommit, budget: Budget, index: Index, arrays: ArrayFiles, folder: Path) -> int:
    """Delete the array files that no record uses. Nobody commits meanwhile, so none comes into use."""
    if next(arrays.files(), None) is None:
        return 0
    with commits.alone():
        used = {json.loads(verified_head(row, folder))["sha256"] for row, _ in _outline(index) if row.head is not None}
        unused = [file for file in arrays.files() if file.stem not in used]
        for file in unused:
            file.unlink()
        budget.recount()
    return len(unused)


def _give_back(commits: GroupCommit, folder: Path) -> int:
    """Cut the index to what is in use; its bytes.

    Where the disk has room for a copy, the index is rewritten without gaps, in one step. Else free pages go in short steps, and pages that
    are partly filled stay.
    """
    with commits.alone() as connection:
        roomy = shutil.disk_usage(folder).free > 3 * _live_bytes(connection)
        with suppress(sqlite3.OperationalError):  # the temporary folder is too small, say
            if roomy:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # an index from before that has it from now on
                connection.execute("VACUUM")
    last, free = -1, 0
    while free != last:
        with commits.alone() as connection:
            connection.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()  # a row is a page: all of them, or it stops
            last, free = free, connection.execute("PRAGMA freelist_count").fetchone()[0]
    with commits.alone() as connection:
        empty_log(connection)
        return pages_bytes(connection)


def _live_bytes(connection: sqlite3.Connection) -> int:
    """Of the index's pages that are in use."""
    (free,), (size,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("freelist_count", "page_size"))
    return pages_bytes(connection) - int(free) * int(size)


def _lines(gone: list[_Candidate]) -> tuple[PrunedLine, ...]:
    records: Counter[tuple[str, str, str]] = Counter()
    sizes: Counter[tuple[str, str, str]] = Counter()
    for candidate in gone:
        records[candidate.kind] += 1
        sizes[candidate.kind] += candidate.row_bytes + candidate.file_bytes
    return tuple(
        PrunedLine(simulation=kind[0], version=kind[1], outcome=kind[2], records=records[kind], size_bytes=sizes[kind])
        for kind in sorted(records)
    )
