"""Wrong, missing and swapped outputs, on files as a runner writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from orchestra import case_of, example_of, result_of

from runoff.measure.request import draw
from runoff.measure.verify import check_response, check_result, check_turn
from runoff.models.store import StoredModel
from runoff.probes.accuracy import ACCURACY
from runoff.probes.life import LIFE
from runoff.records import untrusted
from runoff.records.manifest import Manifest, StoredFile
from runoff.records.protocol import Effective, Preprocess, TensorSpec, WrittenTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runoff.records.protocol import Workload

EXAMPLES, CLASSES = 8, 5
CASE = case_of("mine")
ANSWERS = np.random.default_rng(1).normal(size=(EXAMPLES, CLASSES)).astype("<f4")


def stored(name: str) -> StoredFile:
    return StoredFile(name, "", 0)


@pytest.fixture
def model(tmp_path: Path) -> StoredModel:
    examples = []
    for number, answer in enumerate(ANSWERS):
        (tmp_path / f"{number}.bin").write_bytes(answer.tobytes())
        name = f"photo{number}"
        examples.append(
            example_of(
                name, stored(f"{name}.jpg"), stored(f"{name}.in"), StoredFile(f"{number}.bin", "", answer.nbytes)
            )
        )
    manifest = Manifest(
        name="net",
        source="test",
        weights="seeded:0",
        builder="a:b",
        inputs=(TensorSpec("input", "float32", (None, 3)),),
        outputs=(TensorSpec("logits", "float32", (None, CLASSES)),),
        preprocess=Preprocess(8, 8, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        files={},
        labels=stored("labels.txt"),
        examples=tuple(examples),
        checks=(),
        made_with={},
    )
    return StoredModel(tmp_path, manifest)


def written(folder: Path, place: int, answer: np.ndarray[tuple[int], np.dtype[np.float32]]) -> WrittenTensor:
    path = folder / f"out.{place}.bin"
    path.write_bytes(answer.tobytes())
    return WrittenTensor((place,), "logits", "float32", (1, CLASSES), str(path))


ORDER = (3, 1, 4, 0, 5, 2, 6, 7)


def test_a_turn_that_leaves_out_one_of_several_outputs(model: StoredModel) -> None:
    examples = tuple(
        msgspec.structs.replace(one, references={**one.references, "boxes": one.references["logits"]})
        for one in model.manifest.examples
    )
    two = StoredModel(model.folder, msgspec.structs.replace(model.manifest, examples=examples))
    one = written(model.folder, 2, ANSWERS[ORDER[2]])
    _, doubt = check_turn(CASE, two, ORDER, [2], [one])
    assert doubt is not None
    assert (doubt.kind, doubt.message) == ("garbage", "the result lists no outputs of item 2")
    both = [one, msgspec.structs.replace(one, name="boxes")]
    assert check_turn(CASE, two, ORDER, [2], both)[1] is None


def test_a_right_output_is_accepted_in_any_order(model: StoredModel) -> None:
    for place, example in enumerate(ORDER):
        outputs = [written(model.folder, place, ANSWERS[example])]
        parity, doubt = check_turn(CASE, model, ORDER, [place], outputs)
        assert doubt is None
        assert [(row["item"], row["max_rel_diff"]) for row in parity] == [(example, 0.0)]


@pytest.mark.parametrize("other", [example for example in range(EXAMPLES) if example != ORDER[2]])
def test_the_output_of_another_example_is_named(other: int, model: StoredModel) -> None:
    _, doubt = check_turn(CASE, model, ORDER, [2], [written(model.folder, 2, ANSWERS[other])])
    assert doubt is not None
    assert doubt.kind == "outputs-differ"
    assert f"for the example photo{ORDER[2]}; they are the outputs of photo{other}" in doubt.message


def test_an_output_of_no_example_is_not_attributed(model: StoredModel) -> None:
    _, doubt = check_turn(CASE, model, ORDER, [2], [written(model.folder, 2, -ANSWERS[ORDER[2]])])
    assert doubt is not None
    assert "they are the outputs of" not in doubt.message


def test_the_owner_of_a_wrong_output_is_found_without_reading_it_again(
    model: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_once(path: str, most: int) -> bytes:
        content = read_file(path, most)
        Path(path).unlink()  # a runner can change its files at any time
        return content

    outputs = (written(model.folder, 0, ANSWERS[ORDER[1]]),)
    read_file = untrusted.read_file
    monkeypatch.setattr(untrusted, "read_file", read_once)
    _, doubt = check_result(CASE, model, LIFE, ORDER, result_of(outputs=outputs))
    assert doubt is not None
    assert f"they are the outputs of photo{ORDER[1]}" in doubt.message


@pytest.mark.parametrize("named", [(), (1,), (9,), (-1,)])
def test_outputs_of_items_that_were_not_requested(named: Sequence[int], model: StoredModel) -> None:
    outputs = [
        msgspec.structs.replace(written(model.folder, place, ANSWERS[ORDER[1]]), items=(place,)) for place in named
    ]
    _, doubt = check_turn(CASE, model, ORDER, [2], outputs)
    assert doubt is not None
    assert doubt.kind == "garbage"


def test_accuracy_checks_all_items_and_other_probes_the_first_batch(model: StoredModel) -> None:
    outputs = tuple(written(model.folder, place, ANSWERS[ORDER[place]]) for place in range(3))
    result = result_of(outputs=outputs)
    assert check_result(CASE, model, LIFE, ORDER, result)[1] is None
    _, doubt = check_result(CASE, model, ACCURACY, ORDER, result)
    assert doubt is not None
    assert "no outputs of item 3, 4, 5, 6, 7" in doubt.message
    _, doubt = check_result(CASE, model, LIFE, ORDER, result_of(outputs=outputs[1:]))
    assert doubt is not None
    assert "no outputs of item 0" in doubt.message


def test_the_order_is_the_same_for_all_cases_of_a_block_and_depends_on_the_secret(model: StoredModel) -> None:
    orders = {draw(case_of(name), model, LIFE, 0, "secret") for name in ("a", "b", "c")}
    assert len(orders) == 1
    found = {draw(CASE, model, LIFE, block, secret) for block in range(20) for secret in ("one", "two")}
    assert len(found) > 30
    assert all(sorted(order) == list(range(EXAMPLES)) for order in found)
    assert draw(CASE, model, ACCURACY, 0, "secret") == tuple(range(EXAMPLES))


def test_batches_are_filled_cyclically(model: StoredModel) -> None:
    settings = msgspec.structs.replace(CASE.settings, batch=3)
    batched = msgspec.structs.replace(CASE, settings=settings)
    assert draw(batched, model, ACCURACY, 0, "") == (0, 1, 2, 3, 4, 5, 6, 7, 0)


@pytest.mark.parametrize(("provider", "kind"), [("cpu", None), (None, None), ("cuda", "provider-fallback")])
def test_another_provider_is_a_fallback(provider: str | None, kind: str | None, model: StoredModel) -> None:
    outputs = (written(model.folder, 0, ANSWERS[ORDER[0]]),)
    effective = Effective("any", "1", "any", provider=provider)
    _, doubt = check_result(CASE, model, LIFE, ORDER, result_of(outputs=outputs, effective=effective))
    assert (doubt.kind if doubt else None) == kind


@pytest.mark.parametrize(
    ("requested", "reported", "kind"),
    [
        ("fp32", "fp32", None),
        ("fp32", None, None),
        ("fp32", "bf16", "precision-differs"),
        ("bf16", "fp32", "precision-differs"),
    ],
)
def test_a_runtime_that_computes_in_another_precision_is_excluded(
    requested: str, reported: str | None, kind: str | None, model: StoredModel
) -> None:
    """The outputs are right: in bf16 they may well be within the tolerance."""
    outputs = (written(model.folder, 0, ANSWERS[ORDER[0]]),)
    case = msgspec.structs.replace(CASE, settings=msgspec.structs.replace(CASE.settings, precision=requested))
    effective = Effective("any", "1", "any", precision=reported)
    _, doubt = check_result(case, model, LIFE, ORDER, result_of(outputs=outputs, effective=effective))
    assert (doubt.kind if doubt else None) == kind
    if doubt:
        assert doubt.message == f"precision {requested!r} was requested, the runtime computes in {reported!r}"


@pytest.mark.parametrize(
    ("workload", "precision", "apart", "kind"),
    [
        ("tensor", "fp32", 9e-5, None),
        ("tensor", "fp32", 2e-4, "outputs-differ"),
        ("tensor", "fp16", 9e-3, None),
        ("tensor", "fp16", 2e-2, "outputs-differ"),
        ("classify", "fp16", 4e-2, None),
        ("classify", "fp16", 6e-2, "outputs-differ"),
    ],
)
def test_arithmetic_in_half_precision_may_be_further_off(
    workload: Workload, precision: str, apart: float, kind: str | None, model: StoredModel
) -> None:
    settings = msgspec.structs.replace(CASE.settings, precision=precision)
    case = msgspec.structs.replace(CASE, workload=workload, settings=settings)
    answer = ANSWERS[ORDER[0]].copy()
    answer[0] += apart * abs(answer).max()
    _, doubt = check_turn(case, model, ORDER, [0], [written(model.folder, 0, answer)])
    assert (doubt.kind if doubt else None) == kind


def classes(scores: np.ndarray[tuple[int], np.dtype[np.float32]], *order: int) -> bytes:
    """Return a response with the scores of the classes in `order`."""
    return msgspec.json.encode({"top": [{"index": place, "score": float(scores[place])} for place in order]})


def test_a_response_over_http_is_compared_with_the_reference(model: StoredModel) -> None:
    scores, tensor = ANSWERS[ORDER[2]], msgspec.structs.replace(CASE, workload="tensor")
    best = np.argsort(-scores).tolist()
    for case, body in ((CASE, classes(scores, *best[:3])), (tensor, scores.tobytes())):
        parity, reason = check_response(case, model, ORDER, 2, body, model.folder)
        assert reason is None
        assert [(row["item"], row["max_rel_diff"]) for row in parity] == [(ORDER[2], 0.0)]
    for case, body, kind in (
        (CASE, classes(ANSWERS[ORDER[3]], *best[:3]), "outputs-differ"),
        (CASE, classes(scores, *best[2:4]), "outputs-differ"),
        (CASE, classes(scores, *best[:3]).replace(b'"index":%d' % best[0], b'"index":%d' % best[-1]), "outputs-differ"),
        (CASE, b"{}", "garbage"),
        (CASE, b'{"top": [{"index": 99, "score": 1}]}', "garbage"),
        (tensor, ANSWERS[ORDER[3]].tobytes(), "outputs-differ"),
        (tensor, scores.tobytes()[:-4], "garbage"),
        (tensor, scores.tobytes() + b"0", "garbage"),
    ):
        reason = check_response(case, model, ORDER, 2, body, model.folder)[1]
        assert reason
        assert reason.kind == kind, body


def test_a_response_of_a_model_without_references_is_not_compared(model: StoredModel) -> None:
    examples = tuple(msgspec.structs.replace(example, references={}) for example in model.manifest.examples)
    unchecked = msgspec.structs.replace(model, manifest=msgspec.structs.replace(model.manifest, examples=examples))
    assert check_response(CASE, unchecked, ORDER, 2, b"anything", model.folder) == ([], None)


def test_bfloat16_over_http_has_two_bytes_for_each_element(model: StoredModel) -> None:
    (spec,) = model.manifest.outputs
    outputs = (msgspec.structs.replace(spec, dtype="bfloat16"),)
    short = msgspec.structs.replace(model, manifest=msgspec.structs.replace(model.manifest, outputs=outputs))
    case = msgspec.structs.replace(CASE, workload="tensor", tolerance=0.01)
    body = (ANSWERS[ORDER[2]].view(np.uint32) >> 16).astype(np.uint16).tobytes()
    _, reason = check_response(case, short, ORDER, 2, body, model.folder)
    assert reason is None
