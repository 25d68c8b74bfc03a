"""The model store: lookups and errors."""

from __future__ import annotations

import hashlib
import os
from typing import IO, TYPE_CHECKING

import msgspec
import pytest
from orchestra import example_of

from runoff.models.store import ModelStore
from runoff.records.errors import RunoffError
from runoff.records.manifest import Example, Manifest, Package, StoredFile, read_manifest
from runoff.records.protocol import Preprocess, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

NAME = "mobilenet_v2"


def put(folder: Path, name: str, content: bytes) -> StoredFile:
    (folder / name).write_bytes(content)
    return StoredFile(name, hashlib.sha256(content).hexdigest(), len(content))


def put_example(folder: Path, name: str) -> Example:
    image = put(folder, f"{name}.jpg", b"jpeg of " + name.encode())
    tensor = put(folder, f"{name}.tensor.bin", bytes(48))
    return example_of(name, image, tensor, put(folder, f"{name}.reference.bin", bytes(16)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    manifest = Manifest(
        name=NAME,
        source="here",
        weights="seeded:0",
        builder="package:function",
        inputs=(TensorSpec("input", "float32", (None, 3, 2, 2)),),
        outputs=(TensorSpec("logits", "float32", (None, 4)),),
        preprocess=Preprocess(3, 2, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        files={form: put(folder, f"model.{form}", b"weights as " + form.encode()) for form in ("pt", "onnx")},
        labels=put(folder, "labels.txt", b"daisy\n"),
        examples=(put_example(folder, "china"), put_example(folder, "flower")),
        checks=(),
        made_with={},
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


@pytest.fixture
def store(folder: Path) -> ModelStore:
    return ModelStore(folder.parent)


@pytest.fixture
def package(folder: Path) -> Path:
    """Return a package added to the model, a folder of two files."""
    path = folder / "model.mlpackage"
    path.mkdir()
    parts = tuple(put(folder, f"model.mlpackage/{name}", name.encode()) for name in ("Manifest.json", "weight.bin"))
    manifest = read_manifest(folder)
    joined = Package(
        path=path.name,
        sha256="5" * 64,
        spec_version=7,
        precision="fp32",
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        parts=parts,
    )
    manifest = msgspec.structs.replace(manifest, packages={"mlpackage": joined})
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def test_a_package_is_a_format_of_its_model(store: ModelStore, package: Path) -> None:
    model = store.get(NAME)
    assert model.formats == ("pt", "onnx", "mlpackage")
    file = model.model_file("mlpackage")
    assert (file.path, file.format, file.sha256) == (str(package), "mlpackage", "5" * 64)
    model.verify()


def test_a_part_of_a_package_that_was_changed_is_named(store: ModelStore, package: Path) -> None:
    (package / "weight.bin").write_bytes(b"weight.bim")
    with pytest.raises(RunoffError, match=r"model\.mlpackage/weight\.bin was changed after it was stored"):
        store.get(NAME).verify()
    (package / "weight.bin").unlink()
    with pytest.raises(RunoffError, match=r"model\.mlpackage/weight\.bin is missing"):
        store.get(NAME)


def test_a_file_that_cannot_be_read_is_named(store: ModelStore, package: Path) -> None:
    for part in package.iterdir():
        part.unlink()
    package.rmdir()
    package.write_bytes(b"a file where a folder should be")
    with pytest.raises(RunoffError, match=r"model\.mlpackage/\S+ cannot be read: Not a directory.*read permission"):
        store.get(NAME)


def test_names_exclude_incomplete_models(store: ModelStore, folder: Path) -> None:
    for other in (f"{NAME}.tmp-17", f"{NAME}.tmp-17.old"):
        (folder.parent / other).mkdir()
        (folder.parent / other / "manifest.json").write_text("{}")
    (folder.parent / "empty").mkdir()
    assert store.names() == (NAME,)


def test_a_store_that_does_not_exist_has_no_names(tmp_path: Path) -> None:
    assert ModelStore(tmp_path / "nowhere").names() == ()


def test_a_model_is_found_with_either_spelling(store: ModelStore) -> None:
    assert store.get("mobilenet-v2") == store.get("mobilenet_v2")


def test_a_model_of_another_name_than_the_zoos_is_found(store: ModelStore, folder: Path) -> None:
    folder.rename(folder.with_name("my-own"))
    assert store.get("my_own").folder.name == "my-own"


def test_a_zoo_model_that_is_not_stored_has_an_export_hint(store: ModelStore) -> None:
    with pytest.raises(RunoffError, match=r"efficientnet-lite0.*runoff export efficientnet-lite0"):
        store.get("efficientnet_lite0")


def test_an_unknown_model_gets_the_closest_name(store: ModelStore) -> None:
    with pytest.raises(RunoffError, match="did you mean 'mobilenet_v2'"):
        store.get("mobilenet_v22")


def test_an_invalid_manifest_is_named(store: ModelStore, folder: Path) -> None:
    (folder / "manifest.json").write_text('{"version": "one"}')
    with pytest.raises(RunoffError, match=r"manifest\.json is not a manifest"):
        store.get(NAME)


@pytest.mark.parametrize("file", ["model.pt", "labels.txt", "china.jpg", "flower.tensor.bin", "china.reference.bin"])
def test_a_missing_file_is_named(store: ModelStore, folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(RunoffError, match=f"{file} is missing.*runoff export --force {NAME}"):
        store.get(NAME)


@pytest.mark.parametrize("file", ["model.onnx", "flower.jpg"])
def test_a_truncated_file_is_named(store: ModelStore, folder: Path, file: str) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-1])
    with pytest.raises(RunoffError, match=f"{file} has {len(whole) - 1} bytes; it was stored with {len(whole)}"):
        store.get(NAME)


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.pt", "china.reference.bin"])
@pytest.mark.parametrize("verified", [False, True])
def test_a_changed_file_of_the_same_size_is_named(
    store: ModelStore, folder: Path, file: str, *, verified: bool
) -> None:
    if verified:
        store.get(NAME).verify()
    corrupt(folder / file)
    os.utime(folder / file, ns=(0, 0))  # the clock of the file system may be too coarse to distinguish the two
    model = store.get(NAME)
    with pytest.raises(RunoffError, match=f"{file} was changed"):
        model.verify()


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    taken: list[str] = []
    real = hashlib.file_digest

    def count(file: IO[bytes], name: str) -> object:
        taken.append(file.name)
        return real(file, name)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", count)
    return taken


def test_hashes_are_taken_once(store: ModelStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = count_hashes(monkeypatch)
    store.get(NAME).verify()
    assert len(taken) == 9
    store.get(NAME).verify()
    assert len(taken) == 9
    os.utime(folder / "model.pt", ns=(1, 1))
    store.get(NAME).verify()
    assert taken[9:] == [str(folder / "model.pt")]


def test_a_broken_note_of_hashes_only_costs_time(
    store: ModelStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = count_hashes(monkeypatch)
    (folder / ".hashed.json").write_text("{")
    store.get(NAME).verify()
    store.get(NAME).verify()
    assert len(taken) == 9


def test_a_request_gets_file_hash_and_builder(store: ModelStore, folder: Path) -> None:
    model = store.get(NAME)
    assert model.formats == ("pt", "onnx")
    weights, graph = model.model_file("pt"), model.model_file("onnx")
    assert weights.path == str(folder / "model.pt")
    assert weights.sha256 == hashlib.sha256(b"weights as pt").hexdigest()
    assert weights.builder == "package:function"
    assert graph.builder is None
    assert graph.inputs == model.manifest.inputs


def test_a_format_that_is_not_stored_is_named(store: ModelStore) -> None:
    with pytest.raises(RunoffError, match=r"not stored in the format 'onx'.*did you mean 'onnx'"):
        store.get(NAME).model_file("onx")


def test_items_are_the_examples_with_absolute_paths(store: ModelStore, folder: Path) -> None:
    model = store.get(NAME)
    images, tensors = model.items("classify"), model.items("tensor")
    files = [item.tensors["input"] for item in tensors if item.tensors]
    assert [item.image for item in images] == [str(folder / "china.jpg"), str(folder / "flower.jpg")]
    assert [file.path for file in files] == [model.inputs(0)["input"].path, model.inputs(1)["input"].path]
    assert {(file.dtype, file.shape) for file in files} == {("float32", (1, 12))}
    assert model.references(1)["logits"].path == str(folder / "flower.reference.bin")
