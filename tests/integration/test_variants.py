"""Variants of a small model on the command line, and the explanation of their speed against ONNX Runtime's profile."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from running import only_run, runoff

from machine import skip_because
from onnx_models import FLOAT, save
from runoff import paths
from runoff.analysis.precision import class_times
from runoff.measure.verify import check_result
from runoff.models.store import StoredModel
from runoff.probes.accuracy import ACCURACY
from runoff.records.manifest import read_manifest
from runoff.records.nodes import node_class
from runoff.records.profiles import read_nodes
from runoff.records.schema import Record

if TYPE_CHECKING:
    from runoff.records.schema import Run

SUITE = """
[suite]
name = "precision"
models = ["net"]
targets = ["ort-python"]
workloads = ["tensor"]
probes = ["operators"]
[settings]
precision = ["fp32", "fp16", "bf16", "int8", "int8-static"]
[models.net]
path = "net.onnx"
[measure]
max_loss = { fp16 = 0.000001, int8 = 0.000001 }
"""


def network(path: Path, width: int = 16) -> Path:
    """Save convolutions around a Tanh, which no quantiser takes; the output is ``y``, float32 [batch, 16]."""
    rng = np.random.default_rng(1)
    weights = {
        name: rng.normal(size=shape).astype(np.float32) / 6
        for name, shape in (("a", (width, 3, 3, 3)), ("b", (width, width, 3, 3)), ("c", (width * 9, 16)))
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["h1"], ["h2"], name="tanh"),
        helper.make_node("Conv", ["h2", "b"], ["h3"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["h3"], ["h4"], name="pool", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["h4"], ["h5"], name="flatten"),
        helper.make_node("MatMul", ["h5", "c"], ["y"], name="matmul"),
    ]
    return save(path, nodes, [("x", FLOAT, ["batch", 3, 24, 24])], [("y", FLOAT, ["batch", 16])], weights)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the run of the model in all precisions on one target."""
    python = paths.environments() / "inspect" / "bin" / "python"
    skip_because("" if python.exists() else f"{python} is missing; run: nox -s inspect")
    folder = tmp_path_factory.mktemp("precision")
    network(folder / "net.onnx")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    places = {"RUNOFF_HOME": str(folder / "home"), "RUNOFF_RESULTS": str(folder / "results")}
    ended = runoff("bench", "suite.toml", cwd=folder, **places)
    assert ended.code == 0, ended.out + ended.err
    assert "net has no bf16 variant: the bf16 variant does not run" in ended.out
    found = only_run(folder / "results")
    assert "more than its limit of 1e-06" in (found.folder / "report.md").read_text(encoding="utf-8")
    assert 'id="precision"' in (found.folder / "report.html").read_text(encoding="utf-8")
    return found


def stored(run: Run) -> StoredModel:
    (folder,) = (run.folder.parents[1] / "home" / "own").glob("net-*")
    return StoredModel(folder, read_manifest(folder))


def test_every_variant_is_measured_or_has_a_reason(run: Run) -> None:
    reasons = {case.settings.precision: str(case.skipped) for case in run.info.cases if case.skipped}
    assert list(reasons) == ["bf16"]
    assert "Could not find an implementation for" in reasons["bf16"]
    assert {record.status for record in run.records} == {"ok"}
    model = stored(run)
    model.verify()
    assert set(model.manifest.variants) == {"fp16", "int8", "int8-static"}
    for variant in model.manifest.variants.values():
        assert variant.loss is not None
        assert 0 < variant.loss.max_rel_diff < 0.1
        assert variant.file.sha256 in run.info.models["net"]["sha256"].values()


def test_a_wrong_answer_of_a_variant_is_still_excluded(run: Run, tmp_path: Path) -> None:
    model = stored(run)
    case = next(case for case in run.info.cases if case.settings.precision == "int8-static")
    taken = next(record for record in run.records if (record.case, record.probe) == (case.id, "accuracy"))
    result = taken.result
    assert result is not None
    order = range(len(model.manifest.examples))
    references = [model.computing(case.format).references(place)["y"] for place in order]

    def outputs(change: Any) -> Any:
        for place in order:
            values = np.fromfile(references[place].path, "<f4")
            (tmp_path / f"{place}.bin").write_bytes(change(values, place).astype("<f4").tobytes())
        written = [
            msgspec.structs.replace(tensor, items=(place,), path=str(tmp_path / f"{place}.bin"))
            for place, tensor in zip(order, [result.outputs[0]] * len(order), strict=True)
        ]
        return check_result(case, model, ACCURACY, order, msgspec.structs.replace(result, outputs=tuple(written)))[1]

    assert outputs(lambda values, _: values) is None
    for wrong in (
        lambda values, _: values * 1.5,
        lambda values, _: values[::-1],
        lambda _, place: np.fromfile(references[place - 1].path, "<f4"),
        lambda values, _: np.zeros_like(values),
    ):
        reason = outputs(wrong)
        assert reason is not None
        assert reason.kind == "outputs-differ"


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-static"])
def test_shares_and_counts_agree_with_the_profile_and_the_optimised_graph(
    run: Run, precision: str, tmp_path: Path
) -> None:
    """The explanation is compared with a profile that is read here in another way."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 4
    session = onnxruntime.InferenceSession(stored(run).model_file(f"onnx:{precision}").path, options)
    for _ in range(12):
        session.run(None, {"x": np.random.default_rng(1).normal(size=(1, 3, 24, 24)).astype(np.float32)})
    profile = session.end_profiling()
    nodes = read_nodes(Path(profile).read_bytes(), 12)
    counted = Counter(node.operator for node in nodes)
    assert counted == Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    calls: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for event in json.loads((tmp_path / profile).read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            types = [kind for shapes in event["args"]["input_type_shape"] for kind in shapes]
            calls[event["name"], node_class(event["args"]["op_name"], types)].append(event["dur"] * 1000)
    assert sum(sum(node.kernel_ns) for node in nodes) == sum(map(sum, calls.values()))
    spent: defaultdict[str, float] = defaultdict(float)
    for (_, name), took in calls.items():
        spent[name] += median(took)
    result = msgspec.structs.replace(_result(run, precision), nodes=nodes)
    classes = {
        one.name: one
        for one in class_times([Record(case="c", probe="operators", block=0, order=0, status="ok", result=result)])
    }
    assert classes.keys() == spent.keys()
    # means of the middle half and medians, of times in steps of a microsecond
    assert sum(one.share for one in classes.values()) == pytest.approx(1)
    for name, one in classes.items():
        assert one.share == pytest.approx(spent[name] / sum(spent.values()), abs=0.1)


def _result(run: Run, precision: str) -> Any:
    case = next(case for case in run.info.cases if case.settings.precision == precision and case.control_of is None)
    return next(record.result for record in run.records if (record.case, record.probe) == (case.id, "operators"))


def test_what_a_quantiser_left_in_float_is_found(run: Run) -> None:
    for precision in ("int8", "int8-static"):
        by_class: defaultdict[str, set[str]] = defaultdict(set)
        for node in _result(run, precision).nodes:
            by_class[node_class(node.operator, node.inputs)].add(node.operator)
        assert "Tanh" in by_class["fp32"]
        assert by_class["int8"]
        assert by_class["quantise"]
