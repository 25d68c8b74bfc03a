"""NVIDIA's driver, queried through its own library: can a GPU be used, and which one is it? Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import ctypes

LIBRARY = "libcuda.so.1"
HINT = 'docker run --gpus all ..., or set provider = "cpu"'
_NAME_BYTES = 256
_VERSION = "/proc/driver/nvidia/version"


def unavailable_reason(cuda: str) -> str | None:
    """Return why no NVIDIA GPU can be used here by a program made for a release of `cuda`; None when one can.

    The device that counts is the first of those that ``CUDA_VISIBLE_DEVICES`` leaves.
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        missing = "cannot open shared object file" in str(error)
        return f"no NVIDIA driver ({f'{LIBRARY} not found' if missing else error})"
    count, version = ctypes.c_int(), ctypes.c_int()
    code = driver.cuInit(0)
    if code:
        return f"the NVIDIA driver finds no GPU (cuInit: {_error_name(driver, code)})"
    driver.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        return "the NVIDIA driver finds no GPU"
    driver.cuDriverGetVersion(ctypes.byref(version))
    major, minor, needed = version.value // 1000, version.value % 1000 // 10, int(cuda.partition(".")[0])
    too_old = f"the NVIDIA driver supports CUDA {major}.{minor}; CUDA {needed} is needed"
    return too_old if major < needed else None


def device() -> str:
    """Return the first GPU: its name, its index and the driver's version, as in ``NVIDIA H100 (0), driver 580.95.05``.

    Call it only where `unavailable_reason` returned None.
    """
    driver = ctypes.CDLL(LIBRARY)
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuInit(0)
    driver.cuDeviceGet(ctypes.byref(handle), 0)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    return described(name.value.decode(errors="replace"))


def described(name: str) -> str:
    """Return the first GPU, called `name`, as `device` does."""
    version = _driver_version()
    return f"{name} (0), driver {version}" if version else f"{name} (0)"


def _driver_version() -> str | None:
    """Return the release of the kernel module: the first word of its line that is numbers with points between."""
    try:
        with open(_VERSION, encoding="utf-8") as file:
            words = file.readline().split()
    except OSError:
        return None
    return next((word for word in words if "." in word and word.replace(".", "").isdigit()), None)


def _error_name(driver: ctypes.CDLL, code: int) -> str:
    name = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode() if name.value else f"error {code}"
