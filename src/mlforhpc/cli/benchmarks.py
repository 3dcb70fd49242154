"""Commands about benchmarks: list, run, verify, and what the system offers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from mlforhpc.cli.options import CONFIG, ENGINE, GO_ON, INTO, JSON, RESUME, SEED, SLOTS, WALLTIME
from mlforhpc.cli.printing import print_json, print_rich, print_table
from mlforhpc.cli.surrogate import resumed
from mlforhpc.core.walltime import stopping


@click.command("list")
@JSON
def list_(as_json: bool) -> None:
    """The benchmarks: class, question, sizes, and what a missing one needs."""
    from mlforhpc import suite

    rows = suite.listing()
    if as_json:
        print_json(rows)
        return
    print_table(
        "Benchmarks", ["name", "class", "sizes", "question"], [[r.name, r.benchmark_class, " ".join(r.sizes), r.question] for r in rows]
    )


@click.command()
@click.argument("selection", nargs=-1, metavar="[NAME|CLASS ...]")
@click.option("--size", default="small", show_default=True, help="tiny, small, medium or large.")
@SEED
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Runs with seeds seed, seed + 1, ...")
@ENGINE
@CONFIG
@SLOTS
@click.option(
    "--device", type=click.Choice(["cpu"]), default="cpu", show_default=True, help="Where learners compute; no learner uses another yet."
)
@click.option("--scale", metavar="slots=1,2,...", help="Measure strong and weak efficiency of one benchmark on these numbers of slots.")
@click.option("--plan", is_flag=True, help="Say what it will cost, and stop.")
@WALLTIME
@RESUME
@GO_ON
@INTO
@JSON
def run(selection: Sequence[str], walltime: float | None, **options: Any) -> None:
    """Run benchmarks (without a name: the default suite), each in a folder of its own, and write the report."""
    with stopping(walltime):
        _run(selection, **options)


def _run(
    selection: Sequence[str], into: Path, as_json: bool, resume: Path | None, plan: bool, go_on: bool, scale: str | None, **options: Any
) -> None:
    from mlforhpc import learn, scaling, suite

    if resume is not None and learn.made(resume):
        sys.exit(resumed(resume, as_json=as_json))
    if resume is not None and scaling.made(resume):
        _finish(scaling.resume(resume, show=not as_json), as_json)
    if resume is not None:
        _finish(suite.resume(resume, show=not as_json), as_json)
    del options["device"]
    requests, skipped = suite.requests(selection, command=" ".join(["mlforhpc", *sys.argv[1:]]), **options)
    study = scaling.plan(requests, scale, slots=options["slots"]) if scale is not None else None
    if study and go_on:
        raise click.UsageError("--go-on finds runs, not studies of scaling: go on with --resume FOLDER.")
    if plan:
        rows = scaling.costs(study) if study else suite.costs(requests)
        if as_json:
            print_json(rows)
        else:
            print_table("Plan", ["benchmark", "size", "runs", "core-min", "memory", "disk", "for"], rows)
            for sentence in skipped:
                click.echo(f"skipped: {sentence}")
        return
    if study:
        _finish(scaling.measure(study, into=into, show=not as_json), as_json)
    _finish(suite.run_all(requests, into=into, skipped=skipped, show=not as_json, go_on=go_on), as_json)


@click.command()
@click.argument("selection", nargs=-1, metavar="[NAME|CLASS ...]")
@JSON
def verify(selection: Sequence[str], as_json: bool) -> None:
    """Hold each benchmark's yardstick (solver, metric, baseline) against known truths."""
    from mlforhpc import suite

    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for name, checks in suite.verifications(selection, skipped):
        for check in checks:
            rows.append({"benchmark": name, **asdict(check)})
            if not as_json:
                print_rich(
                    f"{'[green]pass[/]' if check.passed else '[red]FAIL[/]'}  {name}: {check.sentence} [dim]({check.cost_s:.1f} s)[/]"
                )
    for line in skipped:
        click.echo(f"skipped: {line}", err=True)
    if as_json:
        print_json(rows)
    sys.exit(0 if all(r["passed"] for r in rows) else 1)


@click.command()
@JSON
def system(as_json: bool) -> None:
    """What this machine offers: cores, memory, engines, extras."""
    from mlforhpc import suite

    rows = suite.system_facts()
    print_json(dict(rows)) if as_json else print_table("System", ["what", "found"], rows)


def _finish(ran: Any, as_json: bool) -> NoReturn:
    """Print what a suite gave, and end with its exit code."""
    if as_json:
        print_json(ran.as_json())
    sys.exit(ran.exit_code)


COMMANDS = (list_, run, verify, system)
