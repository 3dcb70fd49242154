"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from mlforhpc.core.walltime import seconds

INTO = click.option("--into", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder of run folders.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
ENGINE = click.option(
    "--engine", default="processes", show_default=True, help="NAME, NAME:ADDRESS, or a table [engines.NAME] of the configuration."
)
CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file with engines. Default: mlforhpc.toml in this folder, if it is there."
)
SLOTS = click.option("--slots", type=click.IntRange(1), help="Default: what the engine finds.")
GO_ON = click.option("--go-on", is_flag=True, help="Go on with the newest such run in --into, if there is one: for batch scripts.")
RESUME = click.option("--resume", type=click.Path(path_type=Path), help="Go on with this run folder.")
WALLTIME = click.option(
    "--walltime",
    metavar="TIME",
    callback=lambda context, option, said: said if said is None else seconds(said),
    help="90s, 30m, 2h or 1-12:00:00: stop cleanly just before. Default: the end of the Slurm job.",
)
RUN = click.argument("run", type=click.Path(path_type=Path))
STORE = click.argument("store", type=click.Path(path_type=Path))
