"""The view ``history``: the runs' own files, read by DuckDB."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from runoff.analysis.measurements import engine_of, model_sha256
from runoff.analysis.summary import COLUMNS as SUMMARY
from runoff.analysis.validity import computes
from runoff.history.runs import moment
from runoff.records.errors import RunoffError
from runoff.records.machine import headline, machine_key
from runoff.records.schema import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.history.runs import FoundRun

VIEW = "history"
_TEXTS = ("machine", "machine_key", "runoff", "runtime", "runtime_version", "runtime_build", "model_sha256")
_CASES = pa.schema(
    [
        *((name, pa.string()) for name in ("filename", "case", "run", "suite")),
        *((name, pa.timestamp("s")) for name in ("started", "finished")),
        *((name, pa.string()) for name in (*_TEXTS, "made_with")),
        ("computes", pa.bool_()),
        ("twin_of", pa.string()),
    ]
)
"""Facts from ``run.json`` on a case; docs/history.md describes the columns."""
_TYPES = {"n": "BIGINT"} | dict.fromkeys(
    ("estimate", "low", "high", "ratio", "ratio_low", "ratio_high", "p_adjusted", "floor"), "DOUBLE"
)
_FILES = """\
FROM read_csv($files, all_varchar = true, delim = ',', quote = '"', escape = '"', header = true, filename = true,
    union_by_name = true)
"""
_VIEW = f"""\
CREATE VIEW {VIEW} AS
SELECT cases.* EXCLUDE (filename, "case"),
    {", ".join(f'lines."{name}"::{_TYPES.get(name, "VARCHAR")} AS "{name}"' for name in SUMMARY)},
    place - min(place) OVER (PARTITION BY filename) AS file_row_number
FROM (FROM columns UNION ALL BY NAME SELECT *, row_number() OVER () AS place FROM files) AS lines
JOIN cases USING (filename, "case")
ORDER BY place
"""  # noqa: S608 (names of our own columns)
_COMMIT = re.compile(r"\bgit(?:-commit-id=|\s+)([0-9a-f]{7,40})\b")
_LINES = """\
SELECT * FROM history
QUALIFY concat_ws('.', probe, metric) IN (SELECT unnest($names)) OR status <> 'ok'
    OR row_number() OVER (PARTITION BY run, "case") = 1
ORDER BY started, run, file_row_number
"""
# no downloads: a query that needs an extension of DuckDB is an error
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_COLUMNS = "columns: docs/history.md, or --sql 'DESCRIBE history'"
_READS = "use one SELECT, DESCRIBE or SUMMARIZE"
_UNQUOTED_CASE = re.compile(r'(?<!["\w])case(?!["\w])(?!.*\bwhen\b)', re.IGNORECASE | re.DOTALL)


def connect(runs: Sequence[FoundRun]) -> duckdb.DuckDBPyConnection:
    """Return a connection to a database in memory whose view `VIEW` has the summaries of `runs`, at least one."""
    connection = duckdb.connect(config=_CONFIG)
    connection.sql(_FILES, params={"files": [str(run.summary) for run in runs]}).create_view("files")
    connection.register("columns", pa.schema((name, pa.string()) for name in SUMMARY).empty_table())
    connection.register("cases", pa.Table.from_pylist([line for run in runs for line in _cases(run)], schema=_CASES))
    connection.execute(_VIEW)
    return connection


def _cases(found: FoundRun) -> Iterator[dict[str, Any]]:
    """Yield the facts on each case of a run that accompany its lines; unknown ones are null."""
    info, run = found.info, Run(found.folder, found.info, ())
    for case in info.cases:
        runtime, version, build = engine_of(run, case, ())
        made_with = info.models.get(case.model, {}).get("made_with") or {}
        line = {
            "filename": str(found.summary),
            "case": case.id,
            "run": info.run_id,
            "suite": found.suite,
            "started": moment(info.started),
            "finished": moment(info.finished) if info.finished else None,
            "machine": headline(info.machine),
            "machine_key": machine_key(info.machine),
            "runoff": info.tools.get("runoff"),
            "runtime": runtime,
            "runtime_version": version,
            "runtime_build": short_build(build),
            "model_sha256": model_sha256(run, case),
            "made_with": ", ".join(f"{name} {number}" for name, number in made_with.items()),
            "computes": computes(run, case.target),
            "twin_of": case.control_of,
        }
        yield {name: None if value == "" else value for name, value in line.items()}


def short_build(build: str) -> str:
    """Return seven digits of the commit that a build names; the full text if it names none."""
    match = _COMMIT.search(build)
    return match[1][:7] if match else build


def lines(runs: Sequence[FoundRun], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the lines of `metrics`, those with the reason for a missing value, and one of every case and run.

    They are in order of time; lines of one run are in the order of its plan. `metrics` are ``PROBE.METRIC``, as in
    ``summary.csv``; `runs` has at least one.
    """
    with connect(runs) as connection:
        return _fetch(connection, _LINES, {"names": list(metrics)})


def metrics(runs: Sequence[FoundRun]) -> list[tuple[str, str]]:
    """Return the probes and metrics that have values."""
    with connect(runs) as connection:
        rows = _fetch(connection, "SELECT DISTINCT probe, metric FROM history WHERE n > 0 ORDER BY ALL", {})
    return [(line["probe"], line["metric"]) for line in rows]


def select(runs: Sequence[FoundRun], sql: str) -> list[dict[str, Any]]:
    """Return the result of a query on the view `VIEW`, line by line.

    Raises
    ------
    RunoffError
        If it is not a single statement that only reads, or it fails in DuckDB.
    """
    with connect(runs) as connection:
        try:
            _refuse_unless_it_reads(connection, sql)
            return _fetch(connection, sql, {})
        except duckdb.Error as error:
            raise RunoffError(f"--sql: {_first_lines(error)}", _hint(error, sql)) from error


def _refuse_unless_it_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise `RunoffError` unless `sql` is a single statement that only reads.

    EXPLAIN is refused too: with ANALYZE it executes the statement, which may write a file.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise RunoffError(f"--sql: {len(statements) or 'no'} statements", _READS)
    (statement,) = statements
    if statement.type == duckdb.StatementType.MULTI:
        hint = "list the values: PIVOT history ON run IN (...)"
        raise RunoffError("--sql: a PIVOT without values becomes several statements", hint)
    if statement.type != duckdb.StatementType.SELECT:
        raise RunoffError(f"--sql: {statement.type.name} is not permitted: it can do more than read", _READS)


def _hint(error: duckdb.Error, sql: str) -> str:
    if isinstance(error, duckdb.ParserException) and _UNQUOTED_CASE.search(sql):
        return 'case is an SQL keyword: write "case", in double quotes'
    return _COLUMNS


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    # DuckDB ignores Ctrl-C while it executes a query, so a separate thread executes it
    with ThreadPoolExecutor(1) as worker:
        future = worker.submit(_execute, connection, sql, parameters)
        try:
            return future.result()
        except KeyboardInterrupt:
            while not future.done():  # an interrupt before the query begins is lost
                connection.interrupt()
                wait([future], timeout=0.1)
            raise


def _execute(connection: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, object]) -> list[dict[str, Any]]:
    result = connection.execute(sql, parameters)
    heads = [column[0] for column in result.description or ()]
    return [dict(zip(heads, line, strict=True)) for line in result.fetchall()]


def _first_lines(error: duckdb.Error) -> str:
    """Return DuckDB's message without its quotation of the query."""
    message, _, _ = str(error).partition("\nLINE ")
    return " ".join(message.split())
