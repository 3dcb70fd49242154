"""The command line: parse, call, print; a file here holds the commands about one thing.

Exit codes: 0 valid (skipped ones have a line), 1 a run INVALID or `verify` failed, 2 bad usage, 3 a run failed or a
store is damaged, 75 stopped at the walltime's end or by a signal (the same command with --go-on goes on), 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from mlforhpc.cli import benchmarks, runs
from mlforhpc.cli.predict import predict
from mlforhpc.cli.serve import serve
from mlforhpc.cli.store import store
from mlforhpc.cli.surrogate import surrogate
from mlforhpc.core.errors import Interrupted, MLforHPCError, Stopped

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlforhpc")
def cli() -> None:
    """Benchmarks and surrogates for simulation and machine learning as one job: every claim is a gain at equal quality."""


for command in (*benchmarks.COMMANDS, *runs.COMMANDS, surrogate, predict, serve, store):
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
        click.echo(f"{error}; every finished simulation is kept. Go on with: mlforhpc {command} --resume {error.folder}", err=True)
        if error.left:
            click.echo(f"Not begun: {', '.join(error.left)}. The same command with --go-on goes on with all of it.", err=True)
        exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        stopped = next((e for e in (error, error.__cause__) if isinstance(e, Stopped)), None)  # click wraps it
        click.echo(f"{stopped}. The same command with --go-on goes on." if stopped else "Interrupted.", err=True)
        exit(stopped.exit_code if stopped else 130)
    except MLforHPCError as error:
        click.echo(f"Error: {error}", err=True)
        exit(error.exit_code)
