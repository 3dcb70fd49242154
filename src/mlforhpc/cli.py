"""The command line: parse, call, print.

Exit codes: 0 valid (skipped ones have a line), 1 a run INVALID or `verify` failed, 2 bad usage, 3 a run failed or a
store is damaged, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from mlforhpc.core.errors import Interrupted, MLforHPCError

INTO = click.option("--into", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of run folders.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
RUNS = click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
STORE = click.argument("store", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlforhpc")
def cli() -> None:
    """Benchmarks for simulation and machine learning as one job: every claim is a gain at equal quality."""


@cli.command("list")
@JSON
def list_(as_json: bool) -> None:
    """The benchmarks: class, question, sizes, and what a missing one needs."""
    from mlforhpc import suite

    rows = suite.listing()
    if as_json:
        _print_json(rows)
        return
    _print_table(
        "Benchmarks", ["name", "class", "sizes", "question"], [[r.name, r.benchmark_class, " ".join(r.sizes), r.question] for r in rows]
    )


@cli.command()
@click.argument("selection", nargs=-1, metavar="[NAME|CLASS ...]")
@click.option("--size", default="small", show_default=True, help="tiny, small, medium or large.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Runs with seeds seed, seed + 1, ...")
@click.option("--engine", default="processes", show_default=True)
@click.option("--slots", type=click.IntRange(1), help="Default: what the engine finds.")
@click.option(
    "--device", type=click.Choice(["cpu"]), default="cpu", show_default=True, help="Where learners compute; no learner uses another yet."
)
@click.option("--plan", is_flag=True, help="Say what it will cost, and stop.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
@INTO
@JSON
def run(selection: Sequence[str], into: Path, as_json: bool, resume: Path | None, plan: bool, **options: Any) -> None:
    """Run benchmarks (without a name: the default suite), each in a folder of its own, and write the report."""
    from mlforhpc import suite

    if resume is not None:
        _finish(suite.resume(resume, show=not as_json), as_json)
    del options["device"]
    requests, skipped = suite.requests(selection, command=" ".join(["mlforhpc", *sys.argv[1:]]), **options)
    if plan:
        rows = suite.costs(requests)
        if as_json:
            _print_json(rows)
        else:
            _print_table("Plan", ["benchmark", "size", "runs", "core-min", "memory", "disk", "for"], rows)
        return
    _finish(suite.run_all(requests, into=into, skipped=skipped, show=not as_json), as_json)


@cli.command()
@RUNS
@click.option("--output", type=click.Path(path_type=Path), help="Default: report.html in the (first) run folder.")
@JSON
def report(runs: Sequence[Path], output: Path | None, as_json: bool) -> None:
    """Write a self-contained HTML report of one or more runs."""
    from mlforhpc.report import write_report

    page = write_report(list(runs), output or runs[0] / "report.html")
    _print_json({"report": page}) if as_json else click.echo(page)


@cli.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@JSON
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Ratios B / A of two runs' headline figures, with intervals: better, worse, or no difference shown."""
    from mlforhpc.report import comparison

    found = comparison.compare_runs(a, b)
    _print_json(found) if as_json else _print(comparison.table(found))


@cli.command()
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
                _print(f"{'[green]pass[/]' if check.passed else '[red]FAIL[/]'}  {name}: {check.sentence} [dim]({check.cost_s:.1f} s)[/]")
    for line in skipped:
        click.echo(f"skipped: {line}", err=True)
    if as_json:
        _print_json(rows)
    sys.exit(0 if all(r["passed"] for r in rows) else 1)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@JSON
def replay(run: Path, as_json: bool) -> None:
    """Make a run's decisions again from its trace, and say whether they come out the same."""
    from mlforhpc import suite

    rows = list(suite.replayed(run))
    if as_json:
        _print_json(rows)
    else:
        for r in rows:
            _print(f"{'[green]same[/]' if r.same else '[red]DIFFERENT[/]'}  {r.decision}: {r.sentence}")
    sys.exit(0 if all(r.same for r in rows) else 1)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@JSON
def cite(run: Path, as_json: bool) -> None:
    """The references of what ran."""
    from mlforhpc.report import run_folder

    references = run_folder.read(run).result.references
    _print_json(references) if as_json else click.echo("\n".join(references))


@cli.command()
@JSON
def system(as_json: bool) -> None:
    """What this machine offers: cores, memory, engines, extras."""
    from mlforhpc import suite

    rows = suite.system_facts()
    _print_json(dict(rows)) if as_json else _print_table("System", ["what", "found"], rows)


@cli.group()
def store() -> None:
    """Show, check and export a store."""


@store.command()
@STORE
@JSON
def show(store: Path, as_json: bool) -> None:
    """What a store holds: per simulation and version, counts by outcome, cost and size."""
    from mlforhpc.store import FolderStore, summary

    with FolderStore.open(store, read_only=True) as opened:
        rows = summary(opened)
    if as_json:
        _print_json(rows)
        return
    table = [
        [r.simulation, r.version, *(r.counts.get(o, 0) for o in ("ok", "failed", "timed_out")), f"{r.cost_s:.1f}", r.size_bytes]
        for r in rows
    ]
    _print_table(str(store), ["simulation", "version", "ok", "failed", "timed out", "cost slot-s", "bytes"], table)


@store.command()
@STORE
@JSON
def check(store: Path, as_json: bool) -> None:
    """Compare the hash of every record; exit code 3 if one is damaged."""
    from mlforhpc.store import FolderStore

    with FolderStore.open(store, read_only=True) as opened:
        damaged = list(opened.check())
    if as_json:
        _print_json(damaged)
    else:
        click.echo("\n".join(damaged) or "Every record is whole.")
    sys.exit(3 if damaged else 0)


@store.command("discard-damaged")
@STORE
@JSON
def discard_damaged(store: Path, as_json: bool) -> None:
    """Remove the damaged records, each named, so that they can be simulated again."""
    from mlforhpc.store import FolderStore

    with FolderStore.open(store) as opened:
        discarded = list(opened.discard_damaged())
    _print_json(discarded) if as_json else click.echo("\n".join(discarded) or "Every record is whole.")


@store.command()
@STORE
@click.argument("path", type=click.Path(path_type=Path))
@JSON
def export(store: Path, path: Path, as_json: bool) -> None:
    """Write all records to PATH: .csv, or .parquet (extra `parquet`)."""
    from mlforhpc.store import FolderStore
    from mlforhpc.store import export as write

    with FolderStore.open(store, read_only=True) as opened:
        records = write(opened, path)
    _print_json({"records": records, "path": path}) if as_json else click.echo(f"{records} records in {path}")


def _finish(ran: Any, as_json: bool) -> NoReturn:
    """Print what a suite gave, and end with its exit code."""
    if as_json:
        _print_json(ran.as_json())
    sys.exit(ran.exit_code)


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=1).decode())


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=i < len(columns) - 1)
    for row in rows:
        table.add_row(*map(str, row))
    _print(table)


def main(arguments: Sequence[str] | None = None, exit: Callable[[int], NoReturn] = sys.exit) -> None:
    """Entry point: errors become one sentence and their exit code."""
    if not sys.platform.startswith(("linux", "darwin")):
        click.echo(f"MLforHPC runs on Linux (tested) and macOS (best effort), found {sys.platform}; use WSL on Windows.", err=True)
        exit(2)
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        exit(2)
    except Interrupted as error:
        click.echo(f"Interrupted; every finished simulation is kept. Go on with: mlforhpc run --resume {error.folder}", err=True)
        exit(130)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        exit(130)
    except MLforHPCError as error:
        click.echo(f"Error: {error}", err=True)
        exit(error.exit_code)
