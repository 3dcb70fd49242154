"""Commands about finished runs: report, compare, replay, cite."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlforhpc.cli.options import JSON, RUN
from mlforhpc.cli.printing import print_json, print_rich
from mlforhpc.core.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="Default: report.html (or timeline.perfetto.json, mllog.txt) in the run folder."
)
@click.option("--perfetto", is_flag=True, help="Instead, the timeline of each run or campaign for ui.perfetto.dev or chrome://tracing.")
@click.option("--mllog", is_flag=True, help="Instead, an event log of each run in the style of MLPerf (:::MLLOG lines).")
@JSON
def report(runs: Sequence[Path], output: Path | None, perfetto: bool, mllog: bool, as_json: bool) -> None:
    """Write a self-contained HTML report of one or more runs, or their timelines or event logs."""
    from mlforhpc.report import write_mllog, write_perfetto, write_report

    if perfetto and mllog:
        raise UsageError("--perfetto and --mllog write a file each; give one of the two at a time.")
    if perfetto or mllog:
        if output is not None and len(runs) > 1:
            raise UsageError(f"--output names one file, found {len(runs)} runs; without it each file goes into its run folder.")
        files = [(write_perfetto if perfetto else write_mllog)(folder, output) for folder in runs]
        print_json({"perfetto" if perfetto else "mllog": files}) if as_json else click.echo("\n".join(map(str, files)))
        return
    page = write_report(list(runs), output or runs[0] / "report.html")
    print_json({"report": page}) if as_json else click.echo(page)


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@JSON
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Ratios B / A of two runs' headline figures, with intervals: better, worse, or no difference shown."""
    from mlforhpc.report import comparison

    found = comparison.compare_runs(a, b)
    print_json(found) if as_json else print_rich(comparison.table(found))


@click.command()
@RUN
@JSON
def replay(run: Path, as_json: bool) -> None:
    """Make a run's decisions again from its trace, and say whether they come out the same."""
    from mlforhpc import learn, suite

    rows = list(learn.replayed(run) if learn.made(run) else suite.replayed(run))
    if as_json:
        print_json(rows)
    else:
        for r in rows:
            print_rich(f"{'[green]same[/]' if r.same else '[red]DIFFERENT[/]'}  {r.decision}: {r.sentence}")
    sys.exit(0 if all(r.same for r in rows) else 1)


@click.command()
@RUN
@JSON
def cite(run: Path, as_json: bool) -> None:
    """The references of what ran."""
    from mlforhpc.report import run_folder

    references = run_folder.read(run).result.references
    print_json(references) if as_json else click.echo("\n".join(references))


COMMANDS = (report, compare, replay, cite)
