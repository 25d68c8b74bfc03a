"""Reading and checking the request. Standard library only."""
# pathlib would add milliseconds to every process:
# ruff: noqa: PTH123

from __future__ import annotations

import json

from runoff_runners.protocol import VERSION, RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from runoff_runners.interfaces import Prompt, Request

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
_MODEL["decoder?"] = (_MODEL, _NONE)
_SEGMENT: dict[str, Shape] = {
    "size": _POSITIVE,
    "mean": [float],
    "std": [float],
    "mask_threshold?": float,
    "multimask?": bool,
    "points_per_side?": _POSITIVE,
    "points_per_batch?": _POSITIVE,
    "pred_iou_thresh?": float,
    "stability_score_thresh?": float,
    "stability_score_offset?": float,
    "box_nms_thresh?": float,
    "crop_n_layers?": range(9),
    "crop_nms_thresh?": float,
    "crop_overlap_ratio?": float,
    "crop_n_points_downscale_factor?": _POSITIVE,
    "min_mask_region_area?": _COUNT,
}
_PROMPT: dict[str, Shape] = {
    "points?": [[float]],
    "labels?": [{0, 1}],
    "box?": ([float], _NONE),
    "mask?": (_FILE, _NONE),
}
_MEASURES: dict[str, Shape] = {
    "once": {"kind": {"once"}, "memory?": bool},
    "latency": {"kind": {"latency"}, "min_samples": _POSITIVE, "min_ns": _COUNT, "warmup": _COUNT},
    "accuracy": {"kind": {"accuracy"}},
    "turns": {"kind": {"turns"}, "warmup": _COUNT},
    "operators": {"kind": {"operators"}, "inferences": _POSITIVE, "warmup": _COUNT},
    "mappings": {"kind": {"mappings"}},
    "load": {
        "kind": {"load"},
        "transport": {"pipe", "http"},
        "workers?": _POSITIVE,
        "max_batch?": _POSITIVE,
        "max_wait_us?": _COUNT,
        "max_queue?": _POSITIVE,
        "warmup": _COUNT,
    },
}
_DEFAULT_LOAD = {"workers": 1, "max_batch": 1, "max_wait_us": 0, "max_queue": 1024}
_REQUEST: dict[str, Shape] = {
    "protocol?": {VERSION},
    "case": str,
    "workload": {"classify", "tensor", "segment"},
    "model": _MODEL,
    "inputs": [{"image?": (str, _NONE), "tensors?": ({"*": _FILE}, _NONE), "prompts?": ([_PROMPT], _NONE)}],
    "preprocess?": (_PREPROCESS, _NONE),
    "segment?": (_SEGMENT, _NONE),
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
OPTIONAL_SETTINGS = tuple(name for name, value in _DEFAULT_SETTINGS.items() if value is None)
"""Settings that may be null, which means the runtime's default."""
_DEFAULT_SEGMENT = {
    "mask_threshold": 0.0,
    "multimask": True,
    "points_per_side": 32,
    "points_per_batch": 64,
    "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95,
    "stability_score_offset": 1.0,
    "box_nms_thresh": 0.7,
    "crop_n_layers": 0,
    "crop_nms_thresh": 0.7,
    "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
}
FILTERS = tuple(name for name in _DEFAULT_SEGMENT if name not in ("mask_threshold", "multimask"))
"""Fields of `segment` that are arguments of ``SamAutomaticMaskGenerator``."""
_DEFAULTS = {
    "protocol": VERSION,
    "preprocess": None,
    "segment": None,
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
    if filled["segment"] is not None:
        filled["segment"] = {**_DEFAULT_SEGMENT, **filled["segment"]}
    measure = filled["measure"]
    _check(measure.get("kind"), set(_MEASURES), "measure.kind")
    _check(measure, _MEASURES[measure["kind"]], "measure")
    if measure["kind"] == "load":
        filled["measure"] = {**_DEFAULT_LOAD, **measure}
    # The fields were checked above.
    request: Request = filled  # type: ignore[assignment]
    _check_workload(request)
    return request


def _check_workload(request: Request) -> None:
    """Check that each item has the field that the workload reads."""
    workload = request["workload"]
    needed = "tensors" if workload == "tensor" else "image"
    if not request["inputs"]:
        raise _bad("inputs: is empty", "name at least one item")
    for number, item in enumerate(request["inputs"]):
        if item.get(needed) is None:
            raise _bad(f"inputs[{number}].{needed}: is missing, workload {workload!r} needs it")
    if workload == "classify":
        _check_preprocess(request)
    elif workload == "segment":
        _check_segment(request)
    if request["measure"]["kind"] == "load":
        _check_load(request)


def _check_load(request: Request) -> None:
    """Check the requirements of `load`: an item a request, whose outputs can be split again."""
    if request["workload"] == "segment":
        raise _bad("measure.kind: 'load' is not for the workload 'segment'", "use workload 'classify' or 'tensor'")
    if request["settings"]["batch"] != 1:
        batch = request["settings"]["batch"]
        raise _bad(f"settings.batch: is {batch}; the measure 'load' takes an item a request", "set measure.max_batch")


def _check_preprocess(request: Request) -> None:
    """Check the requirements of `classify`: one model input, and a crop that fits into the resized image."""
    preprocess = request["preprocess"]
    if preprocess is None:
        raise _bad("preprocess: is missing, workload 'classify' needs it")
    if preprocess["crop"] > preprocess["resize"]:
        raise _bad(f"preprocess.crop: {preprocess['crop']} is larger than resize, {preprocess['resize']}")
    _check_channels(request, "preprocess", preprocess["mean"], preprocess["std"])


def _check_segment(request: Request) -> None:
    """Check the requirements of `segment`: its field, a picture at a time, and prompts that say something."""
    segment = request["segment"]
    if segment is None:
        raise _bad("segment: is missing, workload 'segment' needs it")
    _check_channels(request, "segment", segment["mean"], segment["std"])
    if request["settings"]["batch"] != 1:
        raise _bad(f"settings.batch: is {request['settings']['batch']}; workload 'segment' takes one picture at a time")
    if request["measure"]["kind"] == "operators":
        raise _bad("measure.kind: 'operators' is for workloads with one network, not for 'segment'")
    for number, item in enumerate(request["inputs"]):
        prompts = item.get("prompts")
        if prompts == []:
            raise _bad(f"inputs[{number}].prompts: is empty", "name a prompt; null segments everything")
        for place, prompt in enumerate(prompts or ()):
            _check_prompt(prompt, f"inputs[{number}].prompts[{place}]")


def _check_prompt(prompt: Prompt, where: str) -> None:
    """Check a prompt, except that it lies within its picture."""
    points, labels, box = prompt.get("points") or [], prompt.get("labels") or [], prompt.get("box")
    if not points and box is None and prompt.get("mask") is None:
        raise _bad(f"{where}: is empty", "give points with labels, a box or a mask")
    if len(points) != len(labels):
        raise _bad(f"{where}.labels: has {len(labels)} for {len(points)} points", "a label is 1 on the object, else 0")
    for place, point in enumerate(points):
        if len(point) != 2:  # noqa: PLR2004 (x, y)
            raise _bad(f"{where}.points[{place}]: has {len(point)} numbers, not 2")
    if box is None:
        return
    if len(box) != 4:  # noqa: PLR2004 (four edges)
        raise _bad(f"{where}.box: has {len(box)} numbers, not 4")
    if not (box[0] < box[2] and box[1] < box[3]):
        edges = ", ".join(f"{edge:g}" for edge in box)
        raise _bad(f"{where}.box: {edges} is inside out", "the order is left, upper, right, lower edge")


def _check_channels(request: Request, name: str, mean: list[float], std: list[float]) -> None:
    """Check the three channels in the field `name`, and that the model has one input for them."""
    for field, values in (("mean", mean), ("std", std)):
        if len(values) != 3:  # noqa: PLR2004 (red, green, blue)
            raise _bad(f"{name}.{field}: has {len(values)} numbers, not 3")
    if 0 in std:
        raise _bad(f"{name}.std: a zero cannot be divided by")
    if len(request["model"]["inputs"]) != 1:
        workload = request["workload"]
        raise _bad(f"model.inputs: workload {workload!r} needs a model with one input", "use workload 'tensor'")


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
