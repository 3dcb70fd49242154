"""Every error that a user can meet, each a full sentence: what was wanted, what was found, the way out.

MLforHPCError
+-- UsageError            bad input; nothing was changed        (exit code 2)
|   +-- UnknownName       no such simulation, benchmark, ...; carries a suggestion
|   +-- OutOfBounds       a parameter outside its space
|   +-- MissingExtra      an optional package is not installed
|   +-- Unplaceable       a task asks for more than the engine has
+-- InvalidOutput         a simulation returned what it did not declare (its record says `failed`)
+-- TaskError             a task did not end with `ok`; carries outcome and remote traceback (exit code 3)
+-- Interrupted           Ctrl-C, or a `Stopped`, in a run; carries the folder to resume (exit code 130, or 75)
+-- StoreError            (exit code 3)
    +-- StoreDamaged      a record's hash does not match; names the record
    +-- StoreFull         the disk is full; what was acknowledged is kept
    |   +-- OverBudget    or the bytes that the store may take are; the way out is another one
    +-- StoreLocked       another process holds a single-writer store

KeyboardInterrupt
+-- Stopped               the walltime's end or a signal: a Ctrl-C that nobody typed (exit code 75)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class MLforHPCError(Exception):
    """Base of all errors raised on purpose by this package."""

    exit_code = 3


class UsageError(MLforHPCError, ValueError):
    """Bad input: nothing was changed."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that nothing answers to."""


class OutOfBounds(UsageError):
    """A parameter outside its space."""


class MissingExtra(UsageError):
    """An optional package is not installed; the message names the extra."""


class Unplaceable(UsageError):
    """A task that this engine can never place."""


class InvalidOutput(MLforHPCError):
    """A simulation returned something other than what it declares."""


class Stopped(KeyboardInterrupt):
    """The walltime's end, SIGTERM or SIGUSR1; the text says which. What ends cleanly on Ctrl-C ends so on this."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: come again


class Interrupted(MLforHPCError):
    """A run ended before its time, and can be resumed.

    Attributes:
        folder: where.
        left: what was to follow and was not begun.
    """

    def __init__(self, folder: Path, because: KeyboardInterrupt, *, left: Sequence[str] = ()) -> None:
        super().__init__(str(because) or "Interrupted")
        self.exit_code = because.exit_code if isinstance(because, Stopped) else 130
        self.folder = folder
        self.left = tuple(left)


class TaskError(MLforHPCError):
    """A task ended with another outcome than `ok`.

    Attributes:
        outcome: `failed`, `timed_out`, `lost` or `cancelled`.
        remote_traceback: the traceback as formatted where the task ran, or the empty string.
    """

    def __init__(self, message: str, *, outcome: str, remote_traceback: str = "") -> None:
        super().__init__(f"{message}\n{remote_traceback}".rstrip())
        self.outcome = outcome
        self.remote_traceback = remote_traceback


class StoreError(MLforHPCError):
    """The store cannot do what was asked; what it acknowledged is kept."""


class StoreDamaged(StoreError):
    """A stored record does not match its hash."""


class StoreFull(StoreError):
    """No space is left on the store's disk."""


class OverBudget(StoreFull):
    """The store takes as many bytes as it may: to every caller the same as a full disk, but `store prune` is the way out."""


class StoreLocked(StoreError):
    """Another process writes to a store that allows one writer."""
