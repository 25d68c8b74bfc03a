"""Selection of CoreML packages by settings, and the fields of a package."""

from __future__ import annotations

import pytest
from orchestra import manifest_of

from runoff.plan.coreml_packages import PACKAGES, serves, verified
from runoff.records.manifest import Check, Manifest, Package, StoredFile
from runoff.records.protocol import Settings


def model(*checks: Check, packages: tuple[str, ...] = ()) -> Manifest:
    part = StoredFile("model.mlpackage/Manifest.json", "0" * 64, 1)
    package = Package(
        path="model.mlpackage", sha256="0" * 64, spec_version=7, precision="fp32", inputs=(), outputs=(), parts=(part,)
    )
    return manifest_of(packages=dict.fromkeys(packages, package), checks=checks, made_with={"system": "Linux"})


@pytest.mark.parametrize(
    ("precision", "batch", "served"),
    [
        ("fp32", 1, ["mlpackage", "mlpackage-flexible"]),
        ("fp16", 1, ["mlpackage-fp16", "mlpackage-fp16-flexible"]),
        ("fp32", 4, ["mlpackage-flexible"]),
        ("fp16", 4, ["mlpackage-fp16-flexible"]),
        ("fp32", 32, ["mlpackage-flexible"]),
        ("fp32", 33, []),
        ("int8", 1, []),
    ],
)
def test_a_package_serves_its_precision_and_its_batches(precision: str, batch: int, served: list[str]) -> None:
    settings = Settings(precision=precision, batch=batch)
    assert [kind.name for kind in PACKAGES if serves(kind.name, settings)] == served


def test_other_formats_serve_all_settings() -> None:
    assert serves("onnx", Settings(precision="fp16", batch=8))


def test_each_package_has_a_separate_folder() -> None:
    folders = {kind.folder for kind in PACKAGES}
    assert "model-fp16-flexible.mlpackage" in folders
    assert len(folders) == len(PACKAGES)


def test_the_description_of_a_packages_check() -> None:
    checks = Check("mlpackage", 1, 1e-6, 2e-7), Check("mlpackage", 4, 1e-6, 1.23e-6), Check("onnx", 1, 1.0, 1.0)
    assert verified(model(*checks, packages=("mlpackage",)), "mlpackage") == (
        "package verified on Linux by the evaluator (largest difference 1.2e-06 of the largest logit)"
    )
    assert verified(model(*checks), "mlpackage") is None
    assert verified(model(packages=("mlpackage",)), "mlpackage") is None
