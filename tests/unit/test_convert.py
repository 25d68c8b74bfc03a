"""Measurements in the formats of other tools: round trips preserve values, and losses are reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyperf
import pytest
from click.testing import CliRunner, Result
from synthetic import synthetic_run

from runoff.analysis.measurements import Measurements, of_run
from runoff.cli.main import cli
from runoff.compare import formats
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from runoff.records.schema import Run

FOREIGN = Path(__file__).with_name("foreign")


@pytest.fixture(scope="module")
def run() -> Run:
    return synthetic_run(targets=("ort-python", "ort-rust"), profiles=("default",), blocks=3, warm=5)


@pytest.fixture(scope="module")
def data(run: Run) -> Measurements:
    return of_run(run)


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)], catch_exceptions=True)


def walls(data: Measurements, case: str) -> list[float]:
    rows = data.samples
    return list(rows.loc[(rows["case"] == case) & (rows["metric"] == "wall"), "value"])


@pytest.mark.parametrize(("file", "slow"), [("hyperfine-1.json", "sleep 0.01"), ("hyperfine-2.json", "slow")])
def test_files_of_hyperfine_are_read(file: str, slow: str) -> None:
    document = json.loads((FOREIGN / file).read_text())
    read = formats.read(FOREIGN / file)
    assert read.machine is None
    assert len(walls(read, slow)) == 8
    assert min(walls(read, slow)) > 10e6
    first = document["results"][1]
    seconds = first["times"] if "times" in first else [m["time_wall_clock"]["value"] for m in first["measurements"]]
    assert walls(read, slow) == pytest.approx([value * 1e9 for value in seconds])
    memory = read.samples[read.samples["metric"] == "peak_memory"]
    assert set(memory["unit"]) == ({"bytes"} if file == "hyperfine-2.json" else set())  # 1.19 had no memory


def test_commands_of_hyperfine_share_no_block() -> None:
    rows = formats.read(FOREIGN / "hyperfine-2.json").samples
    assert not rows[["case", "block"]].drop_duplicates()["block"].duplicated().any()


@pytest.mark.parametrize("to", ["hyperfine", "hyperfine-1"])
def test_hyperfine_and_back(to: str, data: Measurements, tmp_path: Path) -> None:
    losses = formats.write(data, tmp_path / "x.json", to)
    back = formats.read(tmp_path / "x.json")
    for member in data.peers(data.comparisons[0]):
        assert walls(back, member.case) == pytest.approx(walls(data, member.case))
    assert "the machine" in losses
    assert any("latency" in loss for loss in losses)
    assert any("user and system" in loss for loss in losses) == (to == "hyperfine-1")


def test_the_older_schema_has_the_fields_of_hyperfine(data: Measurements, tmp_path: Path) -> None:
    formats.write(data, tmp_path / "x.json", "hyperfine-1")
    ours = json.loads((tmp_path / "x.json").read_text())["results"][0]
    theirs = json.loads((FOREIGN / "hyperfine-1.json").read_text())["results"][0]
    assert set(ours) == {*theirs, "memory_usage_byte"}  # of 1.20
    assert all(type(ours[key]) is type(value) for key, value in theirs.items())


def test_the_newer_schema_has_the_fields_of_hyperfine(data: Measurements, tmp_path: Path) -> None:
    formats.write(data, tmp_path / "x.json", "hyperfine")
    ours = json.loads((tmp_path / "x.json").read_text())
    theirs = json.loads((FOREIGN / "hyperfine-2.json").read_text())
    assert set(ours) == set(theirs)
    assert set(ours["results"][0]) == set(theirs["results"][0])
    wall = "time_wall_clock"
    assert set(ours["results"][0]["summary"][wall]) == set(theirs["results"][0]["summary"][wall])
    mine = ours["results"][0]
    values = [one[wall]["value"] for one in mine["measurements"]]
    assert mine["summary"][wall]["median"] == pytest.approx(np.median(values))
    assert mine["summary"][wall]["stddev"] == pytest.approx(np.std(values, ddof=1))


def test_pyperf_reads_what_runoff_writes(data: Measurements, tmp_path: Path) -> None:
    formats.write(data, tmp_path / "x.json", "pyperf")
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "x.json"))
    case = data.members[0].case
    bench = suite.get_benchmark(f"{case} latency.inference.warm")
    rows = data.samples
    warm = rows[(rows["case"] == case) & (rows["phase"] == "warm") & (rows["metric"] == "inference")]
    assert bench.get_unit() == "second"
    assert bench.get_nrun() == 3
    assert sorted(bench.get_values()) == pytest.approx(sorted(warm["value"] / 1e9))
    assert bench.median() == pytest.approx(warm["value"].median() / 1e9)
    assert suite.get_benchmark(f"{case} memory.peak_memory").get_unit() == "byte"


def test_pyperf_and_back(data: Measurements, tmp_path: Path) -> None:
    losses = formats.write(data, tmp_path / "x.json", "pyperf")
    back = formats.read(tmp_path / "x.json")
    kept = data.samples[data.samples["unit"].isin(["ns", "bytes", "count"]) & (data.samples["value"] > 0)]
    assert back.machine == data.machine
    pd.testing.assert_frame_equal(_sorted(back.samples), _sorted(kept), rtol=1e-12)
    assert any("accuracy" in loss for loss in losses)


def _sorted(samples: pd.DataFrame) -> pd.DataFrame:
    by = ["case", "probe", "phase", "metric", "process", "sample"]
    return samples.sort_values(by).reset_index(drop=True)


def test_files_of_pyperf_are_read(tmp_path: Path) -> None:
    file = tmp_path / "real.json"
    command = [sys.executable, "-m", "pyperf", "timeit", "--processes", "2", "--values", "3", "--warmups", "1"]
    subprocess.run([*command, "--loops", "10", "--name", "sum", "-q", "-o", file, "sum(range(9))"], check=True)
    bench = pyperf.Benchmark.load(str(file))
    read = formats.read(file)
    (cell,) = [cell for key, cell in read.cells.items() if key == ("sum", "latency", "inference.warm")]
    assert cell.unit == "ns"
    assert [len(values) for values in cell.processes] == [3, 3]
    assert cell.pooled() == pytest.approx(np.array(bench.get_values()) * 1e9)
    assert set(read.samples["phase"]) == {"warm", "warm-up"}


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_tables_keep_every_sample(end: str, data: Measurements, tmp_path: Path) -> None:
    file = tmp_path / f"x.{end}"
    losses = formats.write(data, file, None)
    back = formats.read(file)
    pd.testing.assert_frame_equal(back.samples, data.samples, check_dtype=False)
    assert back.comparisons == data.comparisons
    assert [m.target for m in back.peers(back.comparisons[0])][:2] == ["ort-python", "ort-rust"]
    if end == "parquet":
        assert (back.machine, back.members, losses) == (data.machine, data.members, [])
    else:
        assert losses == ["the machine", "failure reasons"]


def test_the_command_reports_its_losses_in_one_line(data: Measurements, tmp_path: Path) -> None:
    formats.write(data, tmp_path / "x.parquet", None)
    done = convert(tmp_path / "x.parquet", tmp_path / "deep" / "y.csv")
    assert done.exit_code == 0
    assert done.stderr == "runoff: y.csv omits: the machine, failure reasons\n"
    assert formats.read(tmp_path / "deep" / "y.csv").samples.shape == data.samples.shape


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.json", "{}", "not JSON of hyperfine or pyperf"),
        ("a.json", '{"schema_version": 3, "results": []}', "schema 3"),
        ("a.json", '{"results": [{"command": "x"}]}', "times"),
        ("a.json", '{"results": []}', "contains no measurement"),
        ("a.json", '{"benchmarks": [{"runs": 3}]}', "not in pyperf's format"),
        ("a.json", '{"benchmarks": [{"metadata": {"unit": "mile"}, "runs": []}]}', "mile"),
        ("a.csv", "case,value\n", "no column target"),
        ("a.csv", "", "cannot be read as CSV"),
        ("a.parquet", "x", "cannot be read as Parquet"),
    ],
)
def test_bad_files_are_named(name: str, text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RunoffError, match=expected) as caught:
        formats.read(tmp_path / name)
    assert name in caught.value.message


def test_text_in_a_column_of_numbers_is_named(data: Measurements, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    formats.write(data, file, None)
    text = file.read_text().replace(",0,0,0,", ",0,zero,0,", 1)
    file.write_text(text)
    with pytest.raises(RunoffError, match="column process"):
        formats.read(file)


def test_a_name_without_a_known_format(data: Measurements, tmp_path: Path) -> None:
    formats.write(data, tmp_path / "x.parquet", None)
    for arguments, expected in (((), "has no known suffix"), (("--to", "pyprof"), "pyprof")):
        done = convert(tmp_path / "x.parquet", tmp_path / "y.json", *arguments)
        assert isinstance(done.exception, RunoffError)
        assert expected in str(done.exception)


def test_hyperfine_files_hold_only_process_times(data: Measurements, tmp_path: Path) -> None:
    rows: Any = data.samples[data.samples["probe"] == "latency"]
    only = Measurements("warm", rows, None, data.members)
    with pytest.raises(RunoffError, match="contains process times"):
        formats.write(only, tmp_path / "x.json", "hyperfine")
