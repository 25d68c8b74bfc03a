"""Accuracy on labelled images: statistics, groups of equal predictions, and their part of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from orchestra import case_of as plain_case
from orchestra import example_of, result_of
from synthetic import case_of, record, run_of

from runoff.analysis.analyse import Analysis, analyse
from runoff.analysis.labelled import labelled_models
from runoff.measure.request import draw
from runoff.measure.verify import check_result
from runoff.models.store import StoredModel
from runoff.probes.accuracy import ACCURACY
from runoff.probes.life import LIFE
from runoff.records.manifest import Manifest, StoredFile
from runoff.records.protocol import Preprocess, TensorSpec, WrittenTensor
from runoff.report.build import write_report
from runoff.report.overview import as_dict
from runoff.statistics import mcnemar, share, share_difference

if TYPE_CHECKING:
    from pathlib import Path

    from runoff.records.schema import Run

CLASSES, IMAGES, SIDE = 6, 12, 4
RNG = np.random.default_rng(5)


# statistics


def test_wilsons_interval_is_that_of_the_formula() -> None:
    # 125 of 128, the published 97.66%
    found, p, n, z = share(np.array([1.0] * 125 + [0.0] * 3)), 125 / 128, 128, 1.959964
    middle, reach = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z / (1 + z**2 / n) * (p * (1 - p) / n + (z / (2 * n)) ** 2) ** 0.5,
    )
    assert (found.value, found.n) == (p, n)
    assert [found.low, found.high] == pytest.approx([middle - reach, middle + reach])


def test_a_perfect_share_has_an_interval_below_one() -> None:
    found = share(np.ones(8))
    # n / (n + z²)
    assert [found.low, found.high] == pytest.approx([8 / (8 + 1.959964**2), 1.0])


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (8, 1, 2 * (1 + 9) / 2**9), (0, 6, 2 / 2**6), (5, 5, 1.0)],
)
def test_mcnemars_exact_test(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


def test_the_difference_of_shares_has_bonett_and_prices_interval() -> None:
    found = share_difference(gained=1, lost=8, n=128)
    up, down = 2 / 130, 9 / 130
    reach = 1.959964 * ((up + down - (up - down) ** 2) / 130) ** 0.5
    assert found.value == -7 / 128
    assert [found.low, found.high] == pytest.approx([up - down - reach, up - down + reach])


# what a record keeps


@pytest.fixture
def model(tmp_path: Path) -> StoredModel:
    """Return a model with twelve labelled images, of which eight have tensors."""
    examples = []
    for place in range(IMAGES):
        (tmp_path / f"{place}.ref").write_bytes(logits(place, place % CLASSES).tobytes())
        (tmp_path / f"{place}.in").write_bytes(np.zeros(3 * SIDE**2, "<f4").tobytes())
        example = example_of(
            f"image{place}",
            StoredFile(f"{place}.png", "", 0),
            StoredFile(f"{place}.in", "", 3 * SIDE**2 * 4),
            StoredFile(f"{place}.ref", "", CLASSES * 4),
        )
        tensor = msgspec.structs.replace(example.inputs["input"], shape=(1, 3, SIDE, SIDE))
        inputs = {"input": tensor} if place < 8 else {}
        examples.append(msgspec.structs.replace(example, inputs=inputs, label=place % CLASSES))
    manifest = Manifest(
        name="net",
        source="test",
        weights="seeded:0",
        builder="a:b",
        inputs=(TensorSpec("input", "float32", (None, 3, SIDE, SIDE)),),
        outputs=(TensorSpec("logits", "float32", (None, CLASSES)),),
        preprocess=Preprocess(SIDE, SIDE, "bilinear", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        files={},
        examples=tuple(examples),
        made_with={},
    )
    return StoredModel(tmp_path, manifest)


def logits(seed: int, best: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return logits of one image with one class that leads."""
    values = np.random.default_rng(seed).normal(size=CLASSES).astype("<f4")
    values[best] = 9.0
    return values


def result_with(folder: Path, predicted: dict[int, int]) -> Any:
    """Return a runner's result that classifies each image by its reference, except those in `predicted`."""
    outputs, tensors = [], []
    for place in range(IMAGES):
        values = logits(place, predicted.get(place, place % CLASSES))
        (folder / f"out{place}").write_bytes(values.tobytes())
        (folder / f"in{place}").write_bytes(np.full(3 * SIDE**2, place / 128, "<f4").tobytes())
        outputs.append(WrittenTensor((place,), "logits", "float32", (1, CLASSES), str(folder / f"out{place}")))
        tensors.append(WrittenTensor((place,), "input", "float32", (1, 3, SIDE, SIDE), str(folder / f"in{place}")))
    return result_of(outputs=tuple(outputs), tensors=tuple(tensors))


def test_only_accuracy_uses_all_labelled_images(model: StoredModel) -> None:
    case = plain_case("mine")
    assert draw(case, model, ACCURACY, 0, "") == tuple(range(IMAGES))
    assert sorted(draw(case, model, LIFE, 0, "")) == list(range(8))
    tensors = msgspec.structs.replace(case, workload="tensor")
    assert draw(tensors, model, ACCURACY, 0, "") == tuple(range(8))


def test_a_record_keeps_predictions_and_pictures_of_differing_images(model: StoredModel, tmp_path: Path) -> None:
    parity, doubt = check_result(plain_case("mine"), model, ACCURACY, range(IMAGES), result_with(tmp_path, {9: 1}))
    assert doubt is not None, "the logits of one image are wrong"
    assert [row["label"] for row in parity] == [place % CLASSES for place in range(IMAGES)]
    assert parity[9]["top5"][0] == 1
    assert (parity[9]["reference_top1"], parity[9]["name"]) == (3, "image9")
    assert len(parity[9]["top5"]) == 5
    assert [row["item"] for row in parity if "image" in row] == [9]
    assert parity[9]["image"].startswith("data:image/png;base64,iVBOR")
    # input tensors are compared where one is stored
    assert [row["item"] for row in parity if "input_max_diff" in row] == list(range(8))
    assert parity[3]["input_max_diff"] == pytest.approx(3.0)


def test_other_probes_keep_no_predictions(model: StoredModel, tmp_path: Path) -> None:
    parity, _ = check_result(plain_case("mine"), model, LIFE, range(IMAGES), result_with(tmp_path, {}))
    assert not any("top5" in row for row in parity)


# analysis and report


def labelled_run(folder: Path | None = None, **wrong: dict[int, int]) -> Run:
    """Return a run of three targets; `wrong` has, by target, the class that it gives to images."""
    cases = [case_of(name, ("accuracy",)) for name in ("torch", "ort-python", "ort-rust")]
    half = case_of("ort-python", ("accuracy",), precision="fp16")
    cases.append(msgspec.structs.replace(half, id=".".join((half.model, half.target, *half.variant))))
    records = []
    for case in cases:
        predicted = wrong.get(f"{case.target}_{case.settings.precision}".replace("-", "_"), {})
        parity = []
        for item in range(40):
            best = predicted.get(item, item % 10)
            others = [index for index in range(10) if index != best]
            parity.append(
                {
                    "item": item,
                    "max_abs_diff": 1e-5,
                    "max_rel_diff": 1e-6,
                    "cosine": 1.0,
                    "top1_agrees": item not in predicted,
                    "name": f"image {item}",
                    "label": item % 10,
                    "top5": [best, *others[:4]],
                    "reference_top1": item % 10,
                    **({"image": "data:image/png;base64,iVBOR"} if item in predicted else {}),
                }
            )
        # the last batch repeats an image
        records.append(record(case, "accuracy", 0, parity=[*parity, parity[0]]))
    run = run_of(cases, records, folder)
    run.info.models["net"]["classes"] = [f"class {index}" for index in range(10)]
    return run


def test_equal_predictions_are_one_group() -> None:
    (found,) = labelled_models(labelled_run())
    (group,) = found.groups
    assert (len(group.cases), group.images, group.top1.value, group.top1.n) == (4, 40, 1.0, 40)
    assert group.confusion == {label: {label: 4} for label in range(10)}
    assert (found.pairs, found.images) == ([], [])


def test_a_planted_disagreement_is_found_across_variants() -> None:
    shifted = {item: (item + 1) % 10 for item in range(9)}
    (found,) = labelled_models(labelled_run(ort_python_fp16=shifted, ort_rust_fp32={39: 0}))
    assert [len(group.cases) for group in found.groups] == [2, 1, 1]
    by_name = {(pair.first, pair.second): pair for pair in found.pairs}
    lost = by_name["A", "C"]
    assert (lost.images, lost.agree, lost.only_first, lost.only_second) == (40, 31, 9, 0)
    assert lost.gain.value == -9 / 40
    assert lost.gain.high < 0
    # 2 / 2^9, corrected for three pairs
    assert lost.p <= 3 * 2 / 2**9
    assert by_name["A", "B"].p == 1.0
    assert {image.name for image in found.images} == {f"image {item}" for item in (*range(9), 39)}
    assert found.images[0].predicted.keys() == {"A", "B", "C"}


def test_the_summary_has_accuracies_with_their_intervals() -> None:
    summary = analyse(labelled_run(ort_rust_fp32={39: 0})).summary
    rows = summary[(summary["target"] == "ort-rust") & summary["metric"].str.startswith("accuracy.")]
    assert list(rows["metric"]) == ["accuracy.top1", "accuracy.top5"]
    assert list(rows["estimate"]) == [39 / 40, 39 / 40]
    assert list(rows["n"]) == [40, 40]
    assert (rows["low"] < rows["estimate"]).all()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    folder = tmp_path_factory.mktemp("run")
    analysis = analyse(labelled_run(folder, ort_rust_fp32={39: 0}))
    write_report(analysis)
    return analysis


def test_reports_have_table_matrices_and_images(reported: Analysis) -> None:
    folder = reported.run.folder
    page, text = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert "net: 2 kinds of predictions; 1 image is classified differently" in page
    assert "39 of 40 right, 97.50%" in page
    assert '<img src="data:image/png;base64,iVBOR" alt="image 39">' in page
    assert "true class class 9; A: class 9; B: class 0" in page
    assert "image 39: true class class 9; A: class 9; B: class 0" in text
    assert sorted(path.name for path in (folder / "plots").glob("confusion*")) == [
        "confusion-net-A.svg",
        "confusion-net-B.svg",
    ]


def test_json_has_the_same_without_pictures(reported: Analysis) -> None:
    (found,) = as_dict(reported)["accuracy"]
    assert [group["cases"] for group in found["groups"]][1] == ["net.classify.ort-rust.default.t1.b1"]
    assert found["pairs"][0]["agree"] == 39
    assert found["images"][0]["picture"] == ""
