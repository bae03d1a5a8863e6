"""Rows of a run as a table for other tools: CSV, Parquet, or what a query gives.

DuckDB reads and writes; it comes with ``pip install 'attnproto[query]'`` and loads nothing from a
network. The table ``rows`` has a column for each value, named by the way to it: ``point_D``,
``result_time_us``, ``device_name``. Lists stay lists.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnproto.errors import AttnprotoError
from attnproto.results.store import POINTS, latest_rows

_EVERYTHING = "select * from rows"
# What a build of DuckDB lacks is refused, not fetched.
_CONFIG = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class RowsError(AttnprotoError, ValueError):
    """DuckDB is missing, there are no rows, or a query or a file is refused."""


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give each value of nested mappings a name of its own, joined by underscores."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            columns |= flat(value, f"{prefix}{name}_")
        else:
            columns[prefix + name] = value
    return columns


def write_rows(
    folder: Path, *, csv: Path | None = None, parquet: Path | None = None, sql: str = ""
) -> str:
    """Write the rows of a run, or what a query makes of them.

    Args:
        folder: Holds points.jsonl; of a point that ran again, the later row counts.
        csv: A file to write.
        parquet: A file to write.
        sql: A query over the table ``rows``; all of it when empty.

    Returns:
        CSV, where no file was named; else nothing.

    Raises:
        RowsError: DuckDB is not installed or refuses the query or the file, or there is no row.
    """
    try:
        import duckdb
    except ImportError:
        raise RowsError(
            "[rows] found no DuckDB, needs it to write tables; pip install 'attnproto[query]'"
        ) from None
    rows = [flat(row) for row in latest_rows(folder)]
    if not rows:
        raise RowsError(f"[rows] found no row in {folder / POINTS}, needs one; run a prototype")
    with tempfile.TemporaryDirectory() as place, duckdb.connect(config=_CONFIG) as database:
        file = Path(place) / POINTS
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        read = (
            "read_json(?, format='newline_delimited', sample_size=-1, map_inference_threshold=-1)"
        )
        try:
            database.execute(f"create table rows as select * from {read}", [str(file)])
            query = sql or _EVERYTHING
            statements = database.extract_statements(query)
            # Anything else could fetch an extension, or write where nobody looks.
            if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                raise RowsError(f"[rows] found {query!r}, needs one query; begin it with select")
            answer = database.sql(query)
            if csv is not None:
                answer.write_csv(str(csv))
            if parquet is not None:
                answer.write_parquet(str(parquet))
            if csv is not None or parquet is not None:
                return ""
            printed = Path(place) / "printed.csv"
            answer.write_csv(str(printed))
            return printed.read_text(encoding="utf-8")
        except duckdb.Error as error:
            said = " ".join(str(error).split())
            raise RowsError(f"[rows] found what DuckDB refuses ({said}); correct it") from None
