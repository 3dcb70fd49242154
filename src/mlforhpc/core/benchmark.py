"""The benchmark contract: a module with the attributes below; its file reads like the set-up section of its paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from mlforhpc.core.broker import Broker
from mlforhpc.core.check import Check
from mlforhpc.core.manifest import Setting
from mlforhpc.core.result import Result

SizeName: TypeAlias = Literal["tiny", "small", "medium", "large"]
SIZE_NAMES: tuple[SizeName, ...] = ("tiny", "small", "medium", "large")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a size will cost: core-minutes on one core of today, peak memory and disk in bytes, the machine it is for; and whether the
    default suite has it: not what measures latencies for minutes, with the machine to itself."""

    core_min: float
    memory_bytes: float
    disk_bytes: float
    machine: str
    by_default: bool = True


class Benchmark(Protocol):
    """A benchmark module. Its docstring's first line is the question; `SOURCE` where it comes from.

    Attributes:
        VERSION: raised by every change that moves its numbers; `compare` refuses to mix versions.
        CLASS: folder name of its class.
        TARGET: size -> the quality target.
        PLANS: size -> what it will cost; the sizes that exist.
    """

    __doc__: str
    VERSION: str
    CLASS: str
    SOURCE: str
    TARGET: Mapping[str, float]
    PLANS: Mapping[str, Plan]

    def run(self, broker: Broker, *, referee: Broker, folder: Path, size: SizeName, seed: int) -> Result:
        """Run once.

        Args:
            broker: what the learned method uses; everything on it is charged.
            referee: a second view with a second store, for references and baseline; charged to neither side.
            folder: the run folder; artifacts go to its `artifacts`, the trace is its `events.jsonl`.
            size, seed: what decides the numbers.
        """
        ...

    def verify(self) -> Iterator[Check]:
        """The yardstick against known truths, each check at most 30 core-seconds."""
        ...


@runtime_checkable
class Configured(Protocol):
    """A benchmark whose numbers hang on something of the site, such as a program, besides size and seed."""

    def configuration(self) -> Mapping[str, Setting]:
        """Name -> value, for the manifest; a run goes on only where they are the same.

        Raises:
            UsageError: what is configured cannot be used; nothing has run yet.
        """
        ...
