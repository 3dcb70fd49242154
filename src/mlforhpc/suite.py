"""The suite: many benchmarks at once - which exist, what they cost, running them, verifying and replaying them.

The default suite is every benchmark of size small that fits its time, the quickest first; what cannot run here is
skipped, with the reason and the command that installs what is missing.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import psutil

from mlforhpc import run as runs
from mlforhpc.campaign import Campaign
from mlforhpc.core import names, trace
from mlforhpc.core.benchmark import SIZE_NAMES, Benchmark, SizeName
from mlforhpc.core.check import Check
from mlforhpc.core.choice import engine_choice
from mlforhpc.core.errors import Interrupted, MissingExtra, MLforHPCError, UnknownName, UsageError
from mlforhpc.core.result import Result
from mlforhpc.core.simulation import Simulation
from mlforhpc.report import progress, terminal, write_report
from mlforhpc.scenarios.replay import Replayed, replay
from mlforhpc.store import FolderStore

SUITE_CORE_MIN = 15.0  # a benchmark of more core-minutes runs by name or class only


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A line of `mlforhpc list`."""

    name: str
    benchmark_class: str
    sizes: tuple[str, ...]
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one request ended: its folder and result, or the error."""

    request: runs.Request
    folder: Path | None = None
    result: Result | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """How a suite ended."""

    ended: Sequence[Ended]
    skipped: Sequence[str]
    report: Path | None

    @property
    def exit_code(self) -> int:
        """3 if a run failed, else 1 if one is INVALID, else 0."""
        if any(e.error for e in self.ended):
            return 3
        return 1 if any(e.result and e.result.verdict.status == "INVALID" for e in self.ended) else 0

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        rows = [
            {"benchmark": e.request.benchmark, "size": e.request.size, "seed": e.request.seed, "folder": e.folder, "error": e.error or None}
            | ({"verdict": e.result.verdict, "headline": e.result.headline} if e.result else {})
            for e in self.ended
        ]
        return {"runs": rows, "skipped": list(self.skipped), "report": self.report}


def listing() -> list[Listed]:
    """Every benchmark; read from its file without importing it, so that a missing extra hides nothing."""
    rows = []
    for name, where in names.find("benchmarks").items():
        spec = importlib.util.find_spec(where.partition(":")[0])
        source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
        facts = _literals(source)
        rows.append(
            Listed(
                name=name,
                benchmark_class=str(facts.get("CLASS", "")),
                sizes=tuple(s for s in SIZE_NAMES if s in cast(Mapping[str, float], facts.get("TARGET", {}))),
                question=(ast.get_docstring(ast.parse(source)) or "").split("\n")[0],
            )
        )
    return sorted(rows, key=lambda r: (r.benchmark_class, r.name))


def _literals(source: str) -> dict[str, object]:
    """Module-level names bound to literals."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def selected(selection: Sequence[str]) -> list[str]:
    """Names of benchmarks from names and classes; all of them if nothing is given."""
    rows = listing()
    known = [r.name for r in rows]
    chosen = []
    for word in selection or known:
        of_class = [r.name for r in rows if r.benchmark_class == word]
        if word not in known and not of_class:
            everything = sorted({*known, *(r.benchmark_class for r in rows)})
            raise UnknownName(f"There is no benchmark or class named '{word}'; see mlforhpc list.{names.suggestion(word, everything)}")
        chosen += [word] if word in known else of_class
    return list(dict.fromkeys(chosen))


def requests(
    selection: Sequence[str],
    *,
    size: str,
    seed: int,
    repeats: int,
    engine: str,
    slots: int | None,
    config: Path | None = None,
    command: str = "",
) -> tuple[list[runs.Request], list[str]]:
    """What to run, the quickest first, and a sentence for each benchmark that is skipped.

    Args:
        engine: one, or several with commas between: each benchmark then runs on each.

    Raises:
        UsageError: a name, size or engine that does not exist; a benchmark asked for by name whose extra is missing.
    """
    choices = [engine_choice(said, slots=slots, file=config) for said in engine.split(",")]
    for choice in choices:
        names.load("engines", choice.name)
    plans, skipped = {}, []
    for name in selected(selection):
        try:
            plans[name] = runs.load_benchmark(name, size).PLANS[size]
        except MissingExtra as error:
            if name in selection:
                raise
            skipped.append(str(error))
    if not selection:
        for name in [n for n, plan in plans.items() if size == "small" and (plan.core_min > SUITE_CORE_MIN or not plan.by_default)]:
            skipped.append(f"{name} needs {plans.pop(name).core_min:g} core-minutes; run it with: mlforhpc run {name}")
    order = sorted(plans, key=lambda n: plans[n].core_min)
    common = {"size": cast(SizeName, size), "command": command}
    wanted = [
        runs.Request(benchmark=n, seed=seed + r, repeat=r, engine=choice, **common)  # type: ignore[arg-type]
        for n in order
        for choice in choices
        for r in range(repeats)
    ]
    return wanted, skipped


def costs(wanted: Sequence[runs.Request]) -> list[list[object]]:
    """Rows of `--plan`: benchmark, size, runs, core-minutes, memory, disk, machine."""
    rows: list[list[object]] = []
    for name, size in dict.fromkeys((r.benchmark, r.size) for r in wanted):
        n = sum(r.benchmark == name for r in wanted)
        plan = runs.load_benchmark(name, size).PLANS[size]
        memory, disk = (
            f"{value / 2**30:.3g} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
            for value in (plan.memory_bytes, plan.disk_bytes * n)
        )
        rows.append([name, size, n, f"{plan.core_min * n:.3g}", memory, disk, plan.machine])
    return rows


def run_all(wanted: Sequence[runs.Request], *, into: Path, skipped: Sequence[str] = (), show: bool = True, go_on: bool = False) -> SuiteRun:
    """Run them one after another; a failed one does not stop the others. With `go_on`, what was begun in `into` is finished."""

    def conduct(request: runs.Request, watch: Callable[[Campaign], None]) -> tuple[Path, Result]:
        begun = runs.newest(request, into) if go_on else None
        return runs.resume(begun, watch=watch) if begun else runs.run(request, root=into, watch=watch)

    return _together([(request, partial(conduct, request)) for request in wanted], skipped, show)


def resume(folder: Path, *, show: bool = True) -> SuiteRun:
    """Go on with a run that was killed."""
    request = runs.Request(benchmark=folder.name)
    return _together([(request, lambda watch: runs.resume(folder, watch=watch))], [], show)


_Conduct = Callable[[Callable[[Campaign], None]], tuple[Path, Result]]


def _together(jobs: Sequence[tuple[runs.Request, _Conduct]], skipped: Sequence[str], show: bool) -> SuiteRun:
    ended: list[Ended] = []
    titles = [f"{request.benchmark} {request.size} seed {request.seed}" for request, _conduct in jobs]
    for number, (request, conduct) in enumerate(jobs):
        begun: list[Path] = []
        with progress.Progress(titles[number], show=show) as bar:

            def watch(campaign: Campaign, begun: list[Path] = begun, bar: progress.Progress = bar) -> None:
                begun.append(campaign.folder)
                bar.follow(campaign.trace)

            try:
                folder, result = conduct(watch)
            except KeyboardInterrupt as because:
                if begun:
                    raise Interrupted(begun[0], because, left=titles[number + 1 :]) from None
                raise
            except UsageError:
                raise
            except (MLforHPCError, OSError) as error:
                ended.append(Ended(request=request, error=str(error)))
            else:
                ended.append(Ended(request=request, folder=folder, result=result))
                write_report([folder], folder / "report.html")
        if show:
            last = ended[-1]
            terminal.show(terminal.summary(last.result, last.folder) if last.result else f"[red]failed:[/] {last.error}")
    folders = [e.folder for e in ended if e.folder]
    page = folders[-1] / "report.html" if folders else None
    if len(folders) > 1:  # all of them together, beside their folders, named by the time of the first
        page = write_report(folders, folders[0].parent / f"report-{folders[0].name[:15]}.html")
    if show:
        terminal.show(terminal.suite_table([e.folder for e in ended if e.folder], skipped, page))
    return SuiteRun(ended=ended, skipped=skipped, report=page)


def verifications(selection: Sequence[str], skipped: list[str]) -> Iterator[tuple[str, Iterator[Check]]]:
    """(benchmark, its checks); a sentence is added to `skipped` for each whose extra is missing."""
    for name in selected(selection):
        try:
            module = cast(Benchmark, names.load("benchmarks", name))
        except MissingExtra as error:
            if name in selection:
                raise
            skipped.append(str(error))
            continue
        yield name, module.verify()


def replayed(folder: Path) -> Iterator[Replayed]:
    """The decisions of a run or campaign folder, made again."""
    if not (folder / "events.jsonl").is_file():
        raise UsageError(f"'{folder}' has no events.jsonl; give the folder of a run or of a campaign.")
    decisions = ((e.decision, e.data) for e in trace.read(folder / "events.jsonl") if isinstance(e, trace.Decision))
    with FolderStore.open(folder / "store", read_only=True) as store:
        yield from replay(decisions, store, _simulation)


def _simulation(name: str) -> Simulation:
    try:
        made: Simulation = names.load("simulations", name).create()
    except UnknownName as error:
        raise UnknownName(
            f"{error} To replay runs of your own, put their simulation behind the entry point 'mlforhpc.simulations'."
        ) from None
    return made


def system_facts() -> list[tuple[str, str]]:
    """What this machine offers, as rows."""
    machine = runs.machine_facts()
    rows = [
        ("host", machine["host"]),
        ("processor", machine["cpu"]),
        ("cores", str(len(os.sched_getaffinity(0)))),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        ("operating system", machine["os"]),
    ]
    for group in ("engines", "simulations", "benchmarks"):
        for name in names.find(group):
            try:
                names.load(group, name)
                rows.append((f"{group[:-1]} {name}", "usable"))
            except MLforHPCError as error:
                rows.append((f"{group[:-1]} {name}", str(error)))
    return rows + [(f"package {name}", version) for name, version in runs.package_versions().items()]
