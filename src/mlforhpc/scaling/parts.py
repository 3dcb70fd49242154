"""One part of a study of scaling: a campaign on so many slots, strong (a run of the benchmark) or weak (its training runs, in proportion).

A part is kept in a file when it is whole, so that a study that was stopped measures only what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from mlforhpc import run as runs
from mlforhpc.campaign import Campaign
from mlforhpc.core import names, trace
from mlforhpc.core.broker import Broker
from mlforhpc.core.errors import UsageError
from mlforhpc.core.record import Record
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.metrics.scaling import Work, work
from mlforhpc.report import progress, write_report
from mlforhpc.store import FolderStore

How: TypeAlias = Literal["strong", "weak"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One measured campaign: strong or weak, on so many slots, of one seed.

    Attributes:
        work: what its tasks took.
        folder: below the study's.
        cores: of this machine, if its slots are on it; else 0.
        faults: what makes the study INVALID, in sentences.
        quality: of a strong part: every quality figure of its result.
    """

    slots: int
    seed: int
    work: Work
    folder: str
    cores: int
    faults: Sequence[str]
    quality: Mapping[str, float | None]


def on(request: runs.Request, slots: int) -> runs.Request:
    """The request on so many slots."""
    return replace(request, slots=slots)


def warm_up(folder: Path, request: runs.Request, slots: int, *, show: bool) -> None:
    """A run that is not counted, at size tiny if there is one: programs and libraries are in memory after it, and the slots exist."""
    plans = runs.load_benchmark(request.benchmark, request.size).PLANS
    first = replace(on(request, slots), size="tiny" if "tiny" in plans else request.size)
    with progress.Progress(f"{request.benchmark}: a run to warm up, not counted", show=show) as bar:

        def watch(campaign: Campaign) -> None:
            _watch(campaign, slots, bar)

        runs.run(first, root=folder / "warm-up", watch=watch)


def part(folder: Path, how: How, request: runs.Request, slots: int, *, show: bool) -> Part:
    """From its file, or measured now in the study's folder."""
    file = file_of(folder, how, request, slots)
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        measured = _strong if how == "strong" else _weak
        with progress.Progress(f"{request.benchmark} {request.size} seed {request.seed}, {how}, {slots} slots", show=show) as bar:
            found = measured(folder, request, slots, bar)
        runs.write_whole(file, msgspec.json.format(msgspec.json.encode(found)))
    return msgspec.json.decode(file.read_bytes(), type=Part)


def file_of(folder: Path, how: How, request: runs.Request, slots: int) -> Path:
    """Where a part is kept."""
    return folder / "parts" / f"{how}-slots{slots}-seed{request.seed}.json"


def _strong(folder: Path, request: runs.Request, slots: int, bar: progress.Progress) -> Part:
    """The benchmark, in a run folder of its own."""
    cores: list[int] = []
    made, result = runs.run(on(request, slots), root=folder / "strong", watch=lambda campaign: cores.append(_watch(campaign, slots, bar)))
    write_report([made], made / "report.html")
    verdict = result.verdict
    fault = f"The run with seed {request.seed} on {slots} slots is INVALID: {verdict.reason}"
    return Part(
        slots=slots,
        seed=request.seed,
        work=work(trace.read(made / "events.jsonl")),
        folder=str(made.relative_to(folder)),
        cores=cores[0],
        faults=[fault] if verdict.status == "INVALID" else [],
        quality=result.quality,
    )


def _weak(folder: Path, request: runs.Request, slots: int, bar: progress.Progress) -> Part:
    """Each training run of the benchmark's run, and as many more of other seeds as make one a slot; each slot has run one before."""
    source = folder / part(folder, "strong", request, slots, show=False).folder
    records = list(trained(source))
    simulations = {name: names.load("simulations", name).create() for name in {r.simulation for r in records}}
    made = runs.new_folder(folder / "weak", request)
    placed = on(request, slots)
    with Campaign(made, engine=placed.engine, slots=placed.slots) as campaign:
        cores = _watch(campaign, slots, bar)
        campaign.warm_up()
        wait([_again(campaign.referee, simulations, records[0], seed=derive(request.seed, "warm-up", i)) for i in range(slots)])
        futures = [
            [_again(campaign.broker, simulations, r, seed=derive(r.seed, "copy", i) if i else r.seed) for i in range(slots)]
            for r in records
        ]
        again = [copies[0].result() for copies in futures]
        wait([future for copies in futures for future in copies])
    other = sum(not _same(r, a) for r, a in zip(records, again, strict=True))
    fault = f"{other} of {len(records)} simulations gave other numbers on {slots} slots than in the run, seed {request.seed}"
    return Part(
        slots=slots,
        seed=request.seed,
        work=work(trace.read(made / "events.jsonl"), charge="learned"),
        folder=str(made.relative_to(folder)),
        cores=cores,
        faults=[fault] if other else [],
        quality={},
    )


def _again(broker: Broker, simulations: Mapping[str, Simulation], record: Record, *, seed: int) -> Future[Record]:
    """The record's simulation with a seed."""
    simulation = simulations[record.simulation]
    if simulation.version != record.version:
        raise UsageError(
            f"Simulation '{record.simulation}' has version {simulation.version} by its name and {record.version} in the benchmark, "
            "so its runs cannot be made again for weak scaling."
        )
    return broker.simulate(
        simulation, record.parameters, settings=record.settings, fidelity=record.fidelity, seed=seed, limit_s=record.limit_s
    )


def trained(run: Path) -> list[Record]:
    """The simulations that a run learned from, in their order; those of a simulation without a name of its own cannot be made again."""
    with FolderStore.open(run / "store", read_only=True) as store:
        return [record for record in store.scan() if record.simulation in names.find("simulations")]


def _watch(campaign: Campaign, slots: int, bar: progress.Progress) -> int:
    """Show a campaign's progress; cores of this machine under its slots, 0 where they may be elsewhere."""
    engine = campaign.engine
    if engine.slots != slots:
        raise UsageError(f"Engine '{engine.name}' has {engine.slots} slots where {slots} were wanted, so --scale cannot choose them.")
    bar.follow(campaign.trace)
    return 0 if engine.capabilities.remote else len(os.sched_getaffinity(0))


def _same(a: Record, b: Record) -> bool:
    return a.outcome == b.outcome and all(np.array_equal(value, b.outputs[name]) for name, value in a.outputs.items())


def faults(strong: Sequence[Part]) -> list[str]:
    """A sentence for each part that is INVALID or has other quality figures than that of its seed on the fewest slots."""
    found = [fault for part in strong for fault in part.faults]
    for part in strong:
        first = min((p for p in strong if p.seed == part.seed), key=lambda p: p.slots)
        for name, value in first.quality.items():
            if part.quality.get(name) != value:
                where = f"seed {part.seed} is {value} on {first.slots} and {part.quality.get(name)} on {part.slots} slots"
                found.append(f"The numbers depend on the slots: {name} of {where}.")
                break
    return found


def notes(parts: Sequence[Part]) -> list[str]:
    """What to say of slots that share cores."""
    more = sorted({part.slots for part in parts if 0 < part.cores < part.slots})
    if not more:
        return []
    slots = ", ".join(map(str, more))
    return [f"This machine has {parts[0].cores} cores: {slots} slots share them, and lose by it what a larger machine would not."]
