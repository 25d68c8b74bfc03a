"""What goes wrong in a run on many machines: lost power, workers that hang, killed drivers, damaged files."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from click.testing import CliRunner
from compared import EQUAL, turns_run, write
from fake_cluster import LINES, FakeCluster, FakeLink, change, machine, measured, new_run, records, worker_of
from histories import day_run
from rich.console import Console

from runoff import paths
from runoff.cli.main import cli
from runoff.cluster import bench, fleet, packs, worker
from runoff.cluster.view import View
from runoff.history.run_list import past_runs
from runoff.processes import LINE_BYTES
from runoff.records.errors import ExitCode, RunoffError
from runoff.records.files import measuring, write_atomically
from runoff.records.machine_states import State, read_states

if TYPE_CHECKING:
    from collections.abc import Callable

BESIDE = """
import runpy, sys, time
sys.path.insert(0, sys.argv[1])
import beside
beside.rays_processes = lambda: [int(sys.argv[2])]
runpy.run_module = lambda *_, **__: time.sleep(60)
sys.argv[1] = "stop"
beside.main()
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run that is about to start."""
    monkeypatch.setattr(worker, "_POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(worker, "MOST_BYTES", 3)  # one record in each response
    return new_run(tmp_path)


def test_a_file_that_is_shorter_there_than_here_is_restored(run: Path, tmp_path: Path) -> None:
    measured(run, FakeCluster([machine("a")], dying={"a": 3}))
    assert records(run, "a")
    there = tmp_path / "home" / "runs" / "tiny-1" / "tiny-1-a" / "raw" / "case.life.jsonl"
    there.write_bytes(there.read_bytes()[:5])  # the machine lost power
    assert measured(run, FakeCluster([machine("a")]))["a"]["state"] == "finished"
    assert records(run, "a") == list(range(LINES))


def test_runs_of_the_same_second_have_different_folders_on_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "environment_python", lambda *_: Path("python"))
    monkeypatch.setattr(bench, "drive", lambda *_: ExitCode.OK)
    monkeypatch.setattr(bench, "timed", lambda _: "quick-1")
    suite = paths.suites() / "quick.toml"
    wanted = bench.parse_where("local", [], None)
    found = set()
    for results in ("a", "b"):
        folder, _ = bench.bench_on(wanted, suite.read_text(), suite.parent, tmp_path / results, Console(), {})
        found.add(json.loads((folder / "cluster.json").read_text())["job"]["run"])
    assert len(found) == 2


def test_an_error_of_one_machine_ends_no_other(run: Path) -> None:
    async def disconnected() -> None:
        raise ConnectionError("broken pipe")

    async def changed() -> None:
        raise RunoffError("changed by another program")

    machines = [machine("a"), machine("b"), machine("c")]
    states = measured(run, FakeCluster(machines, before={"a": disconnected, "b": changed}))
    assert [states[name]["state"] for name in "abc"] == ["lost", "lost", "finished"]
    assert states["a"]["reason"] == "broken pipe"


@pytest.mark.parametrize(("hint", "shown"), [("", ""), ("start nodes", "start nodes; ")])
def test_an_error_of_the_driver_keeps_its_exit_code_and_says_how_to_resume(
    hint: str, shown: str, tmp_path: Path
) -> None:
    news = {"error": "it failed", "hint": hint, "code": 1}
    with View(Console(file=io.StringIO())) as view, pytest.raises(RunoffError, match="it failed") as error:
        bench._show(news, view, tmp_path)
    assert error.value.hint.startswith(f"{shown}results are saved; resume with: runoff bench --resume")
    assert error.value.code == ExitCode.CASE_FAILED


def test_a_pack_is_read_once_and_in_a_thread(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Sharing(FakeCluster):
        def share(self, data: bytes) -> bytes:
            threads.append(threading.current_thread())
            return data

    monkeypatch.setattr(packs, "folder", lambda: run.parent / "packs")
    change(run, job={"packs": {"models/net": packs.pack({"x": b"x"})}})
    measured(run, Sharing([machine("a"), machine("b")]))
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_worker_that_hangs_is_lost(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(fleet, "_TIMEOUT_S", 0.05)
    state = measured(run, FakeCluster([machine("a")], before={"a": hang}))["a"]
    assert (state["state"], state["reason"]) == ("lost", "no response for 0 s")


def test_all_machines_have_a_state_before_the_first_starts(run: Path) -> None:
    found: list[list[str]] = []

    class Watched(FakeCluster):
        async def open(self, machine: fleet.Machine, job: dict[str, Any]) -> FakeLink:
            found.append(sorted(state.name for state in read_states(run).values()))
            return await super().open(machine, job)

    measured(run, Watched([machine("a"), machine("b")]))
    assert found[0] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": "a", "more": 1}'])
def test_a_damaged_state_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "machine.json").write_text(text)
    with pytest.raises(RunoffError, match=r"machine\.json cannot be read"):
        read_states(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quick", "--on", "local", "--name", "x"], "--on and --name cannot be combined"),
        (["quick", "--on", "local", "--threads", "4"], "options for a model were given, but no model"),
        (["--resume", "results", "--each", "2"], "--resume cannot be combined"),
        (["--resume", "results", "--where", "cpu=x"], "--resume cannot be combined"),
    ],
)
def test_options_without_an_effect_are_refused(words: list[str], message: str) -> None:
    assert message in str(CliRunner().invoke(cli, ["bench", *words]).exception)


def test_the_report_of_a_machine_that_was_lost_again_is_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    monkeypatch.setattr("runoff.analysis.analyse.analyse", lambda found: found.folder.name)
    monkeypatch.setattr("runoff.report.build.write_report", built.append)
    for name, state in (("a", "finished"), ("b", "lost"), ("c", "lost")):
        write(turns_run(EQUAL), tmp_path / name)
        (tmp_path / name / "machine.json").write_text(json.dumps({"name": name, "state": state}))
        (tmp_path / name / "summary.csv").touch()
    (tmp_path / "b" / "run.json").write_text("{")
    output = io.StringIO()
    bench.complete_reports(tmp_path, Console(file=output, width=200))
    assert built == ["c"]
    assert "b: no report: " in output.getvalue()


def test_a_machine_that_was_replaced_is_not_measured_again(run: Path) -> None:
    change(run, each=1)
    machines = [machine("a"), machine("b"), machine("c")]
    states = measured(run, FakeCluster(machines, dying={"a": 1, "b": 1}))
    assert [states[name]["replaces"] for name in "abc"] == ["", "a", "b"]
    again = FakeCluster(machines)
    assert measured(run, again) == states
    assert again.reserved == []


def test_run_json_is_sent_when_it_was_replaced(run: Path) -> None:
    made = worker_of(run)
    made.folder.mkdir(parents=True)
    assert made._run_file() is None
    for _ in range(2):
        write_atomically(made.folder / "run.json", b"{}")
        assert made._run_file() == b"{}"
        assert made._run_file() is None


def test_a_run_is_in_progress_while_other_machines_of_it_are(tmp_path: Path) -> None:
    for day, finished in ((1, True), (2, False)):
        made = day_run(tmp_path / "all", day, {"main": 10.0, "change": 10.0}, finished=finished)
        (made / "machine.json").write_text("{}")
    with measuring(tmp_path / "all"):
        assert [row["state"] for row in past_runs(tmp_path)] == ["in progress", "finished"]
    assert past_runs(tmp_path)[0]["state"].startswith("interrupted; ")


def test_a_pack_that_cannot_be_unpacked_leaves_nothing(run: Path) -> None:
    made, data = worker_of(run), b"no tar file"
    with pytest.raises(tarfile.ReadError):
        made.store(hashlib.sha256(data).hexdigest(), data)
    assert list((made.home / "packs").iterdir()) == []


def test_nodes_on_this_machine_are_at_most_the_cores_of_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "cores_in_affinity", lambda: 1)
    assert bench.parse_where("local:1", [], None).local
    with pytest.raises(RunoffError, match="--on local:2: N must be 1 to 1"):
        bench.parse_where("local:2", [], None)


@pytest.mark.parametrize(
    ("host", "name"), [("a", "a-3"), ("b", "b"), ("..", "machine"), ("a b/c", "a-b-c"), ("a-2", "a-2-2")]
)
def test_names_of_machines_are_different_and_those_of_folders(host: str, name: str) -> None:
    assert fleet.machine_name(host, {"a", "a-2"}) == name


def test_a_bench_that_was_killed_ends_with_the_signal(run: Path) -> None:
    change(run, job={"suite": "killed"})
    state = measured(run, FakeCluster([machine("a")]))["a"]
    assert (state["state"], state["reason"]) == ("failed", "runoff was ended by signal 9")


def test_changes_of_many_machines_fit_into_lines(run: Path) -> None:
    many = fleet.Fleet(FakeCluster([]), run, run)
    many.states = {str(place): State(str(place), reason="é" * 300, line="é" * 300) for place in range(1000)}
    many._changed = dict.fromkeys(many.states)
    count = 0
    while changes := many.changes():
        assert len(json.dumps(changes)) < LINE_BYTES * 0.9
        count += len(changes)
    assert count == 1000


def test_no_library_is_loaded_between_fork_and_exec(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = worker_of(run)
    monkeypatch.setattr(ctypes, "CDLL", None)
    made.start({})
    FakeLink(made, 0, None).close()


def test_ray_continues_when_the_program_that_stopped_it_is_killed() -> None:
    ray = subprocess.Popen(["sleep", "60"])
    state = psutil.Process(ray.pid).status
    argv = [sys.executable, "-c", BESIDE, str(paths.root() / "tools" / "cluster_cost"), str(ray.pid)]
    stopping = subprocess.Popen(argv, start_new_session=True)
    try:
        until(lambda: state() == psutil.STATUS_STOPPED)
        os.killpg(stopping.pid, signal.SIGKILL)
        until(lambda: state() != psutil.STATUS_STOPPED)
    finally:
        for process in (stopping, ray):
            process.kill()
            process.wait()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
