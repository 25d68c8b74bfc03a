"""Checks of an installed wheel of ``runoff_ort``, in any Python from 3.10 on: ``python smoke.py CHECK``.

A check that fails ends with a traceback. Only the standard library, numpy and the extension are imported.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FLOAT = 1


def works() -> dict[str, object]:
    """Run a model; the intended library is found."""
    began = time.perf_counter()
    import runoff_ort

    import_ms = (time.perf_counter() - began) * 1e3
    assert "numpy" not in sys.modules, "numpy came with the import"
    import numpy as np

    x = np.arange(8, dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "double.onnx"
        model.write_bytes(doubling_model(x.size))
        y = runoff_ort.Session(model, threads=1).run({"x": x})["y"]
    assert y.dtype == np.float32
    assert np.array_equal(y, 2 * x), y
    library = Path(runoff_ort.library_path())
    if named := os.environ.get("RUNOFF_ORT_DYLIB"):
        assert library == Path(named), library
    else:
        spec = find_spec("onnxruntime")
        assert spec is not None
        assert spec.origin is not None
        assert library.parent == Path(spec.origin).parent / "capi", library
    return {"import_ms": import_ms, "runtime": runoff_ort.runtime_version(), "numpy": np.__version__}


def missing() -> dict[str, object]:
    """Load the runtime without a library: the error has an installation hint."""
    assert find_spec("onnxruntime") is None, "this check wants an environment without onnxruntime"
    return refused("pip install onnxruntime")


def too_old() -> dict[str, object]:
    """Name the library of an old release: the error names its version and the supported ones."""
    return refused(f"is ONNX Runtime {os.environ['OLD_VERSION']}", "or a later 1.x")


def no_library() -> dict[str, object]:
    """Name a file that is not a library: the error names it."""
    with tempfile.NamedTemporaryFile(suffix=".so") as text:
        text.write(b"text")
        os.environ["RUNOFF_ORT_DYLIB"] = text.name
        return refused(text.name)


def sub_interpreters() -> dict[str, object]:
    """Import in sub-interpreters, before and after the main one: refused, and the main one is not harmed."""
    refused_in_sub_interpreters()
    import runoff_ort

    refused_in_sub_interpreters()
    assert runoff_ort.Session.__name__ == "Session"
    return {}


def refused(*words: str) -> dict[str, object]:
    """Check that the runtime is refused with an error that has the words."""
    import runoff_ort

    try:
        runoff_ort.load_runtime()
    except runoff_ort.RunoffOrtError as error:
        kind, message = error.kind, f"{error} {error.hint}"
    else:
        raise AssertionError("the runtime was loaded")
    assert kind == "runtime-missing", kind
    assert all(word in message for word in words), message
    return {}


def refused_in_sub_interpreters() -> None:
    """Check that each kind of sub-interpreter gets an ImportError with the reason.

    Kinds: with a separate GIL, and with the main one's, as servers with embedded Python create them.
    """
    for isolated in (True, False):
        message = import_in_sub_interpreter(isolated=isolated)
        assert "ImportError" in message, message
        assert re.search("sub-?interpreters", message), message


def import_in_sub_interpreter(*, isolated: bool) -> str:
    """Return the error of the import in a new sub-interpreter; the standard library has had three APIs."""
    code = "import runoff_ort"
    try:
        interpreters: Any = importlib.import_module("_interpreters")
    except ImportError:
        interpreters = importlib.import_module("_xxsubinterpreters")
        number = interpreters.create(isolated=isolated)
        try:
            interpreters.run_string(number, code)
        except interpreters.RunFailedError as error:
            return str(error)
        return "no exception"
    number = interpreters.create("isolated" if isolated else "legacy")
    failure = interpreters.exec(number, code)
    return "no exception" if failure is None else str(failure.formatted)


def doubling_model(size: int) -> bytes:
    """Return an ONNX file with one node, ``y = x + x``, on `size` floats (onnx.proto, opset 13)."""
    node = field(1, "x") + field(1, "x") + field(2, "y") + field(4, "Add")
    dimension = field(1, size)
    tensor = field(1, FLOAT) + field(2, field(1, dimension))
    ends = [field(1, name) + field(2, field(1, tensor)) for name in ("x", "y")]
    graph = field(1, node) + field(2, "double") + field(11, ends[0]) + field(12, ends[1])
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def field(number: int, content: bytes | str | int) -> bytes:
    """Return a field of a protocol buffer; numbers and lengths below 128 take one byte."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    data = content.encode() if isinstance(content, str) else content
    assert len(data) < 128, "a longer field needs a longer varint"
    return bytes([number << 3 | 2, len(data)]) + data


CHECKS = (works, missing, too_old, no_library, sub_interpreters)

if __name__ == "__main__":
    message = {check.__name__: check for check in CHECKS}[sys.argv[1]]()
    sys.stdout.write(json.dumps(message))
