"""The command `predict`: what a saved surrogate answers, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlforhpc.cli.options import JSON
from mlforhpc.cli.printing import print_json, print_table
from mlforhpc.core.errors import UsageError

if TYPE_CHECKING:
    from mlforhpc.answers import Of, Points
    from mlforhpc.core.learner import Prediction, Surrogate


@click.command()
@click.argument("surrogate", type=click.Path(path_type=Path))
@click.option("--at", "at", multiple=True, metavar="NAME=VALUE", help="A parameter of the point; once for each.")
@click.option("--table", type=click.Path(path_type=Path), help="Points, one a row: .csv or .parquet with a column for each parameter.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the answers to this .csv or .parquet.")
@click.option("--coverage", default=0.9, show_default=True, type=float, help="Of the intervals, between 0 and 1.")
@click.option("--of", default="run", show_default=True, type=click.Choice(["run", "mean"]), help="Interval for a run, or for the mean.")
@click.option("--joint", is_flag=True, help="Intervals that hold for a whole array at once.")
@JSON
def predict(
    surrogate: Path,
    at: Sequence[str],
    table: Path | None,
    output: Path | None,
    coverage: float,
    of: Of,
    joint: bool,
    as_json: bool,
) -> None:
    """Ask SURROGATE (a .safetensors file or a run folder) at one point (--at) or many (--table).

    \b
    mlforhpc predict runs/... --at load=2e3 --at length=1.5 --at height=0.08
    mlforhpc predict beam.safetensors --table points.csv --output answers.csv
    """
    from mlforhpc import answers
    from mlforhpc.learners._loading import load

    if bool(at) == (table is not None):
        raise UsageError("Where to ask is said by --at NAME=VALUE for each parameter, or by --table FILE; give one of the two.")
    loaded = load(surrogate)
    points = answers.points_in(loaded.space, table) if table is not None else answers.point_at(loaded.space, at)
    found = loaded.predict(points.x, coverage=coverage, of=of, joint=joint)
    if output is not None:
        answers.write(output, points, loaded.outputs, found)
    if as_json:
        print_json(answers.as_json(loaded, points, found) | ({"output": output} if output is not None else {}))
        return
    _show_one(loaded, points, found) if len(points.x) == 1 else _show_many(loaded, points, found)
    if output is not None:
        click.echo(f"{len(points.x)} answers in {output}")


def _show_one(loaded: Surrogate, points: Points, found: Prediction) -> None:
    from mlforhpc import answers

    rows, sentences = answers.one(loaded.outputs, found, 0)
    print_table(_name(loaded), ["output", "answer", answers.kind(found)], rows)
    for sentence in sentences:
        click.echo(sentence)
    click.echo(f"The point is {answers.INSIDE if found.inside[0] else answers.OUTSIDE}.")


def _show_many(loaded: Surrogate, points: Points, found: Prediction) -> None:
    from mlforhpc import answers

    columns, rows = answers.many(points, loaded.outputs, loaded.space, found)
    print_table(f"{_name(loaded)}, {answers.kind(found)}", columns, rows, fold=True)
    if len(points.x) > len(rows):
        click.echo(f"{len(rows)} of {len(points.x)} points are shown; --json or --output FILE gives all.")
    outside = int((~found.inside).sum())
    click.echo(f"{outside} of {len(points.x)} points are {answers.OUTSIDE}." if outside else f"All points are {answers.INSIDE}.")


def _name(loaded: Surrogate) -> str:
    runs = loaded.card.get("runs")
    return f"surrogate {loaded.version}" + (f", from {runs:g} runs" if isinstance(runs, float) else "")
