"""The command `serve`: the broker as a service, over HTTP."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from mlforhpc.cli.options import JSON
from mlforhpc.core.walltime import stopping

if TYPE_CHECKING:
    from mlforhpc.server.service import Service

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("simulations", nargs=-1, metavar="[SIMULATION]...")
@click.option("--config", type=_PATH, help="TOML file: simulations, engines, terms, limits; see docs/service.md.")
@click.option("--host", help="Where to listen. Default: 127.0.0.1; any other address needs a token.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 = a free one. Default: 8000.")
@click.option("--folder", type=_PATH, help="Where everything is kept. Default: mlforhpc-service.")
@click.option("--log", type=_PATH, help="File of the log, one JSON line a request; - = standard output. Default: log.jsonl in the folder.")
@click.option("--tolerance", type=click.FloatRange(0, min_open=True), help="Relative error of an answer. Default: 0.1.")
@click.option(
    "--fidelity", type=click.FloatRange(0, 1, min_open=True), help="Of the simulation's runs. Default: 1, or the simulation's own."
)
@click.option("--engine", help="NAME, NAME:ADDRESS, or a table [engines.NAME] of the configuration. Default: processes.")
@click.option("--slots", type=click.IntRange(1), help="Default: what the engine finds.")
@click.option("--token-file", type=_PATH, help="File with the token that clients must show. Default: the variable MLFORHPC_TOKEN.")
@click.option("--certificate", type=_PATH, help="PEM file of the server's certificate: HTTPS.")
@click.option("--key", type=_PATH, help="PEM file of its key.")
@JSON
def serve(simulations: Sequence[str], config: Path | None, as_json: bool, **said: Any) -> None:
    """Answer for SIMULATIONs over HTTP: by a surrogate where it is sure, by the simulation everywhere else.

    \b
    SIMULATION     NAME           a built-in simulation
                   FILE.py:name   your own, in Python
                   FILE.toml      an executable, see docs/guides/own-simulation.md

    \b
    mlforhpc serve nanoconfinement
    mlforhpc serve solver.toml --port 0 --tolerance 0.05
    mlforhpc serve --config service.toml

    It speaks the Open Inference Protocol v2 under /v2. Ctrl-C or SIGTERM ends it; the same command goes on where it stopped.
    """
    from mlforhpc.server.configuration import configuration
    from mlforhpc.server.process import serve as run

    wanted = configuration(config, simulations=simulations, said=said)

    def ready(service: Service, address: str) -> None:
        models = ", ".join(service.models)
        if as_json:
            told = {"address": address, "models": list(service.models), "folder": str(wanted.folder), "notes": wanted.notes}
            click.echo(msgspec.json.encode(told).decode())
            return
        for note in wanted.notes:
            click.echo(note, err=True)
        click.echo(f"Serving {models} at {address} (kept in {wanted.folder}); Ctrl-C ends it.")

    with stopping(None):
        ended = run(wanted, ready)
    sys.exit({None: 0, signal.SIGINT: 130}.get(ended, 75))
