"""A user's own model on the command line: ``bench``, ``add`` and ``compare``."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from running import only_run, runoff

from machine import FULL, skip_because, thorough
from onnx_models import encoder, linear
from runoff import paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from running import Ended

NETWORK = """
import torch

def make():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

def inputs():
    return torch.randn(1, 4)

def broken():
    raise ValueError("no weights\\nhere")

def leaves():
    exit(0)

def vanishes():
    import os

    print("gone")
    os._exit(0)

def random():
    return torch.nn.Sequential(make(), type("Noise", (torch.nn.Module,), {"forward": lambda _, x: x + torch.rand(1)})())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """Return an empty folder whose name has a space and an accent."""
    python = paths.environments() / "inspect" / "bin" / "python"
    skip_because("" if python.exists() else f"{python} is missing; run: nox -s inspect")
    made = tmp_path / "my modèls"
    made.mkdir()
    return made


def bench(folder: Path, *arguments: object) -> Ended:
    options = ("--targets", "ort-python", "--profile", "default", "--time", "2s", "--results", folder / "results")
    return runoff("bench", *arguments, *options, cwd=folder, RUNOFF_HOME=str(folder / "home"))


@pytest.mark.clock
def test_bench_says_what_it_understood_then_measures(folder: Path) -> None:
    encoder(folder / "net.onnx")
    ended = bench(folder, "net.onnx", "--input", "ids=1,16", "--write-suite", "net.toml", "--threads", "1,2")
    assert ended.code == 0, ended.out + ended.err
    assert "input ids: 1,16:int64" in ended.out
    assert "net, tensor, 1 thread, batch 1" in ended.out
    run = only_run(folder / "results")
    assert {(case.model, case.settings.threads) for case in run.info.cases} == {("net", 1), ("net", 2)}
    assert {record.status for record in run.records} == {"ok"}
    assert (run.folder / "report.html").exists()
    # the suite that was written is the one that ran, and what was understood is kept
    assert (folder / "net.toml").read_text(encoding="utf-8") == run.info.suite_text
    if FULL:
        again = runoff(
            "bench", "net.toml", cwd=folder, RUNOFF_HOME=str(folder / "home"), RUNOFF_RESULTS=str(folder / "2")
        )
        assert again.code == 0, again.err
        assert "reading" not in again.out
    encoder(folder / "net.onnx", scale=2)
    resumed = runoff("bench", "--resume", run.folder, cwd=folder, RUNOFF_HOME=str(folder / "home"))
    assert (resumed.code, "'net' was changed after the run began" in resumed.err) == (2, True)


def test_a_model_in_the_store_is_a_model_of_suites(folder: Path) -> None:
    linear(folder / "net.onnx")
    home = str(folder / "home")
    added = runoff("add", "net.onnx", "--name", "mine", cwd=folder, RUNOFF_HOME=home)
    assert added.code == 0, added.err
    (folder / "net.onnx").unlink()
    assert "mine" in runoff("list", "models", RUNOFF_HOME=home).out
    (folder / "suite.toml").write_text(
        '[suite]\nname = "s"\nmodels = ["mine"]\ntargets = ["ort-python"]\nworkloads = ["tensor"]\nprobes = ["life"]\n'
        "[measure.blocks]\nlife = 1\n"
    )
    ended = runoff("bench", "suite.toml", "--results", folder / "results", cwd=folder, RUNOFF_HOME=home)
    assert ended.code == 0, ended.out + ended.err
    twice = runoff("add", folder / "home" / "models" / "mine" / "net.onnx", "--name", "mine", RUNOFF_HOME=home)
    assert (twice.code, "already has a model 'mine'" in twice.err) == (2, True)


@pytest.mark.clock
@thorough
def test_compare_says_first_that_outputs_differ(folder: Path) -> None:
    linear(folder / "v1.onnx")
    linear(folder / "v2.onnx", scale=1.25)
    home, results = str(folder / "home"), str(folder / "results")
    ended = runoff(
        "compare", "v1.onnx", "v2.onnx", "--time", "2s", cwd=folder, RUNOFF_HOME=home, RUNOFF_RESULTS=results
    )
    assert ended.code == 1, ended.out + ended.err
    assert "v2: outputs differ from those of v1 by 0.25 of the largest: its speed is not compared" in ended.out
    run = only_run(folder / "results")
    assert {case.target for case in run.info.cases} == {"ort-python", "ort-python-again", "ort-python@v2"}
    kinds = {record.reason.kind for record in run.records if record.reason}
    assert kinds == {"outputs-differ"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx"], r"missing\.onnx: no such file"),
        (["text.onnx"], r"text\.onnx is not an ONNX file"),
        (["net.onnx", "--input", "idz=1,2"], r"--input idz: the model has no such input"),
        (["net.onnx", "--inputs", "no.npz"], r"no\.npz: no such file"),
        (["net.onnx", "--threads", "x"], r"--threads x: 'x' is not a number"),
        (["net.onnx", "--write-suite", "no/such.toml"], r"--write-suite no/such\.toml: No such file"),
        (["network:make"], r"network:make needs an example"),
        (["--tolerance", "1"], r"options for a model were given, but no model"),
    ],
)
def test_bad_input_is_one_line_with_a_hint(
    arguments: list[str], message: str, start: Callable[..., Ended], folder: Path
) -> None:
    encoder(folder / "net.onnx")
    (folder / "text.onnx").write_text("text")
    ended = start("bench", *arguments, cwd=folder, RUNOFF_HOME=str(folder / "home"))
    assert ended.code == 2
    lines = ended.err.strip().splitlines()
    assert re.search(message, lines[0]), ended.err
    assert len(lines) == 2


@pytest.mark.clock
@thorough
def test_a_network_in_pytorch(folder: Path) -> None:
    (folder / "network.py").write_text(NETWORK)
    home = str(folder / "home")
    options = ("--targets", "torch,ort-python", "--profile", "default", "--time", "2s", "--results", folder / "results")
    ended = runoff("bench", "network:make", "--example", "network:inputs", *options, cwd=folder, RUNOFF_HOME=home)
    assert ended.code == 0, ended.out + ended.err
    run = only_run(folder / "results")
    assert {record.status for record in run.records} == {"ok"}
    assert {case.format for case in run.info.cases} == {"pt", "onnx"}


PROGRAM = """
import torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(9, 4)

    def forward(self, ids, mask):
        return self.table(ids) * mask.unsqueeze(2), mask.sum()

sizes = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
torch.manual_seed(0)
inputs = torch.randint(9, (2, 5)), torch.ones(2, 5)
program = torch.export.export(Network().eval(), inputs, dynamic_shapes=(sizes, sizes))
torch.export.save(program, "net.pt2")
program.example_inputs = None
torch.export.save(program, "bare.pt2")
"""


@pytest.mark.clock
@thorough
def test_a_program_of_torch_export(folder: Path) -> None:
    python = paths.environments() / "export" / "bin" / "python"
    subprocess.run([python, "-c", PROGRAM], cwd=folder, check=True, capture_output=True)
    home = str(folder / "home")
    options = ("--profile", "default", "--time", "2s", "--results", folder / "results")
    chosen = ("--targets", "torch-export,ort-python", *options)
    ended = runoff("bench", "net.pt2", *chosen, cwd=folder, RUNOFF_HOME=home)
    assert ended.code == 0, ended.out + ended.err
    assert "outputs must agree with PyTorch" in ended.out
    run = only_run(folder / "results")
    assert {record.status for record in run.records} == {"ok"}
    assert {case.format for case in run.info.cases} == {"pt2", "onnx"}
    bare = runoff("bench", "bare.pt2", *chosen, cwd=folder, RUNOFF_HOME=home)
    assert (bare.code, "add: --input ids=1,128" in bare.err) == (2, True)
    sized = runoff("bench", "bare.pt2", "--input", "ids=3,7", *chosen, cwd=folder, RUNOFF_HOME=home)
    assert sized.code == 0, sized.out + sized.err
    assert "input mask: 3,7:float32" in sized.out
    other = runoff("bench", "net.pt2", *options, "--targets", "torch", cwd=folder, RUNOFF_HOME=home)
    assert (other.code, "torch needs a network in PyTorch; the model is a program" in other.err) == (3, True)


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("network:broken", (), r"factory network:broken raised ValueError: no weights here \(network\.py:12\)"),
        ("network:vanishes", (), r"the code of network:vanishes ended the program without an error"),
        ("network:random", (), r"the network's outputs differ from call to call on the same input"),
        ("network:make", ("--python", sys.executable), r"No module named 'torch'"),
        *(
            pytest.param(*case, marks=thorough)
            for case in (
                ("network:missing", (), r"network has no 'missing'"),
                ("nothing:make", (), r"module 'nothing' raised ModuleNotFoundError"),
                ("network:leaves", (), r"factory network:leaves raised SystemExit: 0 \(network\.py:\d+\)"),
                ("network:inputs", (), r"returned Tensor, not a torch\.nn\.Module"),
                ("network:make", ("--weights", "network.py"), r"weights .*network\.py: loading them raised"),
            )
        ),
    ],
)
def test_a_factory_that_fails(factory: str, options: tuple[str, ...], message: str, folder: Path) -> None:
    python = paths.environments() / "export" / "bin" / "python"
    skip_because("" if python.exists() else f"{python} is missing; run: nox -s export")
    (folder / "network.py").write_text(NETWORK)
    ended = runoff(
        "bench", factory, "--example", "network:inputs", *options, cwd=folder, RUNOFF_HOME=str(folder / "home")
    )
    assert ended.code == 2
    assert re.search(message, ended.err), ended.err
    assert len(ended.err.strip().splitlines()) == 2
