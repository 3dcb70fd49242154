"""The command `surrogate`: learn somebody's own simulation, or runs they already have, in a run folder with a report."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from mlforhpc.cli import spelling
from mlforhpc.cli.options import CONFIG, ENGINE, GO_ON, INTO, JSON, RESUME, SEED, SLOTS, WALLTIME
from mlforhpc.cli.printing import print_json
from mlforhpc.core.choice import engine_choice
from mlforhpc.core.errors import Interrupted, MLforHPCError, UsageError
from mlforhpc.core.walltime import stopping

if TYPE_CHECKING:
    from mlforhpc.campaign import Campaign
    from mlforhpc.core.manifest import Setting
    from mlforhpc.core.result import Result
    from mlforhpc.core.simulation import Simulation
    from mlforhpc.learn import Job
    from mlforhpc.store.importing import Runs

_OF_SIMULATIONS = ("budget", "strategy", "fidelity", "limit_s")
_OF_TABLES = ("se", "parameters", "simulation_name")
_HOW = ("tolerance", "learner", "validation_runs")


@click.command()
@click.argument("simulation", required=False)
@click.option("--table", type=click.Path(path_type=Path), help="Learn from these runs instead: .csv or .parquet, one run a row.")
@click.option("--parameter", multiple=True, metavar="NAME=...", help="Space of a plain function, or bounds in a table; spelt as above.")
@click.option("--outputs", metavar="NAME,...", help="Outputs of a plain function, or of a table; spelt as above.")
@click.option("--se", metavar="NAME,...", help="Table: columns of standard errors, in the order of the outputs.")
@click.option("--parameters", metavar="NAME,...", help="Table: columns that are parameters. Default: all that are nothing else.")
@click.option("--simulation", "simulation_name", metavar="NAME", help="Table: what was run. Default: the file's name.")
@click.option("--budget", metavar="RUNS|TIME", help="Training runs (60), or slot time for them ('10 core-min').")
@click.option(
    "--tolerance", type=click.FloatRange(0, min_open=True), help="Relative error to reach: simulate until it is, and judge by it."
)
@click.option("--learner", help="Default: the scenario's.")
@click.option("--strategy", help="Chooses the points. Default: the scenario's.")
@click.option("--fidelity", metavar="F|LOW:HIGH", help="Of the training runs, in (0, 1], or the range to choose it from. Default: 1.")
@click.option("--validation-runs", type=click.IntRange(0), help="Held-out runs, besides the budget; of a table, runs set aside.")
@click.option("--limit-s", type=click.FloatRange(0, min_open=True), help="Time limit of one run; one over it is killed and kept as such.")
@SEED
@ENGINE
@CONFIG
@SLOTS
@WALLTIME
@RESUME
@GO_ON
@INTO
@JSON
def surrogate(walltime: float | None, **options: Any) -> None:
    """Learn a surrogate of SIMULATION (or of the runs in --table): simulate, fit, calibrate, check, report.

    \b
    SIMULATION     FILE.py:name   a simulation, or a plain function with --parameter and --outputs
                   FILE.toml      an executable, see docs/guides/own-simulation.md
                   NAME           a built-in simulation
    --parameter    NAME=LOW:HIGH[:log][:UNIT]     a number          load=1e3:5e3:N
                   NAME=int:LOW:HIGH[:UNIT]       a whole number    layers=int:1:5
                   NAME=A,B,C                     one of these      metal=steel,copper
    --outputs      NAME[:UNIT]  NAME[64]  NAME:scale=NUMBER         deflection:mm,profile[64]
      of a table   COLUMN  NAME=p0..p63  NAME=p*  (* is a number)   y,profile=p0..p63

    \b
    mlforhpc surrogate beam.py:beam --budget 60 --validation-runs 20
    mlforhpc surrogate solver.toml --budget '10 core-min' --tolerance 0.03
    mlforhpc surrogate --table runs.csv --outputs drag,lift
    """
    with stopping(walltime):
        _surrogate(**options)


def _surrogate(into: Path, resume: Path | None, go_on: bool, as_json: bool, **options: Any) -> None:
    if resume is not None:
        source = click.get_current_context().get_parameter_source
        said = {name: value for name, value in options.items() if source(name) is ParameterSource.COMMANDLINE}
        sys.exit(resumed(resume, as_json=as_json, said=said))
    from mlforhpc import learn

    job = _job(options, command=" ".join(["mlforhpc", *sys.argv[1:]]))
    sys.exit(_conduct(job, into=into, resume=learn.newest(job, into) if go_on else None, as_json=as_json))


def resumed(folder: Path, *, as_json: bool, said: Mapping[str, Any] | None = None) -> int:
    """Go on with a run; what is said again must be what it was begun with. Returns the exit code."""
    from mlforhpc import learn
    from mlforhpc import run as runs

    manifest = learn.manifest_of(folder)
    kept: dict[str, Any] = dict.fromkeys((*_OF_SIMULATIONS, *_OF_TABLES, *_HOW, "simulation", "table", "outputs"))
    kept |= manifest.configuration
    kept["parameter"] = str(kept["parameter"]).split("; ") if "parameter" in kept else []
    where = {"engine": runs.engine_of(manifest), "slots": None, "config": None}
    job = _job({**kept, "seed": manifest.seed, **(said or {}), **where}, command=manifest.command)
    return _conduct(job, into=folder.parent, resume=folder, as_json=as_json)


def _job(options: Mapping[str, Any], *, command: str) -> Job:
    """What the options mean; everything is read and checked before a folder is made."""
    from mlforhpc import learn

    simulation, table, budget = options["simulation"], options["table"], options["budget"]
    if (simulation is None) == (table is None):
        raise UsageError("What to learn is said by SIMULATION (FILE.py:name or FILE.toml) or by --table FILE; give one of the two.")
    foreign = next((name for name in (_OF_SIMULATIONS if table else _OF_TABLES) if options[name] is not None), None)
    if foreign:
        what = "a simulation, and a table has its runs already" if table else "a table"
        raise UsageError(f"{_spelt(foreign)} is for {what}; leave it out.")
    how = {name: options[name] for name in (*_HOW, "strategy", "limit_s", "seed")}
    how["fidelity"] = spelling.fidelity(options["fidelity"]) if options["fidelity"] is not None else None
    return learn.Job(
        subject=_runs(options) if table else _simulation(options),
        options=learn.Options(budget=int(budget) if budget is not None and budget.strip().isdigit() else budget, **how),
        engine=engine_choice(options["engine"], slots=options["slots"], file=options["config"]),
        configuration=_configuration(options),
        command=command,
    )


def _simulation(options: Mapping[str, Any]) -> Simulation:
    from mlforhpc.simulations._source import simulation_of

    outputs = spelling.outputs(options["outputs"]) if options["outputs"] else ()
    return simulation_of(options["simulation"], parameters=spelling.parameters(options["parameter"]), outputs=outputs)


def _runs(options: Mapping[str, Any]) -> Runs:
    from mlforhpc.store.importing import read_runs

    return read_runs(
        options["table"],
        outputs=spelling.names(options["outputs"] or ""),
        se=spelling.names(options["se"] or ""),
        parameters=spelling.names(options["parameters"]) if options["parameters"] else None,
        space=spelling.parameters(options["parameter"]),
        simulation=options["simulation_name"],
    )


def _configuration(options: Mapping[str, Any]) -> dict[str, Setting]:
    """What the manifest keeps: every option that decides a number, as it was said."""
    kept: dict[str, Setting] = {}
    for name in ("simulation", "table", "outputs", *_OF_SIMULATIONS, *_OF_TABLES, *_HOW):
        value = options[name]
        if value is not None:
            kept[name] = str(value) if isinstance(value, Path) else value
    if options["parameter"]:
        kept["parameter"] = "; ".join(options["parameter"])
    if options["table"] is not None:
        kept["content of the table"] = hashlib.sha256(Path(options["table"]).read_bytes()).hexdigest()[:12]
    return kept


def _spelt(option: str) -> str:
    return "--simulation" if option == "simulation_name" else f"--{option.replace('_', '-')}"


def _conduct(job: Job, *, into: Path, resume: Path | None, as_json: bool) -> int:
    """Run or resume with progress, write the report, show what came out; the exit code."""
    from mlforhpc import learn
    from mlforhpc.report import progress, write_report

    begun: list[Path] = []
    with progress.Progress(f"surrogate of {job.simulation.name}: {job.size}, seed {job.options.seed}", show=not as_json) as bar:

        def watch(campaign: Campaign) -> None:
            begun.append(campaign.folder)
            bar.follow(campaign.trace)

        try:
            ran = learn.run(job, root=into, watch=watch) if resume is None else learn.resume(job, resume, watch=watch)
        except KeyboardInterrupt as because:
            if begun:
                raise Interrupted(begun[0], because) from None
            raise
        except MLforHPCError:
            if begun and begun[0].exists():
                click.echo(f"What was simulated is kept in {begun[0]}.", err=True)
            raise
    folder, result = ran
    page = write_report([folder], folder / "report.html")
    _print_json(job, folder, result, page) if as_json else _show(job, folder, result, page)
    return 0 if result.verdict.status == "VALID" else 1


def _print_json(job: Job, folder: Path, result: Result, page: Path) -> None:
    from mlforhpc import learn

    onnx = folder / learn.ONNX
    print_json(
        {
            "folder": folder, "verdict": result.verdict, "headline": result.headline, "quality": result.quality,
            "surrogate": folder / learn.SURROGATE, "onnx": onnx if onnx.exists() else None, "report": page, "notes": _notes(job),
        }
    )  # fmt: skip


def _notes(job: Job) -> list[str]:
    """What was decided for the user, in sentences."""
    return [*getattr(job.subject, "notes", ()), *job.notes]


def _show(job: Job, folder: Path, result: Result, page: Path) -> None:
    """The summary that every run ends with, then the way to ask the surrogate."""
    from mlforhpc import learn
    from mlforhpc.report import terminal

    terminal.show(terminal.summary(result, folder))
    for table in (t for t in result.tables if t.name == "failures"):
        reasons = "; ".join(f"{runs} x {reason or outcome}" for outcome, reason, runs in table.rows[:3])
        click.secho(f"Without outputs: {table.caption} {reasons}.", fg="yellow")
    for note in _notes(job):
        click.echo(note)
    click.echo(f"report:     {page}")
    click.echo(f"surrogate:  {folder / learn.SURROGATE}")
    middle = job.simulation.space.point(job.simulation.space.decode([[0.5] * len(job.simulation.space)])[0])
    at = " ".join(f"--at {name}={value:.4g}" if isinstance(value, float) else f"--at {name}={value}" for name, value in middle.items())
    click.echo(f"ask it:     mlforhpc predict {folder} {at}")
