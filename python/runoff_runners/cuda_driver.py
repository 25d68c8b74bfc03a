"""Queries NVIDIA's driver through its library: whether a GPU is usable, and which. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import ctypes

LIBRARY = "libcuda.so.1"
HINT = 'docker run --gpus all ..., or set provider = "cpu"'
_NAME_BYTES = 256
_VERSION = "/proc/driver/nvidia/version"


def unavailable_reason(cuda: str) -> str | None:
    """Return why a program built for the CUDA release `cuda` cannot use a GPU on this machine; None if it can.

    The device is the first one in ``CUDA_VISIBLE_DEVICES``.
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
    """Return the first GPU: name, index and driver version, such as ``NVIDIA H100 (0), driver 580.95.05``.

    Call it only if `unavailable_reason` returned None.
    """
    driver = ctypes.CDLL(LIBRARY)
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuInit(0)
    driver.cuDeviceGet(ctypes.byref(handle), 0)
    driver.cuDeviceGetName(name, _NAME_BYTES, handle)
    return described(name.value.decode(errors="replace"))


def described(name: str) -> str:
    """Return the description of the first GPU, with the given `name`, in the form of `device`."""
    version = _driver_version()
    return f"{name} (0), driver {version}" if version else f"{name} (0)"


def _driver_version() -> str | None:
    """Return the version of the kernel module: the first word in its line that consists of digits and dots."""
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
