"""A store as one flat file for other programs: CSV, or Parquet with the extra `parquet`. Written aside, then renamed."""

from __future__ import annotations

import csv
import importlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from mlforhpc.core.errors import UsageError
from mlforhpc.core.names import missing
from mlforhpc.core.store import Store
from mlforhpc.store.failures import as_store_error
from mlforhpc.store.table import Table, table


def export(store: Store, path: str | Path, simulation: str | None = None) -> int:
    """Write all records (of one simulation) as a table; an existing file is replaced. Columns: see table.py.

    Args:
        store: any store.
        path: ends with .csv or .parquet.
        simulation: of one simulation only.

    Returns:
        The number of rows.
    """
    target = Path(path).absolute()
    write = _writer_of(target)
    content = table(store, simulation)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        write(content, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise as_store_error(error, target.parent, "export to a file beside") from error
    finally:
        part.unlink(missing_ok=True)
    return content.count


def write_csv(content: Table, path: Path) -> None:
    """UTF-8, a header line, floats with every digit, nothing where a record has no value."""
    with path.open("x", newline="", encoding="utf-8", errors="backslashreplace") as file:
        lines = csv.writer(file)
        lines.writerow([column.title for column in content.columns])
        lines.writerows(content.rows())


def _writer_of(target: Path) -> Callable[[Table, Path], None]:
    if target.suffix == ".csv":
        return write_csv
    if target.suffix != ".parquet":
        raise UsageError(f"An export ends with .csv or .parquet, found '{target.name}'.")
    try:
        write: Callable[[Table, Path], None] = importlib.import_module("mlforhpc.store.parquet").write_parquet
    except ModuleNotFoundError as error:
        raise missing("The export to Parquet", error.name or "pyarrow") from error
    return write
