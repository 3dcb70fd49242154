"""One benchmark + one campaign -> one run folder, never overwritten, resumable.

runs/20260102-030405-surrogate-borehole-small-seed0/
    manifest.json  events.jsonl  store/  referee/  artifacts/  result.json  report.html  log.txt
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import psutil

from mlforhpc.campaign import ENGINE_START, Campaign
from mlforhpc.core import document, names, trace
from mlforhpc.core.benchmark import SIZE_NAMES, Benchmark, Configured, SizeName
from mlforhpc.core.choice import EngineChoice, engine_choice
from mlforhpc.core.errors import UsageError
from mlforhpc.core.manifest import Manifest, Setting
from mlforhpc.core.result import Result
from mlforhpc.metrics.system import system_figures

log = logging.getLogger("mlforhpc")
log.addHandler(logging.NullHandler())
log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to run, and where."""

    benchmark: str
    size: SizeName = "small"
    seed: int = 0
    engine: str | EngineChoice = "processes"
    slots: int | None = None
    repeat: int = 0
    command: str = ""


def load_benchmark(name: str, size: str) -> Benchmark:
    """The benchmark, if it has that size; else a sentence."""
    module = cast(Benchmark, names.load("benchmarks", name))
    if size not in SIZE_NAMES:
        raise UsageError(f"There is no size '{size}'; sizes are {', '.join(SIZE_NAMES)}.{names.suggestion(size, SIZE_NAMES)}")
    if size not in module.PLANS:
        raise UsageError(f"Benchmark '{name}' has no size '{size}'; it has {', '.join(module.PLANS)}.")
    return module


def configuration_of(benchmark: Benchmark) -> Mapping[str, Setting]:
    """What of the site decides a benchmark's numbers, for the manifest."""
    return benchmark.configuration() if isinstance(benchmark, Configured) else {}


def check_configuration(folder: Path, benchmark: Benchmark, was: Mapping[str, Setting]) -> None:
    """Refuse to go on with what was begun with something else of the site."""
    for name, value in configuration_of(benchmark).items():
        if was.get(name, value) != value:
            raise UsageError(
                f"The run in '{folder}' was begun with {name} '{was[name]}', found '{value}'; numbers of the two never mix: "
                f"make {name} what it was, or start anew."
            )


def run(request: Request, *, root: Path, watch: Callable[[Campaign], None] = lambda campaign: None) -> tuple[Path, Result]:
    """Run a benchmark in a new folder below `root`; returns the folder and the result.

    Args:
        request: what.
        root: folder of run folders.
        watch: called once with the open campaign, to subscribe to its trace.
    """
    benchmark = load_benchmark(request.benchmark, request.size)
    configuration = configuration_of(benchmark)
    folder = new_folder(root, request)
    with Campaign(folder, engine=request.engine, slots=request.slots) as campaign:
        manifest = replace(new_manifest(request, benchmark, folder, campaign), configuration=configuration)
        write_whole(folder / "manifest.json", document.encode(manifest))
        watch(campaign)
        return folder, conduct(campaign, benchmark, manifest)


def resume(folder: Path, *, watch: Callable[[Campaign], None] = lambda campaign: None) -> tuple[Path, Result]:
    """Go on with a run that was killed; a finished one gives its result at once.

    Raises:
        UsageError: not a run folder, or another version of the benchmark is installed.
    """
    try:
        manifest = document.decode((folder / "manifest.json").read_bytes(), Manifest)
    except (OSError, ValueError) as error:
        raise UsageError(f"'{folder}' is no run folder that can be resumed ({error}); start anew with mlforhpc run.") from None
    if (folder / "result.json").exists():
        return folder, document.decode((folder / "result.json").read_bytes(), document.ResultDocument).result
    benchmark = load_benchmark(manifest.benchmark, manifest.size)
    if manifest.benchmark_version != benchmark.VERSION:
        raise UsageError(
            f"The run in '{folder}' was begun with version {manifest.benchmark_version} of '{manifest.benchmark}', and version "
            f"{benchmark.VERSION} is installed; numbers of two versions never mix: start anew, or install the old version."
        )
    check_configuration(folder, benchmark, manifest.configuration)
    with Campaign(folder, engine=engine_of(manifest)) as campaign:
        watch(campaign)
        return folder, conduct(campaign, benchmark, manifest)


def newest(request: Request, root: Path) -> Path | None:
    """The newest folder below `root` of such a run, finished or not; None if there is none.

    Such a run has the same benchmark, installed version, size, seed and engine: what was begun with another is left alone.
    """
    version = load_benchmark(request.benchmark, request.size).VERSION
    wanted = (request.benchmark, version, request.size, request.seed)
    for folder in sorted(root.glob(f"*-{request.benchmark}-{request.size}-seed{request.seed}*"), reverse=True):
        with suppress(OSError, ValueError):  # no manifest yet: it was killed before anything was simulated
            found = document.decode((folder / "manifest.json").read_bytes(), Manifest)
            same = (found.benchmark, found.benchmark_version, found.size, found.seed) == wanted
            if same and begun_on(found, request.engine):
                return folder
    return None


class _LogFile(logging.FileHandler):
    """A log that cannot be written must not hide the error that it was to tell of."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def conduct(campaign: Campaign, benchmark: Benchmark, manifest: Manifest) -> Result:
    """Run a benchmark, or what looks like one, in the campaign's folder: log, system figures, `result.json`."""
    (campaign.folder / "artifacts").mkdir(exist_ok=True)
    handler = _LogFile(campaign.folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        log.info("%s %s %s seed %s begins", manifest.benchmark, manifest.benchmark_version, manifest.size, manifest.seed)
        campaign.warm_up()
        size = cast(SizeName, manifest.size)
        result = benchmark.run(campaign.broker, referee=campaign.referee, folder=campaign.folder, size=size, seed=manifest.seed)
        campaign.close()
        result = replace(result, performance={**result.performance, **_system_performance(campaign.folder)})
        ended = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        done = document.ResultDocument(run_id=manifest.run_id, result=result, ended=ended)
        write_whole(campaign.folder / "result.json", document.encode(done))
        log.info("%s: %s", result.verdict.status, result.verdict.reason)
        return result
    except BaseException as error:
        log.error("ended by %s", type(error).__name__, exc_info=error)
        raise
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # the disk may be full
            handler.close()


def _system_performance(folder: Path) -> dict[str, float | None]:
    """What the trace says about the system, as figures with their unit in the name."""
    path = folder / "events.jsonl"
    found = system_figures(trace.read(path))
    starts = (event.value for event in trace.read(path) if isinstance(event, trace.Mark) and event.name == ENGINE_START)
    figures: dict[str, float | None] = {
        "engine_start_s": next(starts, None),
        "makespan_s": found.makespan_s,
        "overhead": found.overhead,
        "utilization": found.total.utilization,
        "tasks": float(found.total.tasks),
        "resumptions": float(found.resumptions),
        "peak_memory_bytes": float(found.total.peak_memory_bytes),
        "driver_cpu_s_per_task": found.driver_cpu_s_per_task,
        "energy_J": None,  # absent: nothing here measures it
    }
    for kind, phase in found.by_kind.items():
        figures |= {
            f"{kind}_tasks": float(phase.tasks),
            f"{kind}_throughput_per_s": phase.throughput_per_s,
            f"{kind}_latency_p50_s": phase.latency_p50_s,
            f"{kind}_latency_p99_s": phase.latency_p99_s,
            f"{kind}_utilization": phase.utilization,
            f"{kind}_bytes": float(phase.bytes_in + phase.bytes_out),
        }
    return figures


def new_folder(root: Path, request: Request) -> Path:
    """A folder of its own for a run, named by time, benchmark, size and seed."""
    stamp = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    name = f"{stamp}-{request.benchmark}-{request.size}-seed{request.seed}"
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        folder = root / (name + suffix)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"The folder '{root}' cannot be written ({error.strerror}); choose another one with --into.") from None
        return folder
    raise UsageError(f"'{root}' already holds a thousand runs of this second; choose another folder with --into.")


def engine_of(manifest: Manifest) -> EngineChoice:
    """The engine that a run was begun on."""
    return EngineChoice(name=manifest.engine, address=manifest.engine_address, slots=manifest.slots, options=manifest.engine_options)


def begun_on(manifest: Manifest, engine: str | EngineChoice) -> bool:
    """Whether a run was begun on this engine, whatever its number of slots."""
    here, there = engine_choice(engine), engine_of(manifest)
    return (here.name, here.address, dict(here.options)) == (there.name, there.address, dict(there.options))


def new_manifest(request: Request, benchmark: Benchmark, folder: Path, campaign: Campaign) -> Manifest:
    """What runs, on which machine, with which packages."""
    machine, choice = machine_facts(), engine_choice(request.engine)
    return Manifest(
        run_id=folder.name,
        benchmark=request.benchmark,
        benchmark_version=benchmark.VERSION,
        benchmark_class=benchmark.CLASS,
        size=request.size,
        seed=request.seed,
        repeat=request.repeat,
        engine=campaign.engine.name,
        slots=campaign.engine.slots,
        engine_address=choice.address,
        engine_options=choice.options,
        host=machine["host"],
        cpu=machine["cpu"],
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        os=machine["os"],
        python=platform.python_version(),
        packages=package_versions(),
        created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        command=request.command,
    )


def machine_facts() -> Mapping[str, str]:
    """Host, processor and operating system, as text."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text() if cpuinfo.exists() else "", re.M)
    cpu = found[1] if found else platform.processor() or platform.machine()
    return {"host": platform.node(), "cpu": cpu, "os": f"{platform.system()} {platform.release()}"}


def package_versions() -> dict[str, str]:
    """Installed versions of this package and of everything it may stand on, extras included."""
    versions = {"mlforhpc": importlib.metadata.version("mlforhpc")}
    for requirement in importlib.metadata.requires("mlforhpc") or []:
        name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
        if "extra == 'dev'" in requirement.replace('"', "'"):
            continue
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def write_whole(path: Path, data: bytes) -> None:
    """Write, sync, then rename: a reader sees the whole file or none."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
