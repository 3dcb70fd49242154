"""The command line: parse, call, print; a file here holds the commands about one thing.

Exit codes: 0 valid (skipped ones have a line), 1 a run INVALID or `verify` failed, 2 bad usage, 3 a run failed or a
store is damaged, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from mlforhpc.cli import benchmarks, runs
from mlforhpc.cli.predict import predict
from mlforhpc.cli.store import store
from mlforhpc.cli.surrogate import surrogate
from mlforhpc.core.errors import Interrupted, MLforHPCError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlforhpc")
def cli() -> None:
    """Benchmarks and surrogates for simulation and machine learning as one job: every claim is a gain at equal quality."""


for command in (*benchmarks.COMMANDS, *runs.COMMANDS, surrogate, predict, store):
    cli.add_command(command)


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
        from mlforhpc import learn

        command = "surrogate" if learn.made(error.folder) else "run"
        click.echo(f"Interrupted; every finished simulation is kept. Go on with: mlforhpc {command} --resume {error.folder}", err=True)
        exit(130)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        exit(130)
    except MLforHPCError as error:
        click.echo(f"Error: {error}", err=True)
        exit(error.exit_code)
