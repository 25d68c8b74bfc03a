"""Targets: built-in ones, and custom ones of a suite."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from runoff.plan.suite import CustomTarget
from runoff.plan.target import Target, removed_variables
from runoff.records.errors import RunoffError
from runoff.targets import BUILT_IN, find_targets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    path = tmp_path / "my-runner"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def own(*command: str, **env: str) -> dict[str, CustomTarget]:
    return {"mine": CustomTarget(command=command, env=env)}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_target_starts_or_has_a_hint(name: str, tmp_path: Path) -> None:
    target = find_targets([name], {}, tmp_path)[name]
    assert target.name == name
    assert target.command[0].startswith("/")
    assert target.missing is None or target.missing.hint.startswith("run: ")


def test_variables_that_change_the_measurement_do_not_reach_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PYTHONDONTWRITEBYTECODE", "ORT_TENSORRT_FP16_ENABLE", "TORCHINDUCTOR_FREEZING", "CUDA_VISIBLE_DEVICES")
    for name in names:
        monkeypatch.setenv(name, "1")
    environment = Target(name="mine", command=("/bin/true",)).environment()
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert "ORT_TENSORRT_FP16_ENABLE" not in environment
    assert "TORCHINDUCTOR_FREEZING" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_variables_that_resize_pools_do_not_reach_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORT_INTRA_OP_NUM_THREADS", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "MKL_CBWR"):
        monkeypatch.setenv(name, "1")
    environment = Target(name="mine", command=("/bin/true",), env={"OMP_NUM_THREADS": "7"}).environment()
    assert environment["OMP_NUM_THREADS"] == "7", "a suite may set it"
    assert environment["MKL_CBWR"] == "1", "it has nothing to do with threads"
    assert "ORT_INTRA_OP_NUM_THREADS" not in environment
    assert "OMP_WAIT_POLICY" not in environment
    assert removed_variables({"MKL_DYNAMIC": "0", "PATH": "/bin"}) == {"MKL_DYNAMIC": "0"}


def test_a_missing_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    monkeypatch.setenv("RUNOFF_BIN", str(tmp_path))
    for name, session in (
        ("torch", "torch"),
        ("torch-export", "torch"),
        ("torch-aoti", "torch"),
        ("openvino-python", "openvino"),
        ("ort-pyo3", "ort-pyo3"),
        ("webnn-compute", "webnn"),
        ("webnn-ort", "webnn"),
        ("webnn-rust", "webnn-rust"),
        ("ort-rust", "build"),
    ):
        missing = BUILT_IN[name]().missing
        assert missing is not None
        assert missing.kind == "not-installed"
        assert missing.hint == f"run: nox -s {session}"


def test_a_relative_command_starts_at_the_suites_folder(runner: Path) -> None:
    found = find_targets(["mine"], own("./my-runner", "my-runner", "--fast"), runner.parent)["mine"]
    assert found.command == (str(runner), str(runner), "--fast")


def test_a_suites_target_may_run_in_the_environment_of_a_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    (tmp_path / "mine.py").touch()
    table = CustomTarget(command=("python", "-P", "mine.py"), env={"MINE": "1"}, environment="ort-pyo3")
    found, host = find_targets(["mine"], {"mine": table}, tmp_path)["mine"], BUILT_IN["ort-pyo3"]()
    assert found.command == (str(tmp_path / "ort-pyo3" / "bin" / "python"), "-P", str(tmp_path / "mine.py"))
    assert found.env == {**host.env, "MINE": "1"}
    assert found.missing == host.missing is not None
    with pytest.raises(RunoffError, match=r"\[targets.mine\] environment: unknown target 'ort-pyo'.*'ort-pyo3'"):
        find_targets(["mine"], {"mine": CustomTarget(command=("python",), environment="ort-pyo")}, tmp_path)


def test_a_bare_command_is_looked_up_on_the_path(tmp_path: Path) -> None:
    found = find_targets(["mine"], own("sh", "-c", "true"), tmp_path)["mine"]
    assert found.command[0].endswith("/sh")
    assert found.command[1:] == ("-c", "true")


def test_a_suite_may_replace_a_built_in_target(runner: Path) -> None:
    found = find_targets(["torch"], {"torch": CustomTarget(command=("./my-runner",))}, runner.parent)
    assert found["torch"].command == (str(runner),)


@pytest.mark.parametrize(
    ("command", "words"),
    [("./none", "none is not a program"), ("no-such-program", "is not on the PATH"), ("./", "is not a program")],
)
def test_a_missing_command(command: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RunoffError, match=words) as caught:
        find_targets(["mine"], own(command), tmp_path)
    assert caught.value.message.startswith("[targets.mine] command: ")


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(RunoffError, match="did you mean 'ort-rust'"):
        find_targets(["ort-rst"], {}, tmp_path)
    with pytest.raises(RunoffError, match="did you mean 'mine'"):
        find_targets(["mien"], own("sh"), tmp_path)


def test_disturbing_variables_are_removed_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("RUNOFF_HOME", "/somewhere")
    monkeypatch.setenv("KEPT", "1")
    environment = Target(name="mine", command=("sh",), env={"PYTHONPATH": "own"}).environment()
    assert environment["KEPT"] == "1"
    assert environment["PYTHONPATH"] == "own"
    assert not {"PYTHONDONTWRITEBYTECODE", "RUNOFF_HOME"} & environment.keys()


def test_core_ml_needs_a_mac_and_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_ENVS", str(tmp_path))
    kinds = []
    for is_macos in (False, True):
        monkeypatch.setattr(import_module("runoff.targets.coreml"), "_is_macos", lambda here=is_macos: here)
        target = BUILT_IN["coreml"]()
        assert target.packages
        assert target.missing is not None
        kinds.append((target.missing.kind, target.missing.hint))
    assert kinds == [("needs-macos", "run: nox -s bench, on a Mac"), ("not-installed", "run: nox -s coreml")]
    python = tmp_path / "coreml" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert BUILT_IN["coreml"]().missing is None
