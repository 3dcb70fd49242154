"""Strong and weak scaling of one benchmark: its runs on several numbers of slots, in one folder, with tables, figure and report.

runs/20260102-030405-scaling-surrogate-borehole-tiny/
    plan.json  parts/strong-slots1-seed0.json ...  strong/<run folders>  weak/<campaigns>  manifest.json  result.json  report.html

Strong: the same benchmark, size and seed. Weak, on p slots: p seeds of the runs that the benchmark trained on, at once. A study
that was stopped goes on with what it has not measured yet; a part that was stopped in the middle is measured anew.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mlforhpc import run as runs
from mlforhpc.core import document
from mlforhpc.core.errors import Interrupted, UsageError
from mlforhpc.core.manifest import Manifest, Setting
from mlforhpc.core.result import Result
from mlforhpc.metrics import scaling as metrics
from mlforhpc.report import scaling as shown
from mlforhpc.report import terminal, write_report
from mlforhpc.scaling.parts import Part, faults, file_of, notes, part, trained, warm_up

CLASS = "scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a study measures, with what of the site: kept in `plan.json`, so that it can go on."""

    slots: tuple[int, ...]
    requests: Sequence[runs.Request]
    configuration: Mapping[str, Setting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """How a study ended."""

    folder: Path
    result: Result

    @property
    def exit_code(self) -> int:
        """1 if it is INVALID, else 0."""
        return 1 if self.result.verdict.status == "INVALID" else 0

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        found = self.result
        tables = {t.name: [dict(zip(t.columns, row, strict=True)) for row in t.rows] for t in found.tables}
        return {
            "folder": self.folder,
            "verdict": found.verdict,
            "headline": found.headline,
            **tables,
            "report": self.folder / "report.html",
        }


def plan(requests: Sequence[runs.Request], scale: str, *, slots: int | None = None) -> Plan:
    """What to measure.

    Args:
        requests: the repeats of one benchmark.
        scale: "slots=1,2,4".
        slots: of the option --slots, which says the same.

    Raises:
        UsageError: no such list, or more than one benchmark or engine.
    """
    name, _, values = scale.partition("=")
    words = values.split(",")
    if name.strip() != "slots" or not all(re.fullmatch(r"\s*[1-9]\d*\s*", word) for word in words):
        raise UsageError(f"--scale takes numbers of slots, as in --scale slots=1,2,4, each at least 1; found '{scale}'.")
    if slots is not None:
        raise UsageError("--scale says the numbers of slots itself: leave out --slots.")
    counts = tuple(sorted({int(word) for word in words}))
    if len(counts) < 2:
        raise UsageError(f"--scale compares at least two different numbers of slots, as in --scale slots=1,2; found '{scale}'.")
    benchmarks = sorted({request.benchmark for request in requests})
    if len(benchmarks) != 1:
        raise UsageError(f"--scale measures one benchmark, found {len(benchmarks)}: {', '.join(benchmarks)}. Name one.")
    if any(request.engine != requests[0].engine for request in requests):
        raise UsageError("--scale measures one engine; give --engine one of them.")
    configuration = runs.configuration_of(runs.load_benchmark(requests[0].benchmark, requests[0].size))
    return Plan(slots=counts, requests=tuple(requests), configuration=configuration)


def costs(wanted: Plan) -> list[list[object]]:
    """Rows of `--plan`, as `suite.costs` gives them."""
    request = wanted.requests[0]
    cost, repeats = runs.load_benchmark(request.benchmark, request.size).PLANS[request.size], len(wanted.requests)
    rows: list[list[object]] = []
    for how, n, bound in (("strong", repeats * len(wanted.slots), ""), ("weak", repeats * sum(wanted.slots), "at most ")):
        size = (f"{value / 2**20:,.0f} MiB" for value in (cost.memory_bytes, cost.disk_bytes * n))
        rows.append([f"{request.benchmark}, {how}", request.size, n, f"{bound}{cost.core_min * n:.3g}", *size, cost.machine])
    return rows


def measure(wanted: Plan, *, into: Path, show: bool = True) -> Study:
    """Measure in a new folder below `into`.

    Raises:
        UsageError: this engine cannot have these slots; if nothing was measured, no folder stays.
    """
    first = wanted.requests[0]
    folder = runs.new_folder(into, replace(first, benchmark=f"scaling-{first.benchmark}"))
    runs.write_whole(folder / "plan.json", msgspec.json.format(msgspec.json.encode(wanted)))
    try:
        return _conduct(folder, wanted, show)
    except UsageError:
        if not (folder / "parts").exists():
            shutil.rmtree(folder)
        raise


def made(folder: Path) -> bool:
    """Whether a folder is a study's."""
    return (folder / "plan.json").exists()


def resume(folder: Path, *, show: bool = True) -> Study:
    """Go on with a study that was stopped; a finished one gives its result at once."""
    try:
        wanted = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"'{folder / 'plan.json'}' cannot be read ({error}); start anew with mlforhpc run --scale.") from None
    first = wanted.requests[0]
    runs.check_configuration(folder, runs.load_benchmark(first.benchmark, first.size), wanted.configuration)
    return _conduct(folder, wanted, show)


def _conduct(folder: Path, wanted: Plan, show: bool) -> Study:
    try:
        strong, weak = _measured(folder, wanted, show)
    except KeyboardInterrupt as because:
        raise Interrupted(folder, because) from None
    result = shown.result(
        metrics.strong(_by_slots(strong)),
        metrics.weak(_by_slots(weak)) if weak else [],
        faults=[*faults(strong), *(fault for part in weak for fault in part.faults)],
        notes=notes(strong),
        installation=wanted.requests[0].size == "tiny",
    )
    runs.write_whole(folder / "manifest.json", document.encode(_manifest(folder, wanted, strong[0])))
    ended = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    runs.write_whole(folder / "result.json", document.encode(document.ResultDocument(run_id=folder.name, result=result, ended=ended)))
    write_report([folder], folder / "report.html")
    if show:
        terminal.show(shown.summary(result, folder))
    return Study(folder=folder, result=result)


def _measured(folder: Path, wanted: Plan, show: bool) -> tuple[list[Part], list[Part]]:
    """Every strong and weak part; every second repeat goes through the slots downwards, so that a drift cancels."""
    each = [(request, slots) for i, request in enumerate(wanted.requests) for slots in wanted.slots[:: -1 if i % 2 else 1]]
    if not all(file_of(folder, "strong", *one).exists() for one in each):
        warm_up(folder, wanted.requests[0], max(wanted.slots), show=show)
    strong, weak = [], []
    for one in each:
        strong.append(part(folder, "strong", *one, show=show))
        if trained(folder / strong[-1].folder):
            weak.append(part(folder, "weak", *one, show=show))
    return strong, weak


def _by_slots(parts: Sequence[Part]) -> dict[int, dict[int, metrics.Work]]:
    found: dict[int, dict[int, metrics.Work]] = {}
    for one in parts:
        found.setdefault(one.slots, {})[one.seed] = one.work
    return found


def _manifest(folder: Path, wanted: Plan, one: Part) -> Manifest:
    """That of a run, as the study's own."""
    found = document.decode((folder / one.folder / "manifest.json").read_bytes(), Manifest)
    return replace(
        found,
        run_id=folder.name,
        benchmark=f"scaling of {found.benchmark}",
        benchmark_class=CLASS,
        seed=wanted.requests[0].seed,
        slots=max(wanted.slots),
        configuration={**found.configuration, "slots": ", ".join(map(str, wanted.slots)), "repeats": len(wanted.requests)},
    )
