"""Profiles that both runners recorded of one small net: their nodes, matched to those of the file, and the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper
from test_explain_parts import explained, run

from onnx_models import FLOAT, save
from runoff.explain.nodes import as_called, groups_of, profiled_nodes, rows_of
from runoff.explain.page import page
from runoff.explain.show import draw, kernels_of, sentences
from runoff.models.cuts import Cuts, Peak
from runoff.models.work import work_of
from runoff.records.profiles import read_nodes
from runoff.records.protocol import Node, Result
from runoff.records.schema import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.explain.nodes import Kernel, Row

PROFILES = Path(__file__).with_name("profiles")
NS = 1000
PEAK = Peak(flops_per_s=1e11, bytes_per_s=1e10)


def nodes(runtime: str) -> tuple[Node, ...]:
    return read_nodes((PROFILES / f"net.{runtime}.json").read_bytes(), 2)


def cuts() -> Cuts:
    return msgspec.json.decode((PROFILES / "net.cuts.json").read_bytes(), type=Cuts)


def rows() -> tuple[Row, ...]:
    sides = ([(node, float(np.median(node.kernel_ns))) for node in nodes(name)] for name in ("onnxruntime", "openvino"))
    return rows_of(cuts(), *sides)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_each_node_has_the_times_of_the_last_inferences(runtime: str) -> None:
    events = json.loads((PROFILES / f"net.{runtime}.json").read_text(encoding="utf-8"))
    runs = [place for place, event in enumerate(events) if event["name"] == "model_run"]
    assert len(runs) == 5
    last = [event for event in events[runs[2] + 1 :] if event["name"].endswith("_kernel_time")]
    found = nodes(runtime)
    assert {(len(node.kernel_ns), node.calls, node.provider) for node in found} == {(2, 2, "cpu")}
    assert sum(sum(node.kernel_ns) for node in found) == pytest.approx(NS * sum(event["dur"] for event in last), abs=2)
    shapes = {node.shapes[0] for node in found if node.operator.endswith(("Conv", "Convolution"))}
    assert shapes == {(1, 16, 16, 16)}


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_profile_is_a_chrome_trace_whose_nodes_are_within_their_inference(runtime: str) -> None:
    events = json.loads((PROFILES / f"net.{runtime}.json").read_text(encoding="utf-8"))
    assert {event["ph"] for event in events} == {"X"}
    for event in events:
        assert isinstance(event["name"], str)
        assert isinstance(event["cat"], str)
        assert {type(event[key]) for key in ("pid", "tid")} == {int}
        assert min(event["ts"], event["dur"]) >= 0
    waiting: list[tuple[float, float]] = []
    for event in events:
        span = event["ts"], event["ts"] + event["dur"]
        if event["cat"] == "Node":
            # one after the other: a viewer nests what overlaps
            assert not waiting or waiting[-1][1] <= span[0] + 1
            waiting.append(span)
        elif event["name"] == "model_run":
            assert all(span[0] - 1 <= begin <= end <= span[1] + 1 for begin, end in waiting)
            waiting.clear()
    assert not waiting


def test_the_runtimes_name_what_they_compute_with() -> None:
    kernels = {node.name: node.kernel for node in nodes("openvino")}
    assert kernels["depthwise/WithoutBiases"] == "brgconv_avx512_dw_f32"
    assert {node.kernel for node in nodes("onnxruntime")} == {None}


@pytest.mark.parametrize(
    "trace", [b"{}", b"[1]", b"[", b'[{"name": "a_kernel_time", "cat": "Node", "dur": "x"}]', b"\xff"]
)
def test_what_is_no_profile_is_refused(trace: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        read_nodes(trace, 1)


def test_a_row_has_the_same_nodes_of_the_file_on_both_sides() -> None:
    made = rows()
    named = {
        tuple(work.name for work in row.work): [[one.name for one in side] for side in row.kernels] for row in made
    }
    # fused: a Clip with the Conv before it, an Add with the Conv before it
    assert named["stem", "stem_clip"] == [["t0_nchwc"], ["stem/WithoutBiases"]]
    assert named["depthwise", "depthwise_clip"] == [["t1_nchwc"], ["depthwise/WithoutBiases"]]
    assert named["project", "residual"] == [["t2_nchwc"], ["project/WithoutBiases"]]
    assert named["pool", "flatten"] == [["pooled_nchwc", "flatten"], ["pool"]]
    assert named[("classify",)] == [["classify"], ["y"]]
    assert [row.operator for row in made if not row.work] == ["Reorder", "ReorderOutput"]
    # every node of the file is in one row, every time is in one row
    assert sorted(work.name for row in made for work in row.work) == sorted(work.name for work in cuts().graph)
    for side, runtime in enumerate(("onnxruntime", "openvino")):
        total = sum(float(np.median(node.kernel_ns)) for node in nodes(runtime))
        assert sum(row.times_ns[side] for row in made) == pytest.approx(total)


def test_calls_of_pytorch_get_the_nodes_that_lead_to_the_same_tensor() -> None:
    graph = cuts().graph
    by_name = {work.name: work for work in graph}
    stem, last = by_name["stem_clip"].outputs[0], graph[-1].outputs[0]
    called = msgspec.structs.replace(cuts(), calls=(("conv2d", stem), ("clamp_", stem), ("linear", last)))
    one = Node(name="", operator="", provider="cpu", inputs=(), kernel_ns=(1,), calls=1)
    profiled = [(msgspec.structs.replace(one, operator=name), 1.0) for name, _ in called.calls]
    found = [set(node.sources) for node, _ in as_called(profiled, called)]
    assert found[0] == found[1] == {by_name["stem"].outputs[0], stem}
    assert found[2] == {name for work in graph for name in work.outputs} - found[0]
    assert not as_called(profiled[1:], called)


def test_operations_and_bytes_are_those_of_the_fused_nodes() -> None:
    row = next(row for row in rows() if row.operator == "depthwise Conv")
    elements = 16 * 16 * 16
    assert row.flops == elements * (2 * 9 + 1)
    assert row.size == 4 * (2 * elements + 16 * 9 + 16 + 2)
    assert row.of_peak(0, PEAK) == pytest.approx(1e9 * row.size / 1e10 / row.times_ns[0])
    assert row.of_peak(0, Peak(flops_per_s=1e6, bytes_per_s=1e10)) == pytest.approx(
        1e9 * row.flops / 1e6 / row.times_ns[0]
    )


def test_names_that_a_runtime_made_up_take_what_lies_between_their_neighbours() -> None:
    made_up = [
        (msgspec.structs.replace(node, name=f"fused_{place}"), 1.0) for place, node in enumerate(nodes("onnxruntime"))
    ]
    kept = [(node, 1.0) for node in nodes("onnxruntime")]
    found = rows_of(cuts(), [kept[0], made_up[1], *kept[2:]], kept)
    row = next(row for row in found if any(work.name == "depthwise" for work in row.work))
    assert [kernel.name for kernel in row.kernels[0]] == ["fused_1"]


def test_times_of_several_processes_are_one_median() -> None:
    def record(ns: Sequence[int], probe: str = "operators") -> Record:
        node = Node(name="a", operator="Conv", provider="cpu", inputs=(), kernel_ns=tuple(ns), calls=len(ns))
        result = Result(protocol=1, case="c", status="ok", nodes=(node, msgspec.structs.replace(node, operator="If")))
        return Record(case="c", probe=probe, block=0, order=0, status="ok", result=result)

    records = [record([1, 2]), record([3, 9, 9]), record([1000], "latency")]
    assert [(node.operator, ns) for node, ns in profiled_nodes(records, "c")] == [("Conv", 3.0)]
    assert profiled_nodes(records, "other") == []


def slower(kernel: Kernel) -> Kernel:
    return msgspec.structs.replace(kernel, ns=1e6)


def test_sentences_and_page_name_the_kernels(tmp_path: Path) -> None:
    found = explained(run({2: 1.0}), tmp_path)
    fast, slow = (Peak(flops_per_s=flops, bytes_per_s=1e12) for flops in (1e12, 1e11))
    # the Gemm of the second side takes 1 ms longer
    placed = tuple(
        msgspec.structs.replace(row, segment=2, kernels=(row.kernels[0], (slower(row.kernels[1][0]),)))
        if row.operator == "Gemm"
        else msgspec.structs.replace(row, segment=2)
        for row in rows()
    )
    found = msgspec.structs.replace(found, rows=placed, peaks=(fast, slow))
    part = next(part for part in found.by_kind["segment"] if part.differs)
    assert groups_of(placed)[0].operator == "Gemm"
    words = kernels_of(found, part)
    first = next(row for row in placed if row.operator == "Gemm").times_ns[0]
    assert words == f"1 Gemm: ort-python {first / 1e6:.3g} ms in Gemm, ort-rust 1 ms in gemm_mlas_f32 (profiles)"
    assert any(words in line for line in sentences(found))
    text = page(found, draw(found).decode(), "a machine").decode()
    for word in (words, "depthwise Conv + 1", "brgconv_avx512_dw_f32", "not the measured difference", "segment 2"):
        assert word in text
    assert text.count("<circle") == len(placed)
    assert not [word for word in ("http://", "https://", "<script") if word in text.replace("http://www.w3.org/", "")]


def test_work_of_products_and_pools(tmp_path: Path) -> None:
    weights = {
        "w": np.zeros((8, 4, 3, 3), np.float32),
        "b": np.zeros((8, 5), np.float32),
        "t": np.zeros((8, 2, 2, 2), np.float32),
    }
    made = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4, strides=[2, 2], name="conv"),
        helper.make_node("ConvTranspose", ["c", "t"], ["d"], strides=[2, 2], name="up"),
        helper.make_node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        helper.make_node("GlobalAveragePool", ["c"], ["g"], name="global"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "b"], ["y"], name="gemm"),
    ]
    save(tmp_path / "net.onnx", made, [("x", FLOAT, [1, 4, 8, 8])], [("y", FLOAT, [1, 5])], weights)
    works, sizes = work_of(onnx.load(tmp_path / "net.onnx"))
    assert {work.name: work.flops for work in works} == {
        "conv": 2 * 8 * 4 * 4 * 4 * 9,
        "up": 2 * 8 * 4 * 4 * 2 * 4,
        "pool": 8 * 2 * 2 * 4,
        "global": 8 * 4 * 4,
        "flat": 0,
        "gemm": 2 * 8 * 5,
    }
    assert works[0].operator == "3x3 Conv"
    assert (sizes["x"], sizes["w"]) == (4 * 4 * 64, 4 * 8 * 4 * 9)


def test_work_of_unknown_shapes_is_unknown(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="m")
    weights = {"w": np.zeros((4, 2), np.float32)}
    save(tmp_path / "net.onnx", [node], [("x", FLOAT, ["n", 4])], [("y", FLOAT, ["n", 2])], weights)
    (work,), sizes = work_of(onnx.load(tmp_path / "net.onnx"))
    assert work.flops is None
    assert "y" not in sizes
