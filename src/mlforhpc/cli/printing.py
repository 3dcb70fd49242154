"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec


def print_json(value: object) -> None:
    """Indented JSON; what JSON does not know is printed as text."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=1).decode())


def print_rich(renderable: Any) -> None:
    """Text with rich's markup, or anything that rich draws."""
    from rich.console import Console

    Console().print(renderable)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, fold: bool = False) -> None:
    """A table whose last column may be folded; with `fold` all of them, so that a narrow terminal hides none."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=not fold and i < len(columns) - 1)
    for row in rows:
        table.add_row(*map(str, row))
    print_rich(table)
