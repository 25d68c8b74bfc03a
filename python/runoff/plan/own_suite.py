"""The suite that measures a user's model: what ``runoff bench MODEL`` runs and ``--write-suite`` writes."""

from __future__ import annotations

import json
import math
import re
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runoff import paths
from runoff.plan.settings import parse_lists
from runoff.plan.suite import MAX_LOSS
from runoff.records.errors import RunoffError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_PROGRAM = ".pt2"
_WEIGHTS = "pass its network: runoff bench module:function --example module:function --weights FILE; or FILE.pt2"
_CONVERT = "convert it to ONNX, and pass that file"
_OTHERS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _WEIGHTS),
    **dict.fromkeys((".tflite", ".h5", ".keras", ".pb", ".mlpackage", ".mlmodel", ".gguf", ".engine"), _CONVERT),
}
"""What to pass instead of a file of this suffix."""
TARGETS = ("ort-python", "ort-rust", "ort-pyo3", "torch", "coreml")
_PROBES = ("accuracy", "process", "life", "latency", "memory")
_TIME, _PRECISION = "3m", "2%"
# two versions of a model differ by less than two runtimes
_VERSION_PROBES = ("accuracy", "process", "latency", "memory")
_VERSION_TIME, _VERSION_PRECISION = "5m", "0.5%"


class OwnOptions(Struct, frozen=True, kw_only=True):
    """The options of ``runoff bench MODEL``, as on the command line."""

    inputs: tuple[str, ...] = ()
    """``NAME=1,128:int64``."""
    examples: tuple[str, ...] = ()
    threads: str = ""
    batch: str = ""
    """Empty for those of the profile, else 1; the same holds for `threads`."""
    profile: str = "default,cold"
    settings: tuple[str, ...] = ()
    """Further settings: ``KEY=VALUE,VALUE``."""
    one_at_a_time: bool = False
    """Whether settings vary one at a time around the first value of each."""
    precisions: str = "fp32"
    max_loss: float | None = None
    """Largest difference of another precision from fp32 that is not marked."""
    targets: str = ""
    precision: str | None = None
    time: str | None = None
    compare: bool = True
    tolerance: float | None = None
    version: str | None = None
    """Another version of the model, to compare with."""
    example: str | None = None
    """``module:function`` that returns the inputs of a network in PyTorch."""
    preprocess: str | None = None
    """TOML file with the fields of `runoff.records.protocol.Preprocess`."""
    labels: str | None = None
    labelled: str | None = None
    """Folder or ``.npz`` file of labelled images."""
    onnx: str | None = None
    """ONNX file of this network; by default, it is exported."""
    weights: str | None = None
    """File with the state dict of this network."""
    python: str | None = None
    """Interpreter with PyTorch and the user's module."""
    program: str | None = None
    """File of ``torch.export.save`` next to a factory."""


def is_model(text: str) -> bool:
    """Return whether the argument of ``runoff bench`` is a model, not a suite.

    Raises
    ------
    RunoffError
        If it is a file of another format.
    """
    suffix = Path(text).suffix.lower()
    if suffix in _OTHERS:
        raise RunoffError(f"{text} {_content(text)}", _OTHERS[suffix])
    return suffix in (".onnx", _PROGRAM) or text.lower() in (".onnx", _PROGRAM) or _FACTORY.match(text) is not None


def _content(path: str) -> str:
    """Return what a file of PyTorch, or of another library, is."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {name.split("/", 2)[1] for name in archive.namelist() if "/" in name}
    except FileNotFoundError:
        return "not found, and is neither an ONNX file nor a program of torch.export"
    except (OSError, zipfile.BadZipFile):
        return "is neither an ONNX file nor a program of torch.export"
    return "is a TorchScript program, which no target runs" if "code" in parts else "has weights without their network"


def model_name(path: str) -> str:
    """Return a name for the model in the file `path`, or of a factory, usable in file names."""
    if _FACTORY.match(path):
        path = path.partition(":")[0].rpartition(".")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip("-._") or "model"


def own_suite(path: str, options: OwnOptions) -> str:
    """Return the text of the suite for the model in the file `path`; relative paths start at the current folder.

    Raises
    ------
    RunoffError
        If an option cannot be read.
    """
    name, own, sets = model_name(path), _model(path, options), input_sets(options.inputs)
    targets = _list(options.targets) or [*TARGETS, *(["torch-export"] if "program" in own else [])]
    if options.version:
        targets += [f"{target}@{model_name(options.version)}" for target in targets]
    precisions = _precisions(options.precisions)
    reduced = [name for name in precisions if name in MAX_LOSS]
    models = {_sized(name, inputs, sets): inputs for inputs in sets}
    tables: dict[str, dict[str, Any]] = {
        "suite": {
            "name": name,
            "description": f"{Path(path).name}, the user's own model",
            "models": list(models),
            "targets": targets,
            "workloads": ["classify" if options.preprocess else "tensor"],
            "probes": [*(_VERSION_PROBES if options.version else _PROBES), *(["operators"] if reduced else [])],
            "baselines": _baselines(targets, own),
            **({"sweep": "one-at-a-time"} if options.one_at_a_time else {}),
        },
        "settings": {
            **({"threads": _numbers("threads", options.threads, "all")} if options.threads else {}),
            **({"batch": _numbers("batch", options.batch)} if options.batch else {}),
            "profile": [_absolute(name) if name.endswith(".toml") else name for name in _list(options.profile)],
            **parse_lists(options.settings),
            **({"precision": precisions} if reduced else {}),
        },
        **_measure(options, reduced),
    }
    for model, inputs in models.items():
        tables[f"models.{json.dumps(model)}"] = {**own, **({"inputs": inputs} if inputs else {})}
    if options.python:
        runners = paths.runners()
        command = [own["python"], "-P", str(runners / "runner.py"), "torch"]
        target = "torch" if "factory" in own else "torch-export"
        tables[f"targets.{target}"] = {"command": command, "env": {"PYTHONPATH": str(runners.parent)}}
    head = f"# Written by: runoff bench {json.dumps(path, ensure_ascii=False)}\n"
    return "\n".join([head, *(toml_table(f"[{title}]", table) for title, table in tables.items())])


def _precisions(text: str) -> list[str]:
    found, known = _list(text), ["fp32", *MAX_LOSS]
    for word in found or [text]:
        if word not in known:
            raise RunoffError(f"--precisions {text}: {word!r} is unknown", f"known: {', '.join(known)}")
    return found


def _measure(options: OwnOptions, reduced: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the tables of the measurement."""
    precision, time = (_VERSION_PRECISION, _VERSION_TIME) if options.version else (_PRECISION, _TIME)
    tables: dict[str, dict[str, Any]] = {
        "measure": {"precision": options.precision or precision, "time": options.time or time}
    }
    if options.max_loss is not None:
        tables["measure.max_loss"] = dict.fromkeys(reduced, options.max_loss)
    if options.version:
        # processes of one program then differ less for their whole life
        tables["measure.latency"] = {"huge_pages": True}
    return tables


def _baselines(targets: Sequence[str], own: dict[str, Any]) -> list[str]:
    """Return the targets that others are compared with; PyTorch only if the model is a network in PyTorch."""
    network = ["torch"] if "factory" in own else ["torch-export"] if "program" in own else []
    usual = [*network, "ort-python"]
    return [name for name in usual if name in targets] or [targets[0]]


def _sized(name: str, inputs: dict[str, str], sets: Sequence[dict[str, str]]) -> str:
    """Return the name of the model with these inputs; with several sets, the sizes that differ are part of it."""
    different = [shape for key, shape in inputs.items() if any(other[key] != shape for other in sets)]
    return "-".join((name, *(shape.partition(":")[0].replace(",", "x") for shape in different)))


def _model(path: str, options: OwnOptions) -> dict[str, Any]:
    """Return the table of the model: an ONNX file, or a factory with its example."""
    network, program = _FACTORY.match(path) is not None, path.lower().endswith(_PROGRAM)
    if network and options.example is None:
        raise RunoffError(f"{path} needs an example of its inputs", "add: --example module:function")
    code = {"--example": options.example, "--weights": options.weights, "--program": options.program}
    usable = {} if network or program else {"--onnx": options.onnx, "--python": options.python}
    unusable = [name for name, value in {**({} if network else code), **usable}.items() if value]
    if unusable:
        raise RunoffError(f"{unusable[0]} is for a network in PyTorch; {path} is a file", "remove the option")
    if options.tolerance is not None and not math.isfinite(options.tolerance):
        raise RunoffError(f"--tolerance {options.tolerance}: not a number", "write it as --tolerance 0.01")
    table = {
        "path": _absolute(options.onnx if network or program else path),
        "factory": path if network else None,
        "program": _absolute(path if program else options.program),
        "example": options.example,
        "weights": _absolute(options.weights),
        "python": _absolute(options.python),
        "examples": [_absolute(file) for file in options.examples],
        "preprocess": _read_preprocess(options.preprocess) if options.preprocess else None,
        "labels": _absolute(options.labels),
        "labelled": _absolute(options.labelled),
        "tolerance": options.tolerance,
        "versions": {model_name(options.version): _absolute(options.version)} if options.version else None,
        **({} if options.compare else {"compare": False}),
    }
    return {key: value for key, value in table.items() if value or value is False}


def _absolute(path: str | None) -> str | None:
    return str(Path(path).expanduser().absolute()) if path else None


def input_sets(texts: Iterable[str]) -> list[dict[str, str]]:
    """Return the shapes in ``NAME=1,128:int64``, as text by input; an input that is named again begins another set.

    Raises
    ------
    RunoffError
        If a text has no shape, or two inputs have different numbers of shapes.
    """
    shapes: dict[str, list[str]] = {}
    for text in texts:
        name, shape = _input(text)
        shapes.setdefault(name, []).append(shape)
    count = max(map(len, shapes.values()), default=1)
    for name, given in shapes.items():
        if len(given) not in (1, count):
            raise RunoffError(
                f"--input {name} has {len(given)} shapes, another input has {count}",
                "give each input one shape, or the same number",
            )
    return [{name: given[place % len(given)] for name, given in shapes.items()} for place in range(count)]


def _input(text: str) -> tuple[str, str]:
    name, equals, shape = text.rpartition("=")
    if not equals:
        raise RunoffError(f"--input {text}: no shape", "write it as --input NAME=1,128 or NAME=1,128:int64")
    return name, shape


def _read_preprocess(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunoffError(
            f"--preprocess {path}: not readable as TOML: {error}", "fields: resize, crop, interpolation, mean, std"
        ) from error


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str, *words: str) -> list[int | str]:
    found: list[int | str] = []
    for word in _list(text):
        if word not in words and not word.isdecimal():
            raise RunoffError(f"--{option} {text}: {word!r} is not a number", f"write it as --{option} 1,2")
        found.append(word if word in words else int(word))
    if not found:
        raise RunoffError(f"--{option}: no value", f"write it as --{option} 1,2")
    return found


def toml_table(header: str, table: Mapping[str, Any]) -> str:
    """Return a table in TOML, with its `header` in brackets."""
    return "".join([f"{header}\n", *(f"{key} = {_toml(value)}\n" for key, value in table.items())])


def _toml(value: Any) -> str:  # noqa: ANN401 (what a suite holds)
    """Return a value in TOML, whose strings, numbers, booleans and lists are those of JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
