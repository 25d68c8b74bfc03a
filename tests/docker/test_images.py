"""The images work as docs/docker.md describes, in real containers: nox -s docker."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from containers import Image

TARGETS = ("torch", "torch-export", "ort-python", "ort-rust", "ort-pyo3")
SUITE = Path(__file__).with_name("suite.toml")
MODEL = "/opt/runoff/home/models/efficientnet-lite0/model.onnx"
BUILD_TOOLS = ("cargo", "rustc", "cc", "g++", "make", "cmake", "nasm", "maturin", "uv", "nox", "pip")


def test_doctor_reports_only_what_an_image_cannot_contain(image: Image) -> None:
    found = json.loads(image.run("doctor", "--json").stdout)
    states = {finding["what"]: finding["state"] for finding in found}
    assert {states[f"target {name}"] for name in TARGETS} == {"ok"}, found
    assert states["probe process"] == "ok", found
    # perf is installed; Docker permits counting only with extra privileges
    (counters,) = (finding["detail"] for finding in found if finding["what"] == "probe counters")
    assert counters.startswith(("perf 6", "perf is not permitted to measure on this machine")), found


def test_a_container_has_no_privilege_and_no_build_tools(image: Image) -> None:
    assert image.shell("id -u").strip() == "10001"
    assert image.shell(f"command -v {' '.join(BUILD_TOOLS)} || true") == ""
    assert image.shell("ls -d /ca /wheels /src /opt/build /opt/runoff/environments/export 2>/dev/null || true") == ""


def test_an_image_has_the_wheels_installed_and_no_checkout(image: Image) -> None:
    program = "from runoff import paths; print(paths.in_checkout(), paths.root(), paths.binaries())"
    found = image.shell(f"/opt/runoff/venv/bin/python -c '{program}'").split()
    assert found == ["False", "/opt/runoff/venv/lib/python3.11/site-packages/_runoff", "/opt/runoff/venv/bin"]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_works_without_a_network_for_any_user(image: Image, target: str, caller: str) -> None:
    ran = image.run("run", "--target", target, "--json", options=("--user", caller))
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["status"] == "ok"
    assert result["top"][0][0]["label"]


def test_the_extension_can_be_imported(image: Image) -> None:
    program = "import runoff_ort; print(runoff_ort.__name__)"
    assert image.shell(f"/opt/runoff/environments/ort-pyo3/bin/python -c '{program}'").strip() == "runoff_ort"


def test_results_of_a_bench_belong_to_the_caller(image: Image, mounted: Path, caller: str) -> None:
    volumes = ("--volume", f"{mounted}:/results", "--volume", f"{SUITE}:/suite.toml:ro")
    ran = image.run("bench", "/suite.toml", options=("--user", caller, *volumes))
    assert ran.returncode == 0, ran.stderr + ran.stdout
    (folder,) = mounted.glob("smoke-*")
    run = json.loads((folder / "run.json").read_text())
    assert run["finished"]
    assert run["machine"]["container"] == "docker"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"run.json", "raw", "summary.csv", "samples.csv", "report.md", "report.html", "plots"}
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))}
    assert owners == {tuple(map(int, caller.split(":")))}


def test_a_users_model_is_measured(image: Image, mounted: Path, caller: str) -> None:
    options = ("--time", "5s", "--profile", "default", "--targets", "ort-python,ort-rust,ort-pyo3")
    ran = image.run("bench", MODEL, *options, options=("--user", caller, "--volume", f"{mounted}:/results"))
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert len(list(mounted.glob("model-*/report.html"))) == 1


def test_a_folder_of_another_user_is_named(image: Image, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    ran = image.run("bench", options=("--user", "54321:54321", "--volume", f"{tmp_path}:/results"))
    assert ran.returncode == 2
    assert "cannot write results to /results" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("target", ["torch", "ort-python", "ort-rust", "ort-pyo3"])
def test_cuda_without_a_gpu_is_one_clear_line(image: Image, target: str) -> None:
    ran = image.run("run", "--target", target, "--set", "provider=cuda")
    assert ran.returncode == 3, ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.strip()]
    assert lines[0].startswith(f"runoff: {target}: "), ran.stderr
    assert "cuda" in lines[0].lower()
    assert len(lines) <= 2, ran.stderr
    assert ran.stdout == ""


def test_the_cuda_provider_misses_only_the_drivers_library(cuda: Image) -> None:
    folder = "/opt/runoff/lib"
    script = f"ldd {folder}/libonnxruntime_providers_cuda.so {folder}/libonnxruntime_providers_shared.so"
    missing = {line.split()[0] for line in cuda.shell(script).splitlines() if "not found" in line}
    assert missing == {"libcuda.so.1"}


def test_stopping_a_container_keeps_the_results(image: Image, mounted: Path, caller: str) -> None:
    options = ("--user", caller, "--volume", f"{mounted}:/results", "--name", f"runoff-stopped-{image.kind}")
    with subprocess.Popen(image.command("bench", options=options), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(mounted.glob("*/raw/*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.2)
        subprocess.run(["docker", "stop", "--time", "60", f"runoff-stopped-{image.kind}"], check=True)
        process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    (folder,) = mounted.glob("quick-*")
    assert list((folder / "raw").glob("*.jsonl"))
    assert not json.loads((folder / "run.json").read_text())["finished"]
