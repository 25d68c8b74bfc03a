"""``runoff profile``: bad input, a machine without tools, Ctrl-C, and real graphs of four ways to run a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from running import MODEL, RUNOFF, environment, runoff

from machine import skip_because, thorough, unusable
from onnx_models import linear
from runoff.profiling.draw import find_drawer
from runoff.profiling.recording import NATIVE, PY_SPY
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended


@pytest.fixture(scope="module")
def tools() -> None:
    """Skip where nothing can be sampled or drawn."""
    for tool in (NATIVE, PY_SPY):
        skip_because(unusable(tool))
    try:
        find_drawer()
    except RunoffError as error:
        skip_because(str(error))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ort-rst", MODEL), "unknown target 'ort-rst'"),
        (("ort-rust", MODEL, "--against", "ort-rust,optimisation=basic"), "unknown setting 'optimisation'"),
        (("ort-rust", MODEL, "--time", "long"), "time 'long' is not a duration"),
        (("ort-rust", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
@pytest.mark.usefixtures("tools")
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, start: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = start("profile", *arguments, "--results", tmp_path)
    assert ended.code == 2
    assert words in ended.err
    assert not list(tmp_path.iterdir())


def test_a_perf_without_permission_names_the_command(tmp_path: Path) -> None:
    perf = tmp_path / "bin" / "perf"
    perf.parent.mkdir()
    perf.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo perf version 6.1 && exit\necho no permission >&2\nexit 255\n'
    )
    perf.chmod(0o755)
    path = f"{perf.parent}{os.pathsep}{os.environ['PATH']}"
    ended = runoff("profile", "null-rust", MODEL, "--results", tmp_path / "results", PATH=path)
    assert ended.code == 3, ended.err
    assert "perf is not permitted" in ended.err
    assert "sudo sysctl kernel.perf_event_paranoid=1" in ended.err


def sampled_by(pid: int) -> list[psutil.Process]:
    """Return perf, which runoff has started to sample a runner, and all below it."""
    try:
        for perf in psutil.Process(pid).children():
            if perf.name() == "perf" and any("request.json" in word for word in perf.cmdline()):
                return [perf, *perf.children(recursive=True)]
    except psutil.NoSuchProcess:
        pass
    return []


@pytest.mark.usefixtures("tools")
def test_ctrl_c_leaves_no_process(tmp_path: Path, is_gone: Callable[[int], bool]) -> None:
    linear(tmp_path / "net.onnx")
    command = [str(RUNOFF), "profile", "ort-python", str(tmp_path / "net.onnx"), "--results", str(tmp_path / "results")]
    started = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline, below = time.monotonic() + 120, list[psutil.Process]()
    while len(below) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        below = sampled_by(started.pid)
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=30)
    assert started.returncode == 130
    assert all(is_gone(child.pid) for child in below)


def profiled(folder: Path, *arguments: str) -> dict[str, Any]:
    ended = runoff("profile", *arguments, "--time", "3s", "--results", folder, "--json")
    assert ended.code == 0, ended.out + ended.err
    made: dict[str, Any] = json.loads(ended.out)
    return made


def region(made: dict[str, Any], side: int, name: str) -> dict[str, Any]:
    found: dict[str, Any] = made["sides"][side]["regions"][name]
    return found


@thorough
@pytest.mark.usefixtures("tools")
def test_two_languages_on_one_engine(tmp_path: Path) -> None:
    made = profiled(tmp_path, "ort-python", MODEL, "--against", "ort-rust")
    python, rust = (region(made, side, "timed") for side in (0, 1))
    assert python["python_samples"] > 50
    assert rust["python_samples"] == 0
    assert "Python" not in rust["groups"]
    for timed in (python, rust):
        assert timed["samples"] > 1000
        assert timed["groups"]["onnxruntime"] > 0.5
        assert sum(timed["groups"].values()) == pytest.approx(1)
    # one thread: its CPU time is at least that of an inference, which takes longer on the clock while py-spy stops it
    for side in made["sides"]:
        assert side["regions"]["timed"]["cpu_ns"] > 0.8 * min(side["inference_ns"]["not_sampled"])
    process = region(made, 0, "process")
    assert process["groups"]["Python"] > 0.1
    assert process["cpu_ns"] > python["cpu_ns"]
    (folder,) = tmp_path.iterdir()
    names = [
        f"{where}-{what}.svg" for where in ("timed", "process") for what in ("ort-python", "ort-rust", "difference")
    ]
    assert {*names, "profile.json", "profile.html"} <= {file.name for file in folder.iterdir()}
    graph = (folder / "timed-ort-python.svg").read_text()
    assert "Session.run (onnxruntime/capi/onnxruntime_inference_collection.py)" in graph
    assert "_warm_up" not in graph
    assert (folder / "profile.html").read_text().count("data:image/svg+xml") == len(names)


@thorough
@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("target", ["torch", "ort-pyo3"])
def test_functions_of_python_and_native_code_are_in_one_graph(target: str, tmp_path: Path) -> None:
    made = profiled(tmp_path, target, MODEL, "--set", "threads=2")
    (folder,) = tmp_path.iterdir()
    stacks = (folder / f"timed-{target}.folded").read_text().splitlines()
    inner = {"torch": "at::", "ort-pyo3": "[libonnxruntime.so"}[target]
    assert any("_Loop._iterate" in stack and inner in stack for stack in stacks)
    # the engine's own thread, which runs no Python
    assert any("_Loop" not in stack for stack in stacks)
    assert region(made, 0, "timed")["samples"] > 1000
