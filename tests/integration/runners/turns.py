"""A runner with turns that fails as requested; its outputs are copies of the references."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

INFERENCE_NS = {"fast": 10_000_000, "defers": 30_000_000}
USUAL_NS = 3_000_000


def take(how: str, request: dict[str, Any]) -> dict[str, Any]:
    """Respond to every line of stdin; return the times for the result."""
    reported: list[int] = []
    latest = before = 0
    say("ready")
    for number, line in enumerate(sys.stdin):
        if how == "dies" and number == 9:
            sys.exit("it gave up")
        if how == "hangs" and number == 9:
            time.sleep(1000)
        if line.strip() == "outputs":
            named = (latest + 1) % len(request["inputs"]) if how == "items" else latest
            say(json.dumps(outputs(how, request, before if how == "late" else latest, named)))
            continue
        firsts = [int(word) for word in line.split()]
        took = [1000 if how == "defers" else compute(how) for _ in firsts]
        reported += took
        before, latest = latest, (firsts or [latest])[-1]
        times = {"inference": took[1:] if how == "few" else took, "preprocess": [0 for _ in firsts]}
        if how == "pads":
            times["rest"] = took
        say({"garbage": "[1, 2", "floods": "[" * 2**21}.get(how) or json.dumps(times))
    return {"first_ns": 1, "second_ns": 1, "warm_ns": reported[:-1] if how == "forgets" else reported}


def compute(how: str) -> int:
    """Burn CPU; return the reported duration."""
    begun = time.monotonic_ns()
    while time.monotonic_ns() < begun + INFERENCE_NS.get(how, USUAL_NS):
        pass
    took = time.monotonic_ns() - begun
    reported = {"lies": took // 2, "fast": took * 97 // 100, "brags": took * 2, "absurd": 10**400, "negative": -5}
    return reported.get(how, took)


def outputs(how: str, request: dict[str, Any], item: int, named: int) -> list[dict[str, Any]]:
    """Write the output for `item`, and report it as the output for `named`."""
    if how == "defers":
        compute(how)
    image = Path(request["inputs"][item]["image"])
    data = image.with_name(f"{image.stem}.reference.bin").read_bytes()
    path = Path(request["outputs_dir"], f"logits.{named}.bin")
    path.write_bytes(data)
    shape = [1, len(data) // 4]
    return [{"items": [named], "name": "logits", "dtype": "float32", "shape": shape, "path": str(path)}]


def say(line: str) -> None:
    """Write a response line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
