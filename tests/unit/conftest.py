"""The fake NVML, shared by the tests of energy and of the GPU's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pynvml
import pytest
from nvml_library import build, fresh_nvml

if TYPE_CHECKING:
    import ctypes
    from pathlib import Path


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fake library, built."""
    return build("fake_nvml.c", tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1")


@pytest.fixture
def driver(fake_nvml: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """Return the fake with one GPU at 1 J, where nvidia-ml-py finds the driver's library."""
    library = fresh_nvml(fake_nvml)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", lambda name: {"libnvidia-ml.so.1": library}[name])
    return library
