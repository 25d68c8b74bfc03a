"""The view ``history`` over the runs' Parquet files, read by DuckDB."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import duckdb

from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VIEW = "history"
_LINES = """\
SELECT * FROM history
QUALIFY concat_ws('.', probe, metric) IN (SELECT unnest($names)) OR status <> 'ok'
    OR row_number() OVER (PARTITION BY run, "case") = 1
ORDER BY started, run, file_row_number
"""
# nothing is fetched from a network: what a query needs beyond DuckDB itself is an error
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_COLUMNS = "its columns: docs/history.md, or --sql 'DESCRIBE history'"
_READS = "it takes one SELECT, DESCRIBE or SUMMARIZE"
_UNQUOTED_CASE = re.compile(r'(?<!["\w])case(?!["\w])(?!.*\bwhen\b)', re.IGNORECASE | re.DOTALL)


def connect(files: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """Return a connection to a database in memory whose view `VIEW` has the lines of `files`, at least one."""
    connection = duckdb.connect(config=_CONFIG)
    connection.read_parquet([str(file) for file in files], union_by_name=True, file_row_number=True).create_view(VIEW)
    return connection


def lines(files: Sequence[Path], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the lines of `metrics`, those that say why something was not measured, and one of every case and run.

    They are in order of time, and those of a run in the order of its plan.

    Parameters
    ----------
    files
        Parquet files, at least one.
    metrics
        ``PROBE.METRIC``, as in ``summary.csv``.
    """
    with connect(files) as connection:
        return _fetch(connection, _LINES, {"names": list(metrics)})


def metrics(files: Sequence[Path]) -> list[tuple[str, str]]:
    """Return the probes and metrics that have values."""
    with connect(files) as connection:
        found = _fetch(connection, "SELECT DISTINCT probe, metric FROM history WHERE n > 0 ORDER BY ALL", {})
    return [(line["probe"], line["metric"]) for line in found]


def select(files: Sequence[Path], sql: str) -> list[dict[str, Any]]:
    """Return the lines that a query on the view `VIEW` answers.

    Raises
    ------
    RunoffError
        When it is not one statement that only reads, or DuckDB cannot answer it.
    """
    with connect(files) as connection:
        try:
            _refuse_unless_it_reads(connection, sql)
            return _fetch(connection, sql, {})
        except duckdb.Error as error:
            raise RunoffError(f"--sql: {_first_lines(error)}", _hint(error, sql)) from error


def _refuse_unless_it_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise `RunoffError` unless `sql` is one statement that reads.

    EXPLAIN is refused too: with ANALYZE it does what it explains, such as writing a file.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise RunoffError(f"--sql: {len(statements) or 'no'} statements", _READS)
    (statement,) = statements
    if statement.type == duckdb.StatementType.MULTI:
        raise RunoffError("--sql: a PIVOT becomes several statements", "name its values: PIVOT history ON run IN (...)")
    if statement.type != duckdb.StatementType.SELECT:
        raise RunoffError(f"--sql: {statement.type.name} is not answered, for it can do more than read", _READS)


def _hint(error: duckdb.Error, sql: str) -> str:
    if isinstance(error, duckdb.ParserException) and _UNQUOTED_CASE.search(sql):
        return 'case is a word of SQL: the column is "case", with its quotes'
    return _COLUMNS


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    # DuckDB does not look for Ctrl-C while it works, so a thread of its own does the work
    with ThreadPoolExecutor(1) as worker:
        answer = worker.submit(_answer, connection, sql, parameters)
        try:
            return answer.result()
        except KeyboardInterrupt:
            while not answer.done():  # an interrupt before the query begins is lost
                connection.interrupt()
                wait([answer], timeout=0.1)
            raise


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    answer = connection.execute(sql, parameters)
    heads = [column[0] for column in answer.description or ()]
    return [dict(zip(heads, line, strict=True)) for line in answer.fetchall()]


def _first_lines(error: duckdb.Error) -> str:
    """Return what DuckDB says before it quotes the query."""
    told, _, _ = str(error).partition("\nLINE ")
    return " ".join(told.split())
