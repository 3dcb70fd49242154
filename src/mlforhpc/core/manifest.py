"""The manifest of a run folder: which benchmark ran, on which system, with which versions, configuration and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

MANIFEST_VERSION = 1

Setting: TypeAlias = str | float | int | bool | None
EngineOption: TypeAlias = Setting | list[Setting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Written when a run opens, before its first task, and never changed.

    Attributes:
        run_id: unique name of the run, also in `result.json`.
        benchmark, benchmark_version, benchmark_class, size: what ran; numbers of two versions are never compared.
        seed: of the run.
        repeat: which of its repeats this is, from 0.
        engine, slots: where its tasks ran.
        engine_address, engine_options: how that engine was made.
        host, cpu, cores, memory_bytes, accelerators, os: the system; `cores` and `memory_bytes` as this process may use them.
        python, packages: software versions; `packages` is name -> version.
        configuration: name -> value of everything else that could change a number.
        created: when it opened, ISO 8601 with offset.
        command: as typed.
        schema_version: of this file.
    """

    run_id: str
    benchmark: str
    benchmark_version: str
    benchmark_class: str
    size: str
    seed: int
    engine: str
    slots: int
    engine_address: str = ""
    engine_options: Mapping[str, EngineOption] = field(default_factory=dict)
    repeat: int = 0
    host: str = ""
    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    accelerators: tuple[str, ...] = ()
    os: str = ""
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Setting] = field(default_factory=dict)
    created: str = ""
    command: str = ""
    schema_version: int = MANIFEST_VERSION
