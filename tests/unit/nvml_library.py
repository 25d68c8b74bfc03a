"""NVIDIA's own Python code over a library that stands in for the driver's: fixtures of several test files."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path


def build(source: str, library: Path) -> Path:
    """Compile a stand-in of this folder by the C compiler that Rust needs too; return `library`."""
    compiler = shutil.which("cc")
    assert compiler, "install a C compiler: apt-get install gcc"
    path = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, path], check=True)
    return library


def fresh_nvml(library: Path) -> ctypes.CDLL:
    """Return the stand-in for NVML as it is at the beginning: one GPU, at 1 J, with nothing in its memory."""
    nvml = ctypes.CDLL(str(library))
    nvml.stand_in_energy.argtypes = (ctypes.c_uint, ctypes.c_ulonglong)
    nvml.stand_in_used.argtypes = (ctypes.c_uint, ctypes.c_ulonglong)
    nvml.stand_in_process.argtypes = (ctypes.c_uint, ctypes.c_uint, ctypes.c_ulonglong)
    nvml.stand_in_count(1)
    nvml.stand_in_memory_state(0)
    for index in range(2):
        nvml.stand_in_energy(index, 1000)
        nvml.stand_in_state(index, 0)
        nvml.stand_in_used(index, 0)
        nvml.stand_in_process(index, 0, 0)
    return nvml
