"""NVIDIA's own Python code over a fake driver library: fixtures of several test files."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path


def build(source: str, library: Path) -> Path:
    """Compile a fake library of this folder with the C compiler that Rust needs too; return `library`."""
    compiler = shutil.which("cc")
    assert compiler, "install a C compiler: apt-get install gcc"
    path = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, path], check=True)
    return library


def fresh_nvml(library: Path) -> ctypes.CDLL:
    """Return the fake NVML in its initial state: one GPU at 1 J, with empty memory."""
    nvml = ctypes.CDLL(str(library))
    nvml.fake_energy.argtypes = (ctypes.c_uint, ctypes.c_ulonglong)
    nvml.fake_used.argtypes = (ctypes.c_uint, ctypes.c_ulonglong)
    nvml.fake_process.argtypes = (ctypes.c_uint, ctypes.c_uint, ctypes.c_ulonglong)
    nvml.fake_count(1)
    nvml.fake_memory_state(0)
    for index in range(2):
        nvml.fake_energy(index, 1000)
        nvml.fake_state(index, 0)
        nvml.fake_used(index, 0)
        nvml.fake_process(index, 0, 0)
    return nvml
