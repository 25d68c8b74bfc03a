"""The suite speed: its limits cover measured targets, and its runners measure what they declare."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runoff import paths
from runoff.compare.limits import Limit, read_limits
from runoff.plan.suite import read_suite
from runoff.targets import find_targets
from runoff_runners.preprocess import preprocess
from runoff_runners.protocol import RunnerError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from runoff_runners.interfaces import Feed

SUITE = paths.suites() / "speed.toml"
PROGRAM = paths.suites() / "speed" / "runners.py"
LIMITS = read_limits(PROGRAM.with_name("limits.toml"))
FEED = {"input": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)}


@cache
def runners() -> ModuleType:
    """Return the suite's program as a module."""
    spec = importlib.util.spec_from_file_location("speed_runners", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.text)
def test_both_targets_of_a_limit_are_measured_in_one_comparison(limit: Limit) -> None:
    suite, _ = read_suite(SUITE)
    groups = [group for group in suite.groups if limit.metric.probe in (group.probes or ())]
    shared: dict[tuple[Any, ...], set[str]] = {}
    for group in groups:
        profiles = group.settings["profile"]
        for profile in profiles if isinstance(profiles, list) else [profiles]:
            key = (group.models, group.workloads, group.settings["threads"], profile)
            shared.setdefault(key, set()).update(group.targets or ())
    assert any({limit.over, limit.under} <= targets for targets in shared.values())


def test_all_its_targets_are_known() -> None:
    suite, _ = read_suite(SUITE)
    names = {name for group in suite.groups for name in group.targets or ()}
    found = find_targets(names, suite.targets, SUITE.parent)
    assert set(suite.targets) <= names
    assert all(str(PROGRAM) in found[name].command for name in suite.targets)


def test_the_tuned_row_differs_from_ort_python_only_in_memory() -> None:
    suite, _ = read_suite(SUITE)
    found = find_targets(["ort-python", "ort-python-tuned"], suite.targets, SUITE.parent)
    usual, tuned = found.values()
    delays = {"MIMALLOC_PURGE_DELAY": "2", "MIMALLOC_DECOMMIT_DELAY": "2"}  # names of newer and older versions
    assert tuned.env == {**usual.env, "LD_PRELOAD": "libmimalloc.so.2", **delays}
    assert tuned.command[-1] == "released"


class Library:
    """Doubles its input, and counts its calls."""

    def __init__(self, path: str, *, differs: bool = False) -> None:
        self.path = path
        self.called = 0
        self._differs = differs

    def calls(self, feed: Feed, count: int) -> Any:
        """Call `count` times."""
        self.called += count
        (values,) = feed.values()
        return 2 * values + (self.called if self._differs else 0)

    def bind(self, feed: Feed, output: Any) -> Any:
        """Bind."""

        def run() -> None:
            self.called += 1
            output[:] = 2 * feed["x"]

        return run, lambda: output


def request(threads: int = 1) -> Any:
    return {"model": {"path": "model", "outputs": [{"name": "logits"}]}, "settings": {"threads": threads}}


@pytest.mark.parametrize(
    ("kind", "threads", "calls", "model"),
    [
        ("calls", 1, 250, "flat.onnx"),
        ("bound", 1, 250, "flat.onnx"),
        ("callers", 2, 8, "model"),
        ("callers", 1, 4, "model"),
    ],
)
def test_an_inference_is_many_calls_and_returns_the_output_of_its_input(
    kind: str, threads: int, calls: int, model: str
) -> None:
    session = runners().KINDS[kind](Library, request(threads))
    for factor in (1, 3):
        outputs = session.run({"input": factor * FEED["input"]})
        assert np.array_equal(outputs["logits"], 2 * factor * FEED["input"])
    assert session.library.called == 2 * calls
    assert session.library.path.rpartition("/")[2] == model


def test_threads_that_get_different_outputs_are_a_failure() -> None:
    with pytest.raises(RunnerError, match="different outputs"):
        runners().Callers(partial(Library, differs=True), request(2)).run(FEED)


@pytest.mark.parametrize("size", [(640, 427), (300, 500)])
def test_resizing_the_whole_image_equals_resizing_the_crop(size: tuple[int, int], tmp_path: Path) -> None:
    from PIL import Image

    path = str(tmp_path / "noise.png")
    smooth = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)).resize(size)
    smooth.save(path)
    spec: Any = {"resize": 232, "crop": 224, "interpolation": "bilinear", "mean": [100, 110, 120], "std": [50, 60, 70]}
    apart = np.abs(runners().pillow([path], spec) - preprocess([path], spec)) * np.reshape(spec["std"], (3, 1, 1))
    assert apart.max() <= 3


def test_an_unknown_word_is_refused_with_the_usage() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "guesses", "--probe"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "usage: runners.py pillow|released|calls onnxruntime|" in done.stderr
