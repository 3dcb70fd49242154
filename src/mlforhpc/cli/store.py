"""Commands about a store: show, check, discard-damaged, prune, export, import."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlforhpc.cli import spelling
from mlforhpc.cli.options import JSON, STORE
from mlforhpc.cli.printing import print_json, print_table
from mlforhpc.core.errors import UsageError


@click.group()
def store() -> None:
    """Show, check, prune, export and fill a store."""


@store.command()
@STORE
@JSON
def show(store: Path, as_json: bool) -> None:
    """What a store holds: per simulation and version, counts by outcome, cost and size."""
    from mlforhpc.store import FolderStore, summary

    with FolderStore.open(store, read_only=True) as opened:
        rows = summary(opened)
    if as_json:
        print_json(rows)
        return
    table = [
        [r.simulation, r.version, *(r.counts.get(o, 0) for o in ("ok", "failed", "timed_out")), f"{r.cost_s:.1f}", r.size_bytes]
        for r in rows
    ]
    print_table(str(store), ["simulation", "version", "ok", "failed", "timed out", "cost slot-s", "bytes"], table)


@store.command()
@STORE
@JSON
def check(store: Path, as_json: bool) -> None:
    """Compare the hash of every record; exit code 3 if one is damaged."""
    from mlforhpc.store import FolderStore

    with FolderStore.open(store, read_only=True) as opened:
        damaged = list(opened.check())
    if as_json:
        print_json(damaged)
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
    print_json(discarded) if as_json else click.echo("\n".join(discarded) or "Every record is whole.")


@store.command()
@STORE
@click.option("--simulation", metavar="NAME", help="Records of this simulation.")
@click.option("--version", help="Records of this version.")
@click.option("--old-versions", is_flag=True, help="Records of another version than the newest record of their simulation.")
@click.option("--outcome", type=click.Choice(["ok", "failed", "timed_out"]), help="Records that ended so.")
@click.option("--down-to", metavar="SIZE", help="The oldest of them, until the store takes no more than SIZE (10GB, 500MB).")
@click.option("--yes", is_flag=True, help="Delete. Without it, only say what would go.")
@JSON
def prune(
    store: Path,
    simulation: str | None,
    version: str | None,
    old_versions: bool,
    outcome: str | None,
    down_to: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete the records that meet all that is said, for good, and give their space back."""
    from mlforhpc.core.sizes import size_bytes, spelt
    from mlforhpc.store import FolderStore

    down_to_bytes = None if down_to is None else size_bytes(down_to)
    if not (store / "index.sqlite").exists():
        raise UsageError(f"There is no store to prune at {store}. Check the path.")
    with FolderStore.open(store) as opened:
        pruned = opened.prune(
            simulation=simulation, version=version, outcome=outcome, old_versions=old_versions, down_to_bytes=down_to_bytes, dry_run=not yes
        )
    if as_json:
        print_json(pruned)
        return
    rows = [[line.simulation, line.version, line.outcome, line.records, spelt(line.size_bytes)] for line in pruned.lines]
    if rows:
        print_table(str(store), ["simulation", "version", "outcome", "records", "size"], rows)
    what = f"{pruned.records} records and {pruned.array_files} array files"
    sizes = f"from {spelt(pruned.before_bytes)} to {'about ' * pruned.dry_run}{spelt(pruned.after_bytes)}"
    click.echo(f"{what} would go: {sizes}. Nothing was deleted; add --yes to do it." if pruned.dry_run else f"{what} are gone: {sizes}.")
    if down_to_bytes is not None and pruned.after_bytes > down_to_bytes:
        click.echo(f"That is more than {spelt(down_to_bytes)}: no other records may go by what was said.")


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
    print_json({"records": records, "path": path}) if as_json else click.echo(f"{records} records in {path}")


@store.command("import")
@STORE
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--simulation", metavar="NAME", help="What was run. Default: an export's own, else the file's name.")
@click.option("--version", help="Of the simulation. Default: an export's own, else 'imported'.")
@click.option("--outputs", required=True, metavar="NAME,...", help="COLUMN, NAME=p0..p63 or NAME=p* (* is a number).")
@click.option("--se", metavar="NAME,...", help="Columns of standard errors, in the order of the outputs.")
@click.option("--parameters", metavar="NAME,...", help="Columns that are parameters. Default: all that are nothing else.")
@click.option("--parameter", multiple=True, metavar="NAME=...", help="Bounds, unit or options; spelt as in `mlforhpc surrogate --help`.")
@JSON
def import_(
    store: Path,
    path: Path,
    simulation: str | None,
    version: str | None,
    outputs: str,
    se: str | None,
    parameters: str | None,
    parameter: Sequence[str],
    as_json: bool,
) -> None:
    """Keep the runs in PATH (.csv or .parquet, one run a row) in STORE; a second time adds nothing."""
    from mlforhpc.store import FolderStore
    from mlforhpc.store.importing import import_runs, read_runs

    runs = read_runs(
        path,
        outputs=spelling.names(outputs),
        se=spelling.names(se or ""),
        parameters=spelling.names(parameters) if parameters else None,
        space=spelling.parameters(parameter),
        simulation=simulation,
        version=version,
    )
    with FolderStore.open(store) as opened:
        new = import_runs(opened, runs)
    what = {"simulation": runs.simulation.name, "version": runs.simulation.version, "runs": len(runs.records), "new": new}
    if as_json:
        print_json({**what, "notes": runs.notes})
        return
    failed = sum(record.outcome != "ok" for record in runs.records)
    known = f", {len(runs.records) - new} were there already" if new < len(runs.records) else ""
    click.echo(f"{new} records of simulation '{what['simulation']}', version '{what['version']}', added to {store}{known}.")
    if failed:
        click.echo(f"{failed} of the {len(runs.records)} runs have no outputs: they are kept as failed.")
    for note in runs.notes:
        click.echo(note)
