"""Somebody's own simulation, or a table of runs, once, in a run folder like a benchmark's: simulate, learn, check, report.

runs/20260102-030405-surrogate-deflection-60-runs-seed0/
    manifest.json  events.jsonl  store/  referee/  artifacts/surrogate.safetensors  result.json  report.html  log.txt

A run that was killed goes on where it stopped: finished simulations come from the store.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np

from mlforhpc import run as runs
from mlforhpc.campaign import Campaign
from mlforhpc.core import document, names, trace
from mlforhpc.core.benchmark import Benchmark, SizeName
from mlforhpc.core.broker import Broker
from mlforhpc.core.choice import EngineChoice, engine_choice
from mlforhpc.core.errors import UsageError
from mlforhpc.core.learner import Dataset, Learner, Surrogate
from mlforhpc.core.manifest import Manifest, Setting
from mlforhpc.core.record import Record
from mlforhpc.core.result import Result
from mlforhpc.core.seeds import derive
from mlforhpc.core.simulation import Simulation
from mlforhpc.learners._loading import load
from mlforhpc.metrics.system import system_figures
from mlforhpc.scenarios.checked import Checked, held_out, left_out
from mlforhpc.scenarios.course import Course
from mlforhpc.scenarios.learned_result import Made, result
from mlforhpc.scenarios.referee import time_lookups
from mlforhpc.scenarios.replay import Replayed, replay
from mlforhpc.scenarios.surrogate import surrogate
from mlforhpc.store import FolderStore
from mlforhpc.store.importing import Recorded, Runs, import_runs

SIMULATION, TABLE = "own-simulation", "own-table"
SURROGATE = "artifacts/surrogate.safetensors"
ONNX = "artifacts/surrogate.onnx"
DEFAULT_LEARNER = "auto"

Watch: TypeAlias = Callable[[Campaign], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to learn; None leaves it to the scenario. For a table, `validation_runs` of its runs are set aside."""

    budget: int | str | None = None
    tolerance: float | None = None
    learner: str | None = None
    strategy: str | None = None
    fidelity: float | tuple[float, float] | None = None
    validation_runs: int | None = None
    limit_s: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to learn, how, and where.

    Attributes:
        subject: a simulation, or the runs of a table.
        options: how.
        engine: where.
        configuration: what the manifest keeps, so that a resumed run is the same run.
        command: as typed.
        notes: sentences about what was done, filled while it is done.
    """

    subject: Simulation | Runs
    options: Options
    engine: str | EngineChoice = "processes"
    configuration: Mapping[str, Setting] = field(default_factory=dict)
    command: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        o = self.options
        if not isinstance(self.subject, Runs) and o.budget is None and o.tolerance is None:
            budget = "--budget 60 (runs) or --budget '10 core-min' (slot time)"
            raise UsageError(f"How much may be simulated was not said: give {budget}, or --tolerance 0.03 (relative error to reach).")

    @property
    def simulation(self) -> Simulation:
        return self.subject.simulation if isinstance(self.subject, Runs) else self.subject

    @property
    def size(self) -> str:
        """How much, in words: the manifest's size."""
        if isinstance(self.subject, Runs):
            return f"{len(self.subject.records)} rows"
        budget = self.options.budget
        return f"tolerance {self.options.tolerance:g}" if budget is None else f"{budget} runs" if isinstance(budget, int) else budget


def made(folder: Path) -> bool:
    """Whether a run folder is of this kind; false where it cannot be read."""
    try:
        return document.decode((folder / "manifest.json").read_bytes(), Manifest).benchmark_class in (SIMULATION, TABLE)
    except (OSError, ValueError):
        return False


def run(job: Job, *, root: Path, watch: Watch = lambda campaign: None) -> tuple[Path, Result]:
    """Learn in a new folder below `root`; returns the folder and the result.

    Raises:
        UsageError: bad input; if nothing was simulated, no folder stays.
    """
    names.load("engines", engine_choice(job.engine).name)
    work = cast(Benchmark, _Work(job))
    name = re.sub(r"[^\w.-]+", "-", f"surrogate-{job.simulation.name}")
    size = cast(SizeName, re.sub(r"[^\w.-]+", "-", job.size.strip()))
    request = runs.Request(benchmark=name, size=size, seed=job.options.seed, engine=job.engine, command=job.command)
    folder = runs.new_folder(root, request)
    try:
        with Campaign(folder, engine=job.engine) as campaign:
            manifest = replace(runs.new_manifest(request, work, folder, campaign), size=job.size, configuration=job.configuration)
            runs.write_whole(folder / "manifest.json", document.encode(manifest))
            watch(campaign)
            return folder, runs.conduct(campaign, work, manifest)
    except UsageError:
        events = folder / "events.jsonl"
        if not events.exists() or not any(isinstance(e, trace.Submitted) for e in trace.read(events)):
            shutil.rmtree(folder)
        raise


def resume(job: Job, folder: Path, *, watch: Watch = lambda campaign: None) -> tuple[Path, Result]:
    """Go on with a run that was killed; a finished one gives its result at once.

    Raises:
        UsageError: it was begun with another simulation or other options.
    """
    manifest = manifest_of(folder)
    if manifest.benchmark_version != job.simulation.version:
        raise UsageError(
            f"The run in '{folder}' was begun with version {manifest.benchmark_version} of '{job.simulation.name}', found "
            f"{job.simulation.version}: it was changed since, and numbers of two versions never mix. Start anew."
        )
    begun_with = {**manifest.configuration, "seed": manifest.seed}
    wanted = {**job.configuration, "seed": job.options.seed}
    for key in sorted({*begun_with, *wanted}):
        begun, now = begun_with.get(key), wanted.get(key)
        if begun != now:
            raise UsageError(f"The run in '{folder}' was begun with {key} {begun}, found {now}. Say the same, or start anew.")
    if (folder / "result.json").exists():
        return folder, document.decode((folder / "result.json").read_bytes(), document.ResultDocument).result
    with Campaign(folder, engine=runs.engine_of(manifest)) as campaign:
        watch(campaign)
        return folder, runs.conduct(campaign, cast(Benchmark, _Work(job)), manifest)


def newest(job: Job, root: Path) -> Path | None:
    """The newest folder below `root` that was begun with this job, finished or not; None if there is none."""
    wanted = (job.simulation.version, job.options.seed, dict(job.configuration))
    for folder in sorted(root.glob("*-surrogate-*"), reverse=True):
        if made(folder):
            manifest = manifest_of(folder)
            same = (manifest.benchmark_version, manifest.seed, dict(manifest.configuration)) == wanted
            if same and runs.begun_on(manifest, job.engine):
                return folder
    return None


def manifest_of(folder: Path) -> Manifest:
    """The manifest of a run of this kind."""
    if not made(folder):
        raise UsageError(f"'{folder}' is no run folder that can be resumed; give one that `mlforhpc surrogate` made, or start anew.")
    return document.decode((folder / "manifest.json").read_bytes(), Manifest)


def replayed(folder: Path) -> Iterator[Replayed]:
    """The decisions of a run made again; space and outputs are those of its surrogate, so that one's own simulation is not needed.

    One of ours is, as a strategy may have asked it what runs cost.
    """
    manifest, saved = manifest_of(folder), load(folder)
    decisions = [(e.decision, e.data) for e in trace.read(folder / "events.jsonl") if isinstance(e, trace.Decision)]

    def simulation_of(name: str) -> Simulation:
        if name in names.find("simulations"):
            ours: Simulation = names.load("simulations", name).create()
            if ours.version == manifest.benchmark_version:
                return ours
        return Recorded(name=name, version=manifest.benchmark_version, space=saved.space, outputs=saved.outputs)

    with FolderStore.open(folder / "store", read_only=True) as store:
        if manifest.benchmark_class == SIMULATION:
            yield from replay(iter(decisions), store, simulation_of)
            return
        for data in [data for decision, data in decisions if decision == "learned"]:
            records = [record for key in data["keys"] if (record := store.get(key)) is not None]
            data_set = Dataset.of_records(simulation_of(manifest.benchmark), records)
            version = names.load("learners", data["learner"]).create().fit(data_set, seed=data["seed"]).version
            sentence = f"surrogate {data['version']} from {len(records)} runs"
            yield Replayed(decision="learned", same=version == data["version"], sentence=sentence)


class _Work:
    """A job as what `run.conduct` takes for a benchmark."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.VERSION = job.simulation.version
        self.CLASS = TABLE if isinstance(job.subject, Runs) else SIMULATION

    def run(self, broker: Broker, *, referee: Broker, folder: Path, size: str, seed: int) -> Result:
        """Learn, check, keep the artifacts."""
        job = self.job
        learned = _of_table(broker, job.subject, job.options) if isinstance(job.subject, Runs) else _of_simulation(broker, job)
        fitted, held = learned.surrogate, learned.held
        if held is not None and held.ok.any():
            checked: Checked | None = held_out(fitted, held)
        else:
            checked = left_out(_same_learner(job.options, fitted), learned.data, seed=seed, broker=broker)
        fitted.save(folder / SURROGATE)
        files = [f"In {SURROGATE}.", _save_onnx(fitted, folder / ONNX)]
        job.notes.append(files[-1])
        lookups = referee.submit("infer", time_lookups, fitted, seed, label="lookups").result()
        whole = Made(
            simulation=job.simulation,
            surrogate=fitted,
            data=learned.data,
            records=learned.records,
            checked=checked,
            spent_s=system_figures(trace.read(folder / "events.jsonl")).slot_s,
            lookups=lookups,
            course=learned.course,
            notes=job.subject.notes if isinstance(job.subject, Runs) else (),
            files=files,
        )
        if checked is not None:
            checked.save(folder / "artifacts" / "quality.npz")
            broker.quality(name=checked.how, q2=float(checked.terms.by_system.mean()), keys=checked.runs.keys)
        return result(whole, tolerance=job.options.tolerance, seed=derive(seed, "resampling"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learned:
    """What was learned, from which runs, and the runs that were kept from it."""

    surrogate: Surrogate
    data: Dataset
    records: tuple[Record, ...]
    held: Dataset | None
    course: Course | None = None


def _of_simulation(broker: Broker, job: Job) -> _Learned:
    """The scenario with what was said; what was not keeps its default there."""
    learned = surrogate(broker, job.simulation, **{name: value for name, value in asdict(job.options).items() if value is not None})
    held = learned.validation.held if learned.validation is not None else None
    return _Learned(surrogate=learned.surrogate, data=learned.data, records=tuple(learned.records), held=held, course=learned.course)


def _of_table(broker: Broker, table: Runs, options: Options) -> _Learned:
    """Keep the runs in the store, set some aside, fit the others."""
    import_runs(broker.store, table)
    data = Dataset.of_records(table.simulation, table.records)
    ok = np.flatnonzero(data.ok)
    aside = options.validation_runs or 0
    if len(ok) - aside < 2:
        kept = f", {aside} of them set aside" if aside else ""
        raise UsageError(f"Learning needs at least 2 runs with outputs, found {len(ok)} of {len(data)}{kept}.")
    chosen = np.sort(np.random.default_rng(derive(options.seed, "validation")).permutation(ok)[:aside])
    rest = np.setdiff1d(np.arange(len(data)), chosen)
    learner, seed = _learner(options.learner or DEFAULT_LEARNER), derive(options.seed, "fit")
    fitted = learner.fit(data.rows(rest), seed=seed, broker=broker)
    broker.decide("learned", learner=learner.name, seed=seed, version=fitted.version, keys=list(data.rows(rest).keys))
    records = tuple(table.records[i] for i in rest)
    return _Learned(surrogate=fitted, data=data.rows(rest), records=records, held=data.rows(chosen) if aside else None)


def _learner(name: str) -> Learner:
    made: Learner = names.load("learners", name).create()
    return made


def _same_learner(options: Options, fitted: Surrogate) -> Learner:
    """The learner that was asked for, else the one that the surrogate says it is of."""
    known = names.find("learners")
    return _learner(next(str(n) for n in (options.learner, fitted.card.get("learner"), DEFAULT_LEARNER) if n in known))


def _save_onnx(fitted: Surrogate, path: Path) -> str:
    """Write the surrogate for ONNX runtimes if that can be done; a sentence that says where, or why not."""
    try:
        from mlforhpc.learners import _onnx

        _onnx.export_onnx(fitted, path)
    except UsageError as error:
        return f"No ONNX file was written. {error}"
    return f"For ONNX runtimes in {ONNX}."
