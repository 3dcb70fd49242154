"""A job and its files: `jobs/<id>.json` says what was asked and how far it is, `jobs/<id>.result.json` what came out.

A file is written aside, synced, renamed, and its folder synced before anybody is told; so a job that was acknowledged is there after a
crash at any moment, and is begun again (the store repeats no finished run). An id is random and has one form, which is checked before
anything is looked up; no text of a client ever becomes part of a path.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]
Source: TypeAlias = Literal["simulation", "auto"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
_ID = re.compile(r"[0-9a-f]{32}")
_RESULT = ".result.json"


class Job(msgspec.Struct, kw_only=True):
    """What was asked and how far it is.

    Attributes:
        id: 32 hexadecimal digits.
        number: counts the jobs of a service; they are begun in this order.
        model: name of the simulation.
        x: the points asked for.
        source: "simulation": each point is simulated (or comes from the store); "auto": the surrogate answers where it is sure.
        tolerance: asked for; None = the service's own.
        state: a failed job has an answer for some of its points only, or none.
        sentence: why it failed, else empty.
        points_done: points that have an answer or an error.
        points_failed: points that have an error.
        marks: last value of each number that its running simulations marked.
        submitted_unix_s, started_unix_s, ended_unix_s: when.
    """

    id: str = ""
    number: int = 0
    model: str
    x: list[dict[str, float | int | str]]
    source: Source = "simulation"
    tolerance: float | None = None
    state: State = "queued"
    sentence: str = ""
    points_done: int = 0
    points_failed: int = 0
    marks: dict[str, float] = {}
    submitted_unix_s: float = 0.0
    started_unix_s: float | None = None
    ended_unix_s: float | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in ENDED


class Progress(msgspec.Struct, kw_only=True):
    """How far a job is: points; those that have an answer or an error; those that have an error; the last value of each mark."""

    points: int
    done: int
    failed: int
    marks: dict[str, float]


class JobView(msgspec.Struct, kw_only=True):
    """A job as its clients see it; times in unix s, null for what did not happen yet."""

    id: str
    model: str
    source: Source
    tolerance: float | None
    state: State
    sentence: str
    progress: Progress
    submitted_unix_s: float
    started_unix_s: float | None
    ended_unix_s: float | None


def view(job: Job) -> JobView:
    """What clients see of it."""
    progress = Progress(points=len(job.x), done=job.points_done, failed=job.points_failed, marks=job.marks)
    return JobView(progress=progress, **{name: getattr(job, name) for name in JobView.__struct_fields__ if name != "progress"})


def new_id() -> str:
    """One that nobody guesses."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Whether it has the form of an id."""
    return _ID.fullmatch(text) is not None


class JobFolder:
    """The files of jobs; every method waits for the disk."""

    def __init__(self, folder: Path) -> None:
        """The folder is made if it is not there."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> tuple[list[Job], list[str]]:
        """Every job, oldest first, and the names of files that hold none (they are put aside as `.damaged`)."""
        jobs, damaged = [], []
        for path in self._folder.glob("*.json"):
            if path.name.endswith(_RESULT):
                continue
            try:
                job = msgspec.json.decode(path.read_bytes(), type=Job)
                if f"{job.id}.json" != path.name or not is_id(job.id):
                    raise msgspec.ValidationError("its id is not its name")
            except (msgspec.MsgspecError, UnicodeDecodeError):
                path.replace(path.with_suffix(".damaged"))
                damaged.append(path.name)
            else:
                jobs.append(job)
        for path in self._folder.glob("*.part"):
            path.unlink()
        return sorted(jobs, key=lambda job: job.number), damaged

    def write(self, job: Job) -> None:
        """Returns when the job is on disk.

        Raises:
            OSError: it is not, and what was there before still is.
        """
        self._replace(self._folder / f"{job.id}.json", msgspec.json.encode(job))

    def write_result(self, id: str, result: bytes) -> None:
        """Returns when the result is on disk; OSError as in `write`."""
        self._replace(self._folder / f"{id}{_RESULT}", result)

    def read_result(self, id: str) -> bytes:
        """The result; FileNotFoundError where there is none."""
        return (self._folder / f"{id}{_RESULT}").read_bytes()

    def remove(self, id: str) -> None:
        """Delete its files."""
        for suffix in (".json", _RESULT):
            (self._folder / f"{id}{suffix}").unlink(missing_ok=True)

    def result_bytes(self) -> Mapping[str, int]:
        """Id -> size of its result."""
        return {path.name.removesuffix(_RESULT): path.stat().st_size for path in self._folder.glob(f"*{_RESULT}")}

    def _replace(self, path: Path, data: bytes) -> None:
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
