"""The stand-in for NVIDIA's NVML, which the tests of energy and of the GPU's memory share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pynvml
import pytest
from nvml_library import build, fresh_nvml

if TYPE_CHECKING:
    import ctypes
    from pathlib import Path


@pytest.fixture(scope="session")
def nvml_stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the stand-in, built."""
    return build("nvml_stand_in.c", tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1")


@pytest.fixture
def driver(nvml_stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> ctypes.CDLL:
    """Return the stand-in with one GPU at 1 J, where nvidia-ml-py finds the driver's library."""
    library = fresh_nvml(nvml_stand_in)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", lambda name: {"libnvidia-ml.so.1": library}[name])
    return library
