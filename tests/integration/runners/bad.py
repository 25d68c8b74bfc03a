"""A runner that fails as its first argument says: ``bad.py HOW --request ... --result ...``."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import turns

CAPABILITIES: dict[str, Any] = {
    "protocol": [1],
    "runner": "bad",
    "language": "python",
    "runtime": "none",
    "workloads": ["classify"],
    "formats": ["onnx"],
    "providers": ["cpu"],
    "measures": ["once", "accuracy"],
}

COLOURS = "\x1b[31mred\x1b[0m\nsecond | line\x00 \u202eno <b>bold</b>"


def answer(how: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return a result that is correct except for `how`; the outputs are copies of the model's references."""
    spawn = request["spawn_ns"] or time.monotonic_ns()
    late = 3_600_000_000_000 if how == "clock" else 0
    return {
        "protocol": 1,
        "case": "another.case" if how == "case" else request["case"],
        "status": "ok",
        "phases": [{"name": "start", "start_ns": spawn, "end_ns": time.monotonic_ns() + late}],
        "outputs": [] if how == "no-outputs" else write_outputs(how, request),
        "effective": {"runtime": "none", "version": "1", "language": "python"},
    }


def write_outputs(how: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Write the outputs of all items, or of the first for ``once``."""
    images = [Path(item["image"]) for item in request["inputs"]]
    count = len(images) if request["measure"]["kind"] == "accuracy" else 1
    outputs = []
    for item in range(count):
        source = images[(item + (how == "late")) % len(images)]
        data = source.with_name(f"{source.stem}.reference.bin").read_bytes()
        if how == "nan":
            data = struct.pack("<f", float("nan")) + data[4:]
        if how == "wrong":
            data = data[400:] + data[:400]
        path = Path(request["outputs_dir"], f"logits.{item}.bin")
        if how == "tensor-fifo":
            os.mkfifo(path)
        else:
            path.write_bytes(data)
        outputs.append(
            {
                "items": [item],
                "name": "logits",
                "dtype": "float33" if how == "dtype" else "float32",
                "shape": [1, len(data) // 4],
                "path": str(path),
            }
        )
    return outputs[:1] if how == "one-item" else outputs


def hang() -> None:
    """Start a child, report both process ids, and never end."""
    child = subprocess.Popen(["sleep", "1000"])
    Path(os.environ["PIDS"]).write_text(f"{os.getpid()} {child.pid}\n")
    time.sleep(1000)


def write(path: str, text: str) -> None:
    """Write the result as the protocol requires: under a temporary name first."""
    temporary = Path(f"{path}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def fail_before_response(how: str, result_path: str) -> None:
    """Fail before the response."""
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit("[/opt/lib.so] lost its way")
    if how == "hang":
        hang()
    if how == "silent":
        sys.exit(0)
    if how == "garbage":
        write(result_path, '{"protocol": 1, ')
        sys.exit(0)
    if how == "fifo":
        os.mkfifo(result_path)
        sys.exit(0)
    if how == "colours":
        write(
            result_path, json.dumps({"protocol": 1, "case": "", "status": "error", "kind": "odd", "message": COLOURS})
        )
        sys.exit(1)
    if how == "stdout":
        sys.stdout.write("loading the model ...\n")


def main() -> int:
    """Respond, or fail."""
    how, *arguments = sys.argv[1:]
    if arguments == ["--probe"]:
        more = ["turns"] if how.startswith("turn-") else []
        sys.stdout.write(json.dumps(CAPABILITIES | {"measures": [*CAPABILITIES["measures"], *more]}))
        return 0
    request = json.loads(Path(arguments[1]).read_text())
    if request["measure"]["kind"] == "turns":
        result = answer("none", request)
        result["samples"] = {"inference": turns.take(how.removeprefix("turn-"), request)}
        write(arguments[3], json.dumps(result))
        return 0
    fail_before_response(how, arguments[3])
    result = answer(how, request)
    if how == "unsupported":
        result |= {"status": "unsupported", "kind": "provider-unavailable", "message": "no luck", "outputs": []}
    write(arguments[3], json.dumps(result))
    return 3 if how == "unsupported" else 0


if __name__ == "__main__":
    sys.exit(main())
