"""The export program, run for real in the export environment."""

from __future__ import annotations

import json
import math
import os
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runoff import paths
from runoff.models.store import ModelStore
from runoff.plan.coreml_packages import PACKAGES, verified

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = paths.environments() / "export" / "bin" / "python"
ENV = {**os.environ, "PYTHONPATH": str(paths.runners().parent)}
NAME = "regnet_x_400mf"


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
    folder = tmp_path_factory.mktemp("models")
    for name in (NAME, "efficientnet-lite0"):
        done = export(name, folder)
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        assert done.stdout.startswith(f"stored {name} (")
    return ModelStore(folder)


@pytest.mark.parametrize("name", [NAME, "efficientnet-lite0"])
def test_stored_models_are_complete_and_verified(store: ModelStore, name: str) -> None:
    model = store.get(name)
    model.verify()
    manifest = model.manifest
    assert {(check.format, check.batch) for check in manifest.checks} == {
        (form, batch) for form in ("pt", "onnx", "pt2") for batch in (1, 4)
    }
    assert all(check.max_rel_diff <= 1e-4 for check in manifest.checks)
    assert len((model.folder / manifest.labels.path).read_text(encoding="utf-8").splitlines()) == 1000
    assert not list(model.folder.glob("*.data"))
    for index in range(8):
        assert np.fromfile(model.tensor(index), "<f4").size == math.prod((3, 224, 224))
        assert np.fromfile(model.reference(index), "<f4").size == 1000


def test_real_weights_classify_the_photos(store: ModelStore) -> None:
    top1 = {example.name: example.top1 for example in store.get("efficientnet-lite0").manifest.examples}
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


def test_seeded_weights_distinguish_the_photos(store: ModelStore) -> None:
    assert len({example.top1 for example in store.get(NAME).manifest.examples}) == 8


def test_a_stored_model_is_kept_unless_forced(store: ModelStore) -> None:
    manifest = store.folder / NAME / "manifest.json"
    before = manifest.stat()
    again = export("regnet-x-400mf", store.folder)
    assert again.returncode == 0
    assert "; --force exports it again" in again.stdout
    other = export(NAME, store.folder, "--seed", 1)
    assert other.returncode == 2
    assert "with weights seeded:0, not seeded:1" in other.stderr
    assert "--force" in other.stderr
    assert manifest.stat() == before


def test_force_replaces_the_stored_model(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    refused = export(NAME, tmp_path)
    assert refused.returncode == 2
    assert "is not a model" in refused.stderr
    assert export(NAME, tmp_path, "--force", "--seed", 7).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert ModelStore(tmp_path).get(NAME).manifest.weights == "seeded:7"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("regnet_x_40mf", [], "did you mean 'regnet_x_400mf'"),
        (NAME, ["--weights", "nowhere.pt"], "weights file not found: nowhere.pt"),
        (NAME, ["--weights", __file__], "cannot be read as a PyTorch state dict"),
        (NAME, ["--weights", "{store}/efficientnet-lite0/model.pt"], "do not fit regnet_x_400mf"),
        (NAME, ["--seed", "-1"], "invalid"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing_behind(
    store: ModelStore, tmp_path: Path, name: str, options: list[str], message: str
) -> None:
    done = export(name, tmp_path, *(option.format(store=store.folder) for option in options))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = export(NAME, tmp_path / "file")
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


LOAD = """
import json, sys
from pathlib import Path
import numpy as np, torch
from runoff.models import formats, weights
from runoff.models.store import ModelStore
from runoff.models.zoo import find_model
torch.set_num_threads(1)
stored = ModelStore(Path(sys.argv[1])).get(sys.argv[2])
model = find_model(sys.argv[2])
photos = np.stack([np.fromfile(stored.tensor(i), "<f4").reshape(3, 224, 224) for i in range(8)])
references = np.stack([np.fromfile(stored.reference(i), "<f4") for i in range(8)])
def network(choice, seed=0):
    made = weights.build(model.builder)
    weights.load_weights(made, model, choice, seed, torch.from_numpy(photos))
    return made
def answer(made, batch=photos):
    return formats.runnable(made)(batch)
"""


def test_a_weights_file_gives_the_model_it_was_saved_from(store: ModelStore) -> None:
    code = LOAD + "print(json.dumps(float(abs(answer(network(sys.argv[3])) - references).max())))"
    assert ask(code, store.folder, NAME, store.folder / NAME / "model.pt") < 1e-4


def test_a_seed_decides_the_weights(store: ModelStore) -> None:
    code = (
        LOAD
        + """
def digest(seed):
    values = network("seeded", seed).state_dict().values()
    return torch.cat([value.flatten().double() for value in values]).numpy().tobytes()
print(json.dumps([digest(0) == digest(0), digest(0) == digest(1)]))
"""
    )
    assert ask(code, store.folder, NAME) == [True, False]


def test_a_pixel_step_of_noise_does_not_change_the_class(store: ModelStore) -> None:
    code = (
        LOAD
        + """
step = np.random.default_rng(0).integers(-1, 2, photos.shape) / np.array(model.preprocess.std)[:, None, None]
print(json.dumps((answer(network("seeded"), (photos + step).astype("f4")).argmax(1) == references.argmax(1)).tolist()))
"""
    )
    assert ask(code, store.folder, NAME) == [True] * 8


def test_every_branch_of_a_seeded_network_matters(store: ModelStore) -> None:
    code = (
        LOAD
        + """
made = network("seeded")
moved = []
for module in made.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.weight.data.neg_()
        moved.append(float(abs(answer(made, photos[:1]) - references[:1]).max()))
        module.weight.data.neg_()
print(json.dumps(moved))
"""
    )
    moved = ask(code, store.folder, NAME)
    assert len(moved) > 50
    assert min(moved) > 0.1


DAMAGE = {
    "made.stem[1].weight.data[3] = 0": "stem.1.weight (gamma) contains zeros",
    "made.fc.weight.data[5, 7] = 1e-40": "fc.weight holds denormal numbers",
    "made.stem[1].running_var[0] = float('nan')": "stem.1.running_var holds numbers that are not finite",
    "made.trunk_output[3][4].f.c[1].weight.data.mul_(1e-9)": "block4-4.f.c.1.weight hardly contributes",
}


def test_weights_that_verify_little_are_refused(store: ModelStore) -> None:
    code = (
        LOAD
        + """
found = []
for damage in json.loads(sys.argv[3]):
    made = network(str(stored.folder / "model.pt"))
    exec(damage)
    found.append(weights.weight_problems(made, torch.from_numpy(photos[:1])))
print(json.dumps(found))
"""
    )
    found = ask(code, store.folder, NAME, json.dumps(list(DAMAGE)))
    for problem, problems in zip(DAMAGE.values(), found, strict=True):
        assert any(problem in line for line in problems), problems


def test_a_file_with_different_outputs_is_refused(store: ModelStore) -> None:
    code = (
        LOAD
        + """
from runoff.records.errors import RunoffError
references[3, 0] += 2e-4 * abs(references[:4]).max()
try:
    formats.check(formats.FORMATS[1], stored.folder / "model.onnx", model.builder, photos, references)
    print(json.dumps("stored"))
except RunoffError as error:
    print(json.dumps(str(error)))
"""
    )
    assert "the onnx file differs from PyTorch by 2.0e-04 of the largest output (batch 4)" in ask(
        code, store.folder, NAME
    )


def test_a_torch_export_program_and_efficientnet_lite0_need_no_torchvision(store: ModelStore) -> None:
    code = (
        LOAD
        + """
program = formats.FORMATS[2].load(stored.folder / "model.pt2", "")
difference = abs(program(photos) - references).max() / abs(references).max()
weights.build("runoff_runners.torch_builders:efficientnet_lite0")
print(json.dumps([float(difference), "torchvision" in sys.modules]))
"""
    )
    difference, imported = ask(code, store.folder, NAME)
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


def test_a_model_that_is_not_stored_cannot_be_converted(tmp_path: Path) -> None:
    done = run("-m", "runoff.models.export", NAME, "--coreml", "--store", tmp_path)
    assert done.returncode == 2
    assert "runoff export" in done.stderr
