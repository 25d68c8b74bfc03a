"""The zoo's table."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runoff.models.zoo import DEFAULT_MODEL, ZOO, ZooModel, find_model, same_name
from runoff.records.errors import RunoffError


@pytest.mark.parametrize("model", ZOO, ids=lambda model: model.name)
def test_a_model_is_found_however_its_name_is_written(model: ZooModel) -> None:
    for name in (model.name, model.name.replace("-", "_"), model.name.replace("_", "-"), model.name.upper()):
        assert find_model(name) is model


def test_no_two_names_mean_the_same() -> None:
    assert len({same_name(model.name) for model in ZOO}) == len(ZOO)


def test_the_default_model_needs_no_download() -> None:
    assert find_model(DEFAULT_MODEL).weights_package


def test_an_unknown_name_gets_the_closest_one() -> None:
    with pytest.raises(RunoffError, match=r"unknown model 'mobilenet_v3'.*did you mean 'mobilenet_v2'"):
        find_model("mobilenet_v3")


def test_importing_the_zoo_and_the_store_imports_no_runtime() -> None:
    code = "import sys, runoff.models.store; print(*{'torch', 'numpy', 'onnxruntime', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
