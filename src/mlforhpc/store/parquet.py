"""The flat table as Parquet: float64, int64 and string columns, null where a record has no value. Needs the extra `parquet`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlforhpc.store.table import Cell, Table

_TYPES = {"float": pa.float64(), "int": pa.int64(), "str": pa.string()}
_GROUP_ROWS = 5000


def write_parquet(content: Table, path: Path) -> None:
    """Row groups of 5,000 records, so that a store larger than memory can be exported."""
    schema = pa.schema([(column.title, _TYPES[column.type]) for column in content.columns])
    rows = content.rows()
    with pq.ParquetWriter(path, schema) as file:
        while group := list(islice(rows, _GROUP_ROWS)):
            cells = zip(*group, strict=True)
            file.write_table(
                pa.table(
                    [pa.array(map(_utf8, values), type=field.type) for values, field in zip(cells, schema, strict=True)], schema=schema
                )
            )


def _utf8(cell: Cell) -> Cell:
    """Text that UTF-8 cannot write (a lone surrogate in a traceback) is escaped, as in CSV."""
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell
