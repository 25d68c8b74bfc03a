"""Reading and checking the request. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json

from runoff_runners.protocol import VERSION, RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from runoff_runners.interfaces import Request

    Alternatives: TypeAlias = "tuple[Shape, ...]"
    Shape: TypeAlias = "type | range | set[str] | set[int] | Alternatives | list[Shape] | dict[str, Shape]"

# A shape is a type, a range of integers, a set of values, a tuple of alternatives, a list with one shape for all
# elements, or a dict of fields ("?" marks optional fields, "*" any name).
_COUNT = range(1 << 63)
_POSITIVE = range(1, 1 << 63)
_THREADS = range(1, 1025)
_NONE = type(None)
_SPEC: dict[str, Shape] = {"name": str, "dtype": str, "shape": [(int, _NONE)]}
_FILE: dict[str, Shape] = {"path": str, "dtype": str, "shape": [int]}
_SETTINGS: dict[str, Shape] = {
    "threads?": _THREADS,
    "inter_threads?": (_THREADS, _NONE),
    "optimization?": ({"disable", "basic", "extended", "all"}, _NONE),
    "spinning?": (bool, _NONE),
    "spin_duration_us?": (range(1_000_001), _NONE),
    "spin_backoff_max?": (range(1, 65), _NONE),
    "arena?": (bool, _NONE),
    "prepacking?": (bool, _NONE),
    "execution?": ({"sequential", "parallel"}, _NONE),
    "provider?": str,
    "precision?": str,
    "batch?": _POSITIVE,
    "profile?": str,
    "teardown?": ({"full", "skip"}, _NONE),
    "prepared?": ({"onnx"}, bool, _NONE),
    "overlap?": (bool, _NONE),
}
_PREPROCESS: dict[str, Shape] = {
    "resize": _POSITIVE,
    "crop": _POSITIVE,
    "interpolation": {"bilinear", "bicubic"},
    "mean": [float],
    "std": [float],
}
_MODEL: dict[str, Shape] = {
    "name": str,
    "path": str,
    "format": str,
    "sha256": str,
    "inputs": [_SPEC],
    "outputs": [_SPEC],
    "builder?": (str, _NONE),
    "builder_folder?": (str, _NONE),
}
_MEASURES: dict[str, Shape] = {
    "once": {"kind": {"once"}, "memory?": bool},
    "latency": {"kind": {"latency"}, "min_samples": _POSITIVE, "min_ns": _COUNT, "warmup": _COUNT},
    "accuracy": {"kind": {"accuracy"}},
    "turns": {"kind": {"turns"}, "warmup": _COUNT},
    "operators": {"kind": {"operators"}, "inferences": _POSITIVE, "warmup": _COUNT},
}
_REQUEST: dict[str, Shape] = {
    "protocol?": {VERSION},
    "case": str,
    "workload": {"classify", "tensor"},
    "model": _MODEL,
    "inputs": [{"image?": (str, _NONE), "tensors?": ({"*": _FILE}, _NONE)}],
    "preprocess?": (_PREPROCESS, _NONE),
    "labels?": (str, _NONE),
    "settings?": _SETTINGS,
    "measure?": dict,
    "top_k?": _POSITIVE,
    "outputs_dir": str,
    "spawn_ns?": (_COUNT, _NONE),
}
_DEFAULT_SETTINGS = {
    **{name.removesuffix("?"): None for name in _SETTINGS},
    "threads": 1,
    "provider": "cpu",
    "precision": "fp32",
    "batch": 1,
    "profile": "default",
}
_DEFAULTS = {
    "protocol": VERSION,
    "preprocess": None,
    "labels": None,
    "settings": {},
    "measure": {"kind": "once"},
    "top_k": 5,
    "spawn_ns": None,
}


def read_json(path: str) -> dict[str, Any]:
    """Read the JSON object in the file `path` without checking its fields.

    Raises
    ------
    RunnerError
        ``bad-request``: the file cannot be read or is not a JSON object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise _bad(f"request {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"request {path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _bad(f"request {path} holds {_kind_of(document)}, not an object")
    return document


def check_request(document: dict[str, Any]) -> Request:
    """Return the request with its defaults filled in.

    Raises
    ------
    RunnerError
        ``bad-request``: unsupported protocol version, or a field that is unknown, missing or of the wrong type.
    """
    version = document.get("protocol", VERSION)
    if version != VERSION:
        raise RunnerError(
            "bad-request",
            f"protocol: the request speaks version {version!r}, this runner speaks {VERSION}",
            "use the runoff and the runners of one release",
        )
    _check(document, _REQUEST, "")
    filled: dict[str, Any] = {**_DEFAULTS, **document}
    filled["settings"] = {**_DEFAULT_SETTINGS, **filled["settings"]}
    measure = filled["measure"]
    _check(measure.get("kind"), set(_MEASURES), "measure.kind")
    _check(measure, _MEASURES[measure["kind"]], "measure")
    # The fields were checked above.
    request: Request = filled  # type: ignore[assignment]
    _check_workload(request)
    return request


def _check_workload(request: Request) -> None:
    """Check that each item has the field that the workload reads."""
    needed = "image" if request["workload"] == "classify" else "tensors"
    if not request["inputs"]:
        raise _bad("inputs: is empty", "name at least one item")
    for number, item in enumerate(request["inputs"]):
        if item.get(needed) is None:
            raise _bad(f"inputs[{number}].{needed}: is missing, workload {request['workload']!r} needs it")
    if needed == "image":
        _check_preprocess(request)


def _check_preprocess(request: Request) -> None:
    """Check the requirements of `classify`: one model input, and a crop that fits into the resized image."""
    preprocess = request["preprocess"]
    if preprocess is None:
        raise _bad("preprocess: is missing, workload 'classify' needs it")
    if preprocess["crop"] > preprocess["resize"]:
        raise _bad(f"preprocess.crop: {preprocess['crop']} is larger than resize, {preprocess['resize']}")
    for name in ("mean", "std"):
        if len(preprocess[name]) != 3:  # noqa: PLR2004 (red, green, blue)
            raise _bad(f"preprocess.{name}: has {len(preprocess[name])} numbers, not 3")
    if 0 in preprocess["std"]:
        raise _bad("preprocess.std: a zero cannot be divided by")
    if len(request["model"]["inputs"]) != 1:
        raise _bad("model.inputs: workload 'classify' needs a model with one input", "use workload 'tensor'")


def _check(value: object, shape: Shape, where: str) -> None:
    """Raise ``bad-request`` if `value` does not have the `shape`; `where` is the name of its field."""
    if isinstance(shape, tuple):
        if type(value) not in shape:
            _check(value, shape[0], where)
    elif isinstance(shape, dict):
        _check_fields(value, shape, where)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _bad(f"{where}: is {_kind_of(value)}, not a list")
        for number, element in enumerate(value):
            _check(element, shape[0], f"{where}[{number}]")
    elif not _fits(value, shape):
        raise _bad(f"{where}: is {_kind_of(value)}, not {_expected(shape)}")


def _check_fields(value: object, fields: dict[str, Any], where: str) -> None:
    """Check the fields of an object."""
    if not isinstance(value, dict):
        raise _bad(f"{where or 'request'}: is {_kind_of(value)}, not an object")
    prefix = f"{where}." if where else ""
    for name, field in value.items():
        shape = fields.get(name) or fields.get(f"{name}?") or fields.get("*")
        if shape is None or name.endswith("?"):
            raise _bad(f"{prefix}{name}: unknown field")
        _check(field, shape, prefix + name)
    for name in fields:
        if name not in value and name[-1] not in "?*":
            raise _bad(f"{prefix}{name}: is missing")


def _fits(value: object, shape: Shape) -> bool:
    """Return whether a scalar value matches `shape`."""
    if isinstance(shape, range):
        return type(value) is int and value in shape
    if isinstance(shape, set):
        return type(value) in (str, int) and value in shape
    if shape is float:
        return type(value) in (int, float)
    return type(value) is shape


def _expected(shape: Shape) -> str:
    """Describe the expected value for a message."""
    if isinstance(shape, range):
        end = "" if shape.stop == _COUNT.stop else f" to {shape.stop - 1}"
        return f"a whole number from {shape.start}{end}"
    if isinstance(shape, set):
        return "one of " + ", ".join(sorted(map(repr, shape)))
    words: dict[Shape, str] = {
        str: "text",
        int: "a whole number",
        bool: "true or false",
        float: "a number",
        dict: "an object",
    }
    return words[shape]


def _kind_of(value: object) -> str:
    """Describe the actual value for a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else repr(value)[:80]


def _bad(message: str, hint: str = "see protocol/request.schema.json") -> RunnerError:
    return RunnerError("bad-request", message, hint)
