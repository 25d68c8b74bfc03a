"""A run on many machines of a fake cluster."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from compared import turns_run, write
from fake_cluster import FAKE, LINES, FakeCluster, change, lines, machine, measured, new_run, records, worker_of
from rich.console import Console

from runoff import paths
from runoff.cli.main import cli
from runoff.cluster import packs, worker
from runoff.cluster.bench import _exit_code, bench_on, parse_where
from runoff.cluster.fleet import Home, LostError, choose, distinct
from runoff.cluster.view import View
from runoff.plan.suite import parse_suite
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run that is about to start."""
    monkeypatch.setattr(worker, "_POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(worker, "MOST_BYTES", 3)  # one record in each response
    return new_run(tmp_path)


@pytest.mark.parametrize("most", [3, 2**22])
def test_each_machine_gives_an_ordinary_run_that_is_a_copy_of_its_own(
    run: Path, tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_BYTES", most)
    states = measured(run, FakeCluster([machine("a"), machine("b")]))
    for name in ("a", "b"):
        assert (states[name]["state"], states[name]["code"], states[name]["records"]) == ("finished", 0, LINES)
        there = tmp_path / "home" / "runs" / "tiny-1" / f"tiny-1-{name}"
        files = [path.relative_to(there) for path in there.rglob("*") if path.is_file()]
        assert len(files) == 4
        assert [(run / name / file).read_bytes() for file in files] == [(there / file).read_bytes() for file in files]


def test_a_lost_machine_keeps_its_records_and_one_of_its_kind_measures_as_a_run_of_its_own(run: Path) -> None:
    change(run, each=1)
    other = machine("c", cpu="Intel Xeon")
    cluster = FakeCluster([machine("a"), machine("b"), other], dying={"a": 3, "c": 3})
    states = measured(run, cluster)
    assert {name: state["state"] for name, state in states.items()} == {"a": "lost", "b": "finished", "c": "lost"}
    assert states["b"]["replaces"] == "a"
    assert states["c"]["reason"] == "the node died"
    assert records(run, "b") == list(range(LINES))
    for name in ("a", "c"):
        assert records(run, name) == list(range(states[name]["records"]))
        assert 0 < states[name]["records"] < LINES


def test_a_killed_driver_is_continued_by_the_next_one(run: Path) -> None:
    machines = [machine("a"), machine("b")]
    measured(run, FakeCluster(machines), until=4)
    raw = run / "a" / "raw" / "case.life.jsonl"
    raw.write_bytes(raw.read_bytes() + b'{"number": ')  # killed while it wrote
    cluster = FakeCluster(machines)
    assert {state["state"] for state in measured(run, cluster).values()} == {"finished"}
    assert records(run, "a") == records(run, "b") == list(range(LINES))
    found = [line["by"] for name in ("a", "b") for line in lines(run / name / "raw" / "case.life.jsonl")]
    assert {"new", "resumed"} == set(found)
    again = FakeCluster(machines)
    measured(run, again)
    assert again.reserved == []  # nothing is left to do


def test_a_machine_that_lost_its_folder_gets_what_is_here(run: Path, tmp_path: Path) -> None:
    measured(run, FakeCluster([machine("a")], dying={"a": 3}))
    count = len(records(run, "a"))
    for path in (tmp_path / "home" / "runs").rglob("*.json*"):
        path.unlink()
    assert measured(run, FakeCluster([machine("a")]))["a"]["state"] == "finished"
    assert [line["by"] for line in lines(run / "a" / "raw" / "case.life.jsonl")] == ["new"] * count + ["resumed"] * (
        LINES - count
    )


def test_a_machine_that_is_gone_at_the_resume_is_lost_with_the_reason(run: Path) -> None:
    measured(run, FakeCluster([machine("a"), machine("b")], dying={"a": 2}))
    states = measured(run, FakeCluster([machine("b")]))
    assert (states["a"]["state"], states["a"]["reason"]) == ("lost", "the node died")


def test_a_bench_that_fails_ends_with_its_last_line(run: Path) -> None:
    change(run, job={"suite": "fail"})
    state = measured(run, FakeCluster([machine("a")]))["a"]
    assert (state["state"], state["reason"]) == ("failed", "runoff: the suite is broken")


def test_what_is_sent_is_checked_and_unpacked_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "folder", lambda: run.parent / "packs")
    sha256 = packs.pack({"suite.toml": b"x", "files/0/m.onnx": FAKE})
    assert packs.pack({"files/0/m.onnx": FAKE, "suite.toml": b"x"}) == sha256
    change(run, job={"packs": {"suite": sha256, "models/net": sha256}})
    measured(run, FakeCluster([machine("a"), machine("b")]))
    assert (tmp_path / "home" / "models" / "net" / "suite.toml").read_bytes() == b"x"
    made = worker_of(run)
    assert made.missing() == []
    with pytest.raises(ValueError, match="damaged"):
        made.store(sha256, b"other")


def test_a_machine_writes_into_its_own_folder_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "run")
    for name in ("../other", "raw/../../other", str(tmp_path / "other"), "machine.json", "raw/a/b.jsonl", "raw/x.txt"):
        with pytest.raises(LostError, match="unexpected file"):
            home.append(name, 0, b"{}")
    with pytest.raises(LostError, match="unexpected file"):
        home.path("../other")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_machines_are_chosen_by_facts_and_kind() -> None:
    machines = [machine("a"), machine("b"), machine("c", cpu="Intel Xeon")]
    assert [one.name for one in choose(machines, {}, None)[0]] == ["a", "b", "c"]
    chosen, spare = choose(machines, {"cpu": "amd*"}, 1)
    assert ([one.name for one in chosen], [one.name for one in spare]) == (["a"], ["b"])
    with pytest.raises(RunoffError, match="--where cpu=Arm: no machine fits") as error:
        choose(machines, {"cpu": "Arm"}, None)
    assert error.value.hint == "cpu is AMD EPYC; Intel Xeon"
    with pytest.raises(RunoffError, match="--where cpus: no machine has this fact"):
        choose(machines, {"cpus": "*"}, None)
    with pytest.raises(RunoffError, match="no node with CPUs"):
        choose([], {}, None)


def test_two_nodes_on_one_machine_are_one_machine() -> None:
    found, others = distinct([machine("pod-2", boot="x"), machine("pod-1", boot="x"), machine("pod-3", boot="y")])
    assert [one.name for one in found] == ["pod-1", "pod-3"]
    assert others == {"pod-2": "pod-2 is on the same machine as pod-1"}


@pytest.mark.parametrize(
    ("on", "where", "message"),
    [
        ("local:0", [], "--on local:0: N must be 1 to"),
        ("local:x", [], "--on local:x: N must be 1 to"),
        ("somewhere", [], "--on somewhere: no port"),
        ("ray://h:1", ["cpu"], "--where cpu: no pattern"),
    ],
)
def test_options_that_cannot_be_read(on: str, where: list[str], message: str) -> None:
    with pytest.raises(RunoffError, match=message):
        parse_where(on, where, None)


SUITE = """
[suite]
name = "t"
models = ["m"]
targets = ["mine", "ort-python"]
workloads = ["tensor"]
probes = ["life"]
[models.m]
path = '{path}'
[targets.mine]
command = ["./run.sh", "--fast"]
"""


def test_a_suite_takes_its_files_along(tmp_path: Path) -> None:
    model = tmp_path / "far" / "m.onnx"
    model.parent.mkdir()
    for file in (model, model.with_name("m.onnx.data"), model.with_name("n.onnx"), tmp_path / "run.sh"):
        file.write_text(file.name)
    text = SUITE.format(path=model)
    files = packs.suite(parse_suite(text, "t"), text, tmp_path)
    assert sorted(files) == ["files/0/m.onnx", "files/0/m.onnx.data", "files/1/run.sh", "suite.toml"]
    sent = files["suite.toml"]
    assert isinstance(sent, bytes)
    suite = parse_suite(sent.decode(), "t")
    assert (suite.models["m"].path, suite.targets["mine"].command) == ("files/0/m.onnx", ("files/1/run.sh", "--fast"))
    model.unlink()
    with pytest.raises(RunoffError, match=r"\[models.m\].*no such file"):
        packs.suite(parse_suite(text, "t"), text, tmp_path)
    factory = text.replace("path = ", 'factory = "a.b:c"\nexample = "a.b:d"\npath = ')
    with pytest.raises(RunoffError, match=r"\[models.m\] factory: code of a network cannot be sent"):
        packs.suite(parse_suite(factory, "t"), factory, tmp_path)


def test_runoff_is_sent_as_a_wheel_has_it() -> None:
    files = packs.runoff()
    assert {
        "runoff/bench.py",
        "runoff_runners/runner.py",
        "requirements/runoff.txt",
        "suites/quick.toml",
    } <= files.keys()
    assert not [name for name in files if "__pycache__" in name or "node_modules" in name or name == "noxfile.py"]


def test_without_the_environment_of_ray_the_hint_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    with pytest.raises(RunoffError, match="environment not found") as error:
        bench_on(parse_where("local", [], None), SUITE.format(path="x"), tmp_path, tmp_path, Console(), {})
    assert error.value.hint == "run: nox -s ray"


def test_runners_get_neither_rays_variables_nor_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "RAY_JOB_ID", "PYTHONBREAKPOINT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MINE", "2")
    found = worker.users_variables()
    assert not found.keys() & {"RAY_JOB_ID", "PYTHONBREAKPOINT", "OMP_NUM_THREADS"}
    assert found["MINE"] == "2"


def test_where_needs_a_cluster() -> None:
    done = CliRunner().invoke(cli, ["bench", "quick", "--where", "cpu=AMD*"])
    assert "--on is missing" in str(done.exception)
    done = CliRunner().invoke(cli, ["bench", "--resume", "results", "--on", "local"])
    assert "--resume cannot be combined" in str(done.exception)


def test_gate_checks_the_run_of_each_machine(tmp_path: Path) -> None:
    for name, speed in (("a", 8.0), ("b", 12.0)):
        write(turns_run({"main": 10.0, "change": speed}), tmp_path / name)
    words = ["gate", str(tmp_path), "--fail-on", "latency.median > +10%", "--json"]
    assert "no such run or file" in str(CliRunner().invoke(cli, words).exception)
    (tmp_path / "cluster.json").write_text("{}")
    done = CliRunner().invoke(cli, words)
    checked = done.stdout
    assert [one["passed"] for one in json.loads(checked)] == [True, False]
    assert done.exit_code == 1
    done = CliRunner().invoke(cli, ["gate", str(tmp_path), "--save-baseline", str(tmp_path / "x.json")])
    assert "pass the run of one machine" in str(done.exception)
    for name, replaces in (("c", ""), ("d", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "machine.json").write_text(json.dumps({"name": name, "replaces": replaces}))
    assert "no run of c, d" in str(CliRunner().invoke(cli, words).exception)
    (tmp_path / "b" / "machine.json").write_text('{"name": "b", "state": "finished", "replaces": "d"}')
    assert CliRunner().invoke(cli, words).stdout == checked


def test_the_script_for_slurm_is_valid_and_asks_for_whole_nodes() -> None:
    script = paths.root() / "docker" / "ray.sbatch"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "#SBATCH --exclusive\n" in script.read_text()


def test_the_view_shows_each_machine_and_says_which_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(force_terminal=True, width=120, file=io.StringIO())
    measuring = {"name": "a", "state": "measuring", "reason": "", "records": 3, "line": "3 of 9 done, now: [b] x"}
    with View(console) as view:
        view.update([measuring, {**measuring, "name": "c"}])
        view.update([{**measuring, "name": "c", "state": "lost", "reason": "node died"}])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "c: lost: node died (3 records)" in text
    assert "2 machines: 1 measuring, 1 lost; 6 records" in text
    assert "3 of 9 done, now: [b] x" in text


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([("a", "finished", 0, ""), ("b", "finished", 3, "")], 0),
        ([("a", "finished", 3, ""), ("b", "finished", 3, "")], 3),
        ([("a", "finished", 0, ""), ("b", "lost", None, "")], 1),
        ([("a", "finished", 0, "b"), ("b", "lost", None, "")], 0),
        ([("a", "finished", 1, ""), ("b", "finished", 0, "")], 1),
        ([("a", "lost", None, ""), ("b", "lost", None, "a"), ("c", "finished", 0, "b")], 0),
        ([("a", "lost", None, ""), ("b", "lost", None, "a")], 1),
    ],
)
def test_the_exit_code_is_that_of_all_machines(found: list[Any], code: int, tmp_path: Path) -> None:
    for name, state, own, replaces in found:
        (tmp_path / name).mkdir()
        plain = {"name": name, "state": state, "code": own, "replaces": replaces}
        (tmp_path / name / "machine.json").write_text(json.dumps(plain))
    assert _exit_code(tmp_path) == code
