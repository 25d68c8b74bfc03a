"""A run's folder: written records stay readable after any interruption."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestra import case_of, info_of, record_of, result_of

from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import RunWriter, new_folder, read_run, repair, write_atomically
from runoff.records.reason import Reason

if TYPE_CHECKING:
    from pathlib import Path

FILLING = """
import resource, sys
from pathlib import Path
from orchestra import info_of, record_of
from runoff.records.errors import RunoffError
from runoff.records.files import RunWriter
writer = RunWriter(Path(sys.argv[1]), info_of())
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    for order in range(1000):
        writer.append(record_of(order=order))
except RunoffError as error:
    print(order, error.code, error)
"""


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path / "run", info_of(case_of("mine")))


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert [new_folder(results, "quick-1") for _ in range(3)] == [
        results / name for name in ("quick-1", "quick-1-2", "quick-1-3")
    ]


def raw(writer: RunWriter) -> Path:
    (path,) = (writer.folder / "raw").iterdir()
    return path


def test_records_are_read_back_in_measuring_order(writer: RunWriter) -> None:
    records = [
        record_of(order=1, result=result_of(("load", 1, 2))),
        record_of(order=0, probe="memory", status="error", reason=Reason("crashed", "it did", "look")),
        record_of(order=2, tool=[{"event": "cycles"}], parity=[{"item": 0, "cosine": 1.0}], exit_code=0),
    ]
    for record in records:
        writer.append(record)
    run = read_run(writer.folder)
    assert list(run.records) == sorted(records, key=lambda record: record.order)
    assert msgspec.json.encode(run.info) == msgspec.json.encode(writer.info)
    assert run.folder == writer.folder
    assert sorted(path.name for path in (writer.folder / "raw").iterdir()) == [
        "net.classify.mine.life.jsonl",
        "net.classify.mine.memory.jsonl",
    ]


@given(st.data())
def test_a_line_cut_off_anywhere_costs_that_line_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    writer = RunWriter(tmp_path_factory.mktemp("run"), info_of())
    for order in range(3):
        writer.append(record_of(order=order))
    whole = raw(writer).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    raw(writer).write_bytes(whole[:cut])
    survivors = whole[:cut].count(b"\n")
    assert [record.order for record in read_run(writer.folder).records] == list(range(survivors))
    repair(writer.folder)
    writer.append(record_of(order=7))
    assert [record.order for record in read_run(writer.folder).records] == [*range(survivors), 7]


@pytest.mark.parametrize("corrupted", [b"{}\n", b"not json\n", b'{"case": "\xff\xfe"}\n'])
def test_an_invalid_raw_file_is_named(corrupted: bytes, writer: RunWriter) -> None:
    writer.append(record_of())
    with raw(writer).open("ab") as file:
        file.write(corrupted)
    with pytest.raises(RunoffError, match=r"mine\.life\.jsonl is not a raw result.*--resume"):
        read_run(writer.folder)


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"run_id": 1}', b'"\xff"'])
def test_a_folder_without_a_run_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunoffError) as caught:
        read_run(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.code == ExitCode.BAD_INPUT


def test_a_full_disk_loses_nothing_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLING, str(tmp_path / "run")],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    order, code, message = done.stdout.split(maxsplit=2)
    assert int(code) == ExitCode.CASE_FAILED
    assert "cannot be written" in message
    assert f"runoff bench --resume {tmp_path / 'run'}" in message
    records = read_run(tmp_path / "run").records
    assert [record.order for record in records] == list(range(int(order)))
    assert (tmp_path / "run" / "raw" / "net.classify.mine.life.jsonl").read_bytes().endswith(b"\n")
    assert int(order) > 5


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunoffError, match=r"none/a cannot be written"):
        write_atomically(tmp_path / "none" / "a", b"one")
