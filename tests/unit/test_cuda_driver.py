"""The driver's library: errors if no GPU is usable, from the Python runners' own code over a fake library in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nvml_library import build

from runoff_runners import cuda_driver

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the fake library, built."""
    return build("fake_cuda.c", tmp_path_factory.mktemp("cuda") / "libcuda.so.1")


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, None),
        ({"COUNT": "2", "VERSION": "14010"}, None),
        ({"INIT": "100"}, "the NVIDIA driver finds no GPU (cuInit: CUDA_ERROR_NO_DEVICE)"),
        ({"INIT": "803"}, "the NVIDIA driver finds no GPU (cuInit: error 803)"),
        ({"COUNT": "0"}, "the NVIDIA driver finds no GPU"),
        ({"VERSION": "12080"}, "the NVIDIA driver supports CUDA 12.8; CUDA 13 is needed"),
    ],
)
def test_unavailable_reasons(
    variables: dict[str, str], reason: str | None, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(built))
    for name, value in variables.items():
        monkeypatch.setenv(f"FAKE_{name}", value)
    assert cuda_driver.unavailable_reason("13.2") == reason


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libnowhere.so.1")
    assert cuda_driver.unavailable_reason("13.0") == "no NVIDIA driver (libnowhere.so.1 not found)"


def test_an_unloadable_library_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libcuda.so.1").write_text("not a library")
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(tmp_path / "libcuda.so.1"))
    reason = cuda_driver.unavailable_reason("13.0") or ""
    assert reason.startswith("no NVIDIA driver (")
    assert "not found" not in reason


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\nGCC", "580.95.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.51  Release Build  (dvs@rel)", "575.51"),
        ("NVRM version: unknown", None),
        (None, None),
    ],
)
def test_the_device_is_named(
    module: str | None, version: str | None, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(built))
    monkeypatch.setattr(cuda_driver, "_VERSION", str(tmp_path / "version"))
    if module:
        (tmp_path / "version").write_text(module)
    assert cuda_driver.device() == ("Fake GPU 0 (0)" + (f", driver {version}" if version else ""))
