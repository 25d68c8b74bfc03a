"""Precisions: the plan, the checks, the classes of nodes, the comparison with fp32 and its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from orchestra import HEAD, capabilities, suite_of, target_info
from synthetic import MS, case_of, record, result_of, run_of, turned_of

from runoff.analysis.analyse import analyse
from runoff.analysis.precision import class_times
from runoff.measure.execute import make_block
from runoff.models.variants import wanted_variants
from runoff.plan.cases import plan_case, with_variant_reasons
from runoff.plan.own_suite import OwnOptions, own_suite
from runoff.plan.settings import resolve
from runoff.plan.suite import parse_suite
from runoff.probes import PROBES
from runoff.records.errors import RunoffError
from runoff.records.machine import instructions
from runoff.records.nodes import node_class
from runoff.records.protocol import Node, Timings
from runoff.records.reason import Reason
from runoff.report.markdown import report
from runoff.report.overview import as_dict, blocks
from runoff.report.plots import figures
from runoff.report.precision import sentences
from runoff.report.verdicts import headlines

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.analysis.analyse import Analysis
    from runoff.records.schema import Case, Record

ALL = ("fp32", "fp16", "int8")


@pytest.mark.parametrize(
    ("operator", "inputs", "expected"),
    [
        ("QLinearConv", ("uint8", "float", "uint8", "int8"), "int8"),
        ("DynamicQuantizeMatMul", ("float", "int8", "float", "int8"), "int8"),
        ("MaxPool", ("uint8",), "int8"),
        ("QuantizeLinear", ("float", "float", "uint8"), "quantise"),
        ("DequantizeLinear", ("uint8", "float", "uint8"), "quantise"),
        ("DynamicQuantizeLinear", ("float",), "quantise"),
        ("Cast", ("int32",), "cast"),
        ("Conv", ("float", "float"), "fp32"),
        ("Conv", ("float16", "float16"), "fp16"),
        ("Add", ("bfloat16", "bfloat16"), "bf16"),
        ("Where", ("bool", "float", "float"), "fp32"),
        ("Shape", ("float16",), "other"),
        ("Gather", ("int64", "int64"), "other"),
        ("Mul", ("double",), "fp64"),
        ("Reshape", (), "other"),
    ],
)
def test_the_class_of_a_node(operator: str, inputs: tuple[str, ...], expected: str) -> None:
    assert node_class(operator, inputs) == expected


def test_instructions_are_read_from_the_first_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\nflags\t: fpu\n")
    assert instructions(cpuinfo) == ["avx2", "avx512f", "avx512_vnni"]
    cpuinfo.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp bf16\n")
    assert instructions(cpuinfo) == ["asimddp", "bf16"]
    assert instructions(tmp_path / "missing") is None


def test_precisions_of_all_targets_are_interleaved_and_profiles_are_not() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"precision": "int8"},
        {"profile": "cold"},
        {"profile": "cold", "precision": "int8"},
    ]
    cases = [case_of(name, ("latency",), **one) for one in settings for name in ("ort-python", "torch")]
    infos = {name: target_info(name, measures=("once", "turns")) for name in ("ort-python", "torch")}
    jobs = make_block(suite_of(HEAD), cases, infos, PROBES["latency"], 0)
    found = [{(case.settings.profile, case.settings.precision) for case in job.cases} for job in jobs]
    assert sorted(map(sorted, found)) == [[(name, "fp32"), (name, "int8")] for name in ("cold", "default")]
    assert {len(job.cases) for job in jobs} == {4}


def planned(stored: tuple[str, ...], precision: str, **changes: Any) -> Case:
    info = target_info(**({"formats": ("onnx", "ort"), "precisions": ("fp32", "int8")} | changes))
    return plan_case("net", "classify", resolve({"precision": precision}), (), stored, info)


def test_a_runtime_may_compute_the_file_in_fp32_in_another_precision() -> None:
    can = target_info(formats=("onnx",), precisions=("fp32", "bf16", "int8"))
    info = msgspec.structs.replace(can, target=msgspec.structs.replace(can.target, converts=("bf16",)))
    stored = ("onnx", "onnx:int8", "onnx:bf16")
    for precision, form in (("fp32", "onnx"), ("bf16", "onnx"), ("int8", "onnx:int8")):
        case = plan_case("net", "classify", resolve({"precision": precision}), (), stored, info)
        assert (case.format, case.skipped) == (form, None)
    suite = suite_of(HEAD + '[settings]\nprecision = ["fp32", "bf16", "int8"]\n')
    assert list(wanted_variants(suite, {"mine": info})) == [("net", "int8")]


def test_the_precision_chooses_the_file() -> None:
    stored = ("pt", "onnx", "onnx:int8", "onnx:fp16")
    assert planned(stored, "fp32").format == "onnx"
    assert planned(stored, "int8").format == "onnx:int8"
    assert planned(stored, "int8", formats=("pt",)).format == "pt"
    assert str(planned(stored, "fp16").skipped) == "mine: precision 'fp16' is unsupported"
    missing = planned(("onnx",), "int8")
    assert missing.format == ""
    assert "none of them in int8" in str(missing.skipped)
    (explained,) = with_variant_reasons([missing], {("net", "int8"): Reason("precision", "it crashed")})
    assert str(explained.skipped) == "it crashed"


def test_variants_are_made_for_targets_that_read_them() -> None:
    suite = suite_of(HEAD + '[settings]\nprecision = ["fp32", "int8", "int8-static"]\n')
    able = target_info(formats=("onnx",), precisions=("fp32", "int8"))
    name = suite.names("targets")[0]
    found = wanted_variants(suite, dict.fromkeys(suite.names("targets"), able))
    assert list(found) == [(suite.names("models")[0], "int8")]
    own = target_info(formats=("pt",), precisions=("fp32", "int8"))
    assert not wanted_variants(suite, {**dict.fromkeys(suite.names("targets"), own), name: own})
    assert not wanted_variants(
        suite, dict.fromkeys(suite.names("targets"), msgspec.structs.replace(able, capabilities=None))
    )


def test_the_suite_of_a_model_in_several_precisions() -> None:
    suite = parse_suite(own_suite("net.onnx", OwnOptions(precisions="fp32,int8", max_loss=0.3)), "test")
    assert suite.settings["precision"] == ["fp32", "int8"]
    assert suite.measure.max_loss == {"int8": 0.3}
    assert "operators" in (suite.suite.probes or ())
    with pytest.raises(RunoffError, match="--precisions int9: 'int9' is unknown"):
        own_suite("net.onnx", OwnOptions(precisions="int9"))
    with pytest.raises(RunoffError, match="precision 'int9' is not known"):
        parse_suite(HEAD + "[measure.max_loss]\nint9 = 0.1\n", "test")


def test_the_precision_of_sampling_is_a_percentage() -> None:
    with pytest.raises(RunoffError, match="precision 'int8' is not a percentage") as raised:
        suite_of(HEAD).with_stopping_rule("int8", None)
    assert "--precisions" in raised.value.hint


def node(operator: str, *inputs: str, us: float, name: str = "") -> Node:
    ns = round(us * 1000)
    times = (ns * 9, ns, ns, ns)  # a disturbed inference
    return Node(name=name or operator, operator=operator, provider="cpu", inputs=inputs, kernel_ns=times, calls=4)


def test_times_of_classes_ignore_disturbed_inferences_and_count_subgraphs_once() -> None:
    nodes = (
        node("QLinearConv", "uint8", "int8", us=600, name="a"),
        node("QLinearConv", "uint8", "int8", us=100, name="b"),
        node("Softmax", "float", us=200),
        node("QuantizeLinear", "float", us=100),
        node("Loop", "int64", us=5000),
    )
    case = case_of("ort-python")
    one, *others = class_times(
        [record(case, "operators", block, result=result_of(case, nodes=nodes)) for block in (0, 1)]
    )
    assert (one.name, one.nodes, one.ns, one.share) == ("int8", 2, 700_000, 0.7)
    assert one.operators == {"QLinearConv": 2}
    assert [(other.name, round(other.share, 3)) for other in others] == [("fp32", 0.2), ("quantise", 0.1)]


PROFILES = {
    "fp32": (node("Conv", "float", us=9000), node("Add", "float", us=1000)),
    "fp16": (node("Conv", "float", us=9000), node("Cast", "float", us=3000)),
    "int8": (node("ConvInteger", "uint8", "int8", us=60_000), node("Mul", "float", us=5000)),
}
WARM = {"fp32": 10.0, "fp16": 12.5, "int8": 70.0}


def analysis_of(folder: Path | None = None, limits: dict[str, float] | None = None, **machine: Any) -> Analysis:
    """Return a run of one target in three precisions, interleaved; int8 is a variant that loses 0.3."""
    probes = ("accuracy", "latency", "operators")
    cases = [case_of("ort-python", probes, precision=name) for name in ALL]
    cases = [
        msgspec.structs.replace(
            case,
            id=f"{case.id}.{case.settings.precision}",
            format="onnx" if case.settings.precision == "fp32" else f"onnx:{case.settings.precision}",
        )
        for case in cases
    ]
    records = [entry for case in cases for entry in _records(case)]
    run = run_of(cases, records, folder)
    loss = {"max_rel_diff": 0.3, "cosine": 0.9, "top1_agrees": 0.75}
    run.info.models["net"]["variants"] = {
        "int8": {"bytes": 5, "loss": loss, "facts": {}},
        "fp16": {"bytes": 9, "loss": {**loss, "max_rel_diff": 0.001}, "facts": {}},
    }
    run.info.machine |= machine
    run.info.suite["measure"] = {"max_loss": limits or {}}
    return analyse(run)


def _records(case: Case) -> list[Record]:
    precision = case.settings.precision
    made = [record(case, "accuracy", 0, result=result_of(case))]
    for block in range(4):
        drift = 1 + 0.3 * block
        ns = tuple(round(WARM[precision] * MS * drift * (1 + 0.01 * sample)) for sample in range(10))
        result = result_of(case, samples={"inference": Timings(ns[0], ns[0], ns)})
        made.append(record(case, "latency", block, result=result, turned=turned_of(group_size=3)))
    return [*made, record(case, "operators", 0, result=result_of(case, nodes=PROFILES[precision]))]


def test_each_precision_is_compared_with_fp32_in_the_same_blocks() -> None:
    full, half, eight = analysis_of().precisions
    assert (full.warm.kind, full.loss) == ("", None)
    assert half.warm.kind == eight.warm.kind == "worse"
    assert half.paired
    # the machine became slower by 90%, and the ratio is still exact
    assert 1 / eight.warm.ratio == pytest.approx(7.0)
    assert 1 / eight.warm.low == pytest.approx(7.0)
    assert (half.above, eight.above) == (False, True)
    assert eight.loss is not None
    assert (eight.loss.max_rel_diff, eight.limit) == (0.3, 0.1)
    assert not analysis_of(limits={"int8": 0.4}).precisions[2].above


def test_the_words_say_why_a_precision_is_slower() -> None:
    half, eight = sentences(analysis_of(instructions=["avx2", "avx512_vnni"]))
    assert "fp16 is 1.25x slower than fp32" in half
    assert "this CPU has no instruction for fp16" in half
    assert "75% is in 1 node in float32 (1 Conv), 25% is in 1 node that cast (1 Cast)" in half
    assert "most of the time is in nodes that stayed in float32 (1 Conv)" in half
    assert "int8 is 7.00x slower than fp32" in eight
    assert "int8 loses 0.3 of the largest output, more than its limit of 0.1" in eight
    assert "this CPU has avx512_vnni for int8" in eight
    assert "the nodes in int8 alone take 60.0 ms, all nodes of fp32 10.0 ms: their kernels are slower" in eight


def test_unknown_instructions_are_not_mentioned() -> None:
    assert not any("this CPU" in line for line in sentences(analysis_of()))


def test_a_loss_above_the_limit_is_marked_everywhere(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path)
    text = report(analysis, [])
    assert "0.3 (above its limit 0.1)" in text
    assert "| nodes ... |" in text
    (block,) = blocks(analysis)
    marked = [line for line in headlines(block) if "lose more than the limit" in line]
    assert [line.partition(",")[2].split()[0] for line in marked] == ["precision-int8,"]
    eight = as_dict(analysis)["precisions"][2]
    assert (eight["precision"], eight["limit"], eight["loss"]["max_rel_diff"]) == ("int8", 0.1, 0.3)
    plot = next(plot for plot in figures(analysis) if plot.kind == "precision")
    assert "loss 0.3 (above limit)" in str(plot.wide.to_dict())


def test_a_run_in_fp32_alone_has_no_such_section() -> None:
    case = case_of("ort-python", ("latency",))
    analysis = analyse(run_of([case], []))
    assert analysis.precisions == []
    assert "Precision" not in report(analysis, [])
    assert capabilities().precisions == ("fp32",)
