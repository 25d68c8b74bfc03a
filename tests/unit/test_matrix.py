"""Targets by models: what ran, what cannot and why, and what computed something else."""

from __future__ import annotations

import msgspec
from many_targets import ABSENT, CRASHED, TARGETS, UNSUPPORTED, WRONG, analysis_of_many, many_targets
from synthetic import CONTROL, case_of, record, result_of, run_of

from runoff.analysis.analyse import Analysis, analyse
from runoff.records.reason import Reason
from runoff.report import matrix
from runoff.report.families import by_family


def test_pairs_that_did_not_run_or_disagree_are_in_a_matrix() -> None:
    analysis = analysis_of_many()
    made = matrix.pairs(analysis)
    assert made["tract-rust"]["regnet_x_400mf"].label == "disagrees"
    assert made["rten"]["vit_b_16"].label == "cannot"
    assert {pair.label for pair in made["coreml"].values()} == {"cannot"}
    assert {pair.label for pair in made["ort-node"].values()} == {"ran"}
    assert CONTROL not in made
    assert list(made) == [name for family in by_family([*TARGETS, "coreml"]).values() for name in family]
    table = matrix.matrix_table(analysis)
    cells = {line.cells[0].text: line.cells for line in table.lines}
    assert [column.name for column in table.columns] == ["Target", "regnet_x_400mf", "vit_b_16"]
    assert cells["capi-rust"][0].note == "ONNX Runtime"
    assert (cells["tract-rust"][1].text, cells["tract-rust"][1].tone) == ("disagrees", "bad")
    assert WRONG.message.startswith(cells["tract-rust"][1].note.rstrip("\N{HORIZONTAL ELLIPSIS}"))
    assert (
        cells["rten"][2].note == "operator LayerNormalization of opset 17 is not implemented by\N{HORIZONTAL ELLIPSIS}"
    )
    assert matrix.title(analysis) == ("Targets by models: of 28 pairs 24 ran, 3 cannot run, 1 with other outputs")


def test_a_crash_with_some_settings_is_the_outcome_of_the_pair() -> None:
    made = analyse(
        many_targets(models=("mobilenet_v2",), profiles=("default", "latency"), threads=(1,), blocks=2, warm=3)
    )
    pair = matrix.pairs(made)["executorch"]["mobilenet_v2"]
    assert (pair.label, pair.outcomes) == ("failed", {"ran": 1, "failed": 1})
    (reason,) = pair.reasons
    assert CRASHED.message in reason


def test_few_targets_have_a_matrix_only_if_models_differ() -> None:
    def made(*skipped: tuple[str, str, Reason]) -> Analysis:
        why = {(target, model): reason for target, model, reason in skipped}
        cases = [
            case_of(target, model=model, skipped=why.get((target, model)))
            for model in ("one", "two")
            for target in ("torch", "ort-python")
        ]
        ran = [case for case in cases if case.skipped is None]
        return analyse(run_of(cases, [record(case, "life", 0, exit_ns=9, result=result_of(case)) for case in ran]))

    assert not matrix.matrix_table(made()).lines
    assert not matrix.matrix_table(made(("torch", "one", ABSENT), ("torch", "two", ABSENT))).lines
    (torch, ort) = matrix.matrix_table(made(("torch", "one", UNSUPPORTED))).lines
    assert [cell.text for cell in torch.cells] == ["torch", "cannot", "ran"]
    assert [cell.text for cell in ort.cells] == ["ort-python", "ran", "ran"]


def test_an_absent_provider_does_not_count_where_another_ran() -> None:
    reason = Reason("provider-unavailable", "settings.provider: 'cuda' cannot be used: no driver")
    usual, cuda = case_of("torch"), msgspec.structs.replace(case_of("torch", skipped=reason), id="net.cuda")
    made = matrix.pairs(analyse(run_of([usual, cuda], [record(usual, "life", 0, exit_ns=9, result=result_of(usual))])))
    assert made["torch"]["net"].label == "ran"
    alone = matrix.pairs(analyse(run_of([cuda], [])))
    assert alone["torch"]["net"].label == "cannot"
    assert matrix.short(reason.message) == "'cuda' cannot be used: no driver"
