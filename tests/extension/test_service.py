"""The how-to for services: its programs work as written, with a generated model."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from both import save
from generated import model
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "rust" / "runoff-py" / "in-your-service.md"
TEXT = PAGE.read_text(encoding="utf-8")
PROGRAMS = dict(re.findall(r"^`(\w+\.py)`:\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the page's programs and model."""
    made = tmp_path_factory.mktemp("service")
    for name, text in PROGRAMS.items():
        (made / name).write_text(text, encoding="utf-8")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])
        for name, columns in (("x", 4), ("scores", 3))
    ]
    node = helper.make_node("MatMul", ["x", "weights"], ["scores"])
    scores = model([node], ends[:1], ends[1:])
    scores.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "weights"))
    save(scores, made / "model.onnx")
    return made


@pytest.fixture
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_CACHE", str(folder / "cache"))


def python(folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def address(folder: Path, environment: None) -> Iterator[str]:  # noqa: ARG001 (for the service)
    """Return the address of the service: started as on the page, but on a free port, and ended by Ctrl-C."""
    (command,) = (one for one in COMMANDS if one.startswith("uvicorn "))
    arguments = command.replace("--port 8000", "--port 0").split()
    service = subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
    assert service.stderr is not None
    printed = []
    for line in service.stderr:
        printed.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            yield found[1]
            break
    else:
        pytest.fail("".join(printed))
    service.send_signal(signal.SIGINT)
    _, errors = service.communicate(timeout=TIMEOUT_S)
    assert "Finished server process" in errors, errors


def post(address: str, x: Any) -> httpx.Response:
    return httpx.post(f"{address}/predict", json={"x": x}, timeout=TIMEOUT_S)


def test_every_program_of_the_page_is_run() -> None:
    assert TEXT.count("```python\n") == len(PROGRAMS)
    assert sorted(PROGRAMS) == ["calls.py", "prepare_model.py", "processes.py", "service.py"]


def test_its_links_resolve() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert [target for target in targets if not (PAGE.parent / target.split("#")[0]).exists()] == []


def test_the_service_handles_concurrent_requests(address: str) -> None:
    (shown,) = (re.search(r"--json '(.*)'", one) for one in COMMANDS if one.startswith("curl "))
    assert shown is not None
    x = json.loads(shown[1])["x"]
    assert post(address, x).json() == {"scores": (np.array(x, np.float32) @ WEIGHTS).tolist()}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: post(address, [[number, 0, 0, 1]]).json(), range(100)))
    assert answers == [{"scores": [[9.0, 10.0 + number, 11.0 + 2 * number]]} for number in range(100)]


@pytest.mark.parametrize(("x", "word"), [([[1, 2]], "4"), ([[1, 2, 3, 4], [1]], "equally"), ("text", "list")])
def test_a_bad_request_is_a_client_error(address: str, x: Any, word: str) -> None:
    answer = post(address, x)
    assert answer.status_code == 422
    assert word in answer.text


def test_a_missing_model_ends_the_start_with_the_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL", "gone.onnx")
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode != 0
    assert "model not found: " in done.stderr


def test_a_model_is_prepared_once(folder: Path, environment: None) -> None:  # noqa: ARG001 (for the program)
    (command,) = (one for one in COMMANDS if "prepare_model.py" in one)
    prepared = Path(python(folder, *command.split()[1:]).strip())
    assert prepared.parent == folder / "cache"
    made = prepared.stat().st_mtime_ns
    assert Path(python(folder, *command.split()[1:]).strip()).stat().st_mtime_ns == made


@pytest.mark.parametrize(("program", "printed"), [("calls.py", "100 (1, 3)\n"), ("processes.py", "10\n")])
def test_the_other_programs_run(folder: Path, program: str, printed: str) -> None:
    assert python(folder, program) == printed
