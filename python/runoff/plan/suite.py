"""Suites: TOML files that define the cases to measure and how."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from runoff import paths
from runoff.plan.options import check_load, check_segment
from runoff.plan.quantities import parse_duration, parse_percent
from runoff.plan.settings import Sweep, sweep
from runoff.probes import PROBES
from runoff.probes.energy import EnergyOptions
from runoff.probes.latency import LatencyOptions
from runoff.probes.load import LoadOptions
from runoff.records.errors import RunoffError, did_you_mean
from runoff.records.protocol import Positive, Preprocess, Settings, Workload

DEFAULT_BASELINES = ("torch", "ort-python")

MAX_LOSS = {"fp16": 0.01, "bf16": 0.05, "int8": 0.1, "int8-static": 0.1}
"""Limits on what a precision may lose, see ``docs/precision.md``."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that becomes part of file names."""


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Matrix(_Table, frozen=True, kw_only=True):
    """Lists; their cross product are the cases. A key missing from a ``[[group]]`` is taken from ``[suite]``."""

    models: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    workloads: tuple[Workload, ...] | None = None
    probes: tuple[str, ...] | None = None
    sweep: Sweep | None = None
    """How lists in the settings are combined: all with all, or one at a time around the first value of each."""


class SuiteTable(Matrix, frozen=True, kw_only=True):
    """``[suite]``."""

    name: Name
    description: str = ""
    workloads: tuple[Workload, ...] | None = ("classify",)
    sweep: Sweep | None = "grid"
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    """Targets that the others are compared with. A comparison without any of them uses its first target."""


class Group(Matrix, frozen=True, kw_only=True):
    """``[[group]]``: a separate cross product."""

    settings: dict[str, Any] = {}
    segment: dict[str, Any] = {}
    """For `segment`: the grid and the filters that differ from the model's, and `example`; lists are swept."""
    load: dict[str, Any] = {}
    """For the probe ``load``: `transport`, `workers`, `max_batch`, `max_wait_us` and `max_queue`; lists are swept."""

    @property
    def precisions(self) -> list[str]:
        """The precisions that are swept."""
        given = self.settings.get("precision", [])
        return given if isinstance(given, list) else [given]


class Measure(_Table, frozen=True, kw_only=True):
    """``[measure]``."""

    blocks: dict[str, Positive] = {}
    """Processes of each case, by probe."""
    latency: LatencyOptions = LatencyOptions()
    energy: EnergyOptions = EnergyOptions()
    load: LoadOptions = LoadOptions()
    timeout_s: Annotated[float, Meta(gt=0)] = 600.0
    """A process that takes longer is killed; its case fails with kind ``timeout``."""
    pause_s: Annotated[float, Meta(ge=0)] = 0.0
    """Pause before each process."""
    precision: str | None = None
    """Sampling ends when every interval is within this of its estimate, such as ``2%``."""
    time: str | None = None
    """Budget of sampling, such as ``10m``: shared by the probes that are sampled."""
    seed: int = 1
    """Of the random order."""
    compressed: bool = False
    """Whether the size of each case on disk is also measured compressed, which takes minutes once for gigabytes."""
    max_loss: dict[str, Annotated[float, Meta(ge=0)]] = {}
    """By precision: largest difference from the model in fp32, relative to the largest output, that is not marked; by
    default, that of `MAX_LOSS`."""

    def stopping_rule(self) -> tuple[float | None, float | None]:
        """Return `precision` as a share and `time` in seconds.

        Raises
        ------
        RunoffError
            If one of them is not a percentage or a duration.
        """
        return parse_percent(self.precision), parse_duration(self.time)


class CustomTarget(_Table, frozen=True, kw_only=True):
    """``[targets.NAME]``: the user's own runner."""

    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    env: dict[str, str] = {}
    environment: str | None = None
    """Built-in target that provides the environment: its variables, and its interpreter for the command ``python``."""


class OwnModel(_Table, frozen=True, kw_only=True):
    """``[models.NAME]``: the user's own model."""

    path: str = ""
    """An ONNX file; a relative path starts at the suite's folder. With a `factory`, it is exported if it is missing."""
    factory: str | None = None
    """``module:function`` that returns the network in PyTorch."""
    program: str | None = None
    """A file of ``torch.export.save``, for the target ``torch-export``; without a `factory`, it is exported to ONNX."""
    example: str | None = None
    """``module:function`` that returns a tensor, or a tuple of the network's inputs. It is called eight times."""
    weights: str | None = None
    """File with a state dict for the network; by default, it has its weights when the factory returns it."""
    python: str | None = None
    """Interpreter with PyTorch and the factory's module; by default, those of runoff."""
    inputs: dict[str, str] = {}
    """By input: its shape, and optionally its dtype, as in ``1,128:int64``. Sizes of free dimensions are guessed."""
    examples: tuple[str, ...] = ()
    """``.npz`` files with an array per input, or ``.npy`` files for a model with one input; images with `preprocess`.
    By default, inputs are generated."""
    preprocess: Preprocess | None = None
    """From an image to the model's input, for the workload `classify`."""
    labels: str | None = None
    """Text file with the label of each class on a line."""
    labelled: str | None = None
    """Labelled images, for the accuracy: a folder with a sub-folder per class, or an ``.npz`` with ``images`` and
    ``labels``. Needs `preprocess`."""
    compare: bool = True
    """Whether outputs are compared; false for a model whose outputs are random."""
    tolerance: Annotated[float, Meta(gt=0)] | None = None
    """Largest difference of outputs, relative to the largest output; by default, derived from the model."""
    versions: dict[Name, str] = {}
    """Other ONNX files with the same inputs and outputs. The target ``ort-python@NAME`` runs the version NAME."""

    @property
    def network(self) -> str:
        """Factory or file of the network in PyTorch; empty if there is none."""
        return self.factory or self.program or ""


class Suite(_Table, frozen=True, kw_only=True):
    """A complete suite file."""

    suite: SuiteTable
    settings: dict[str, Any] = {}
    measure: Measure = Measure()
    targets: dict[Name, CustomTarget] = {}
    models: dict[Name, OwnModel] = {}
    group: tuple[Group, ...] = ()

    @property
    def groups(self) -> list[Group]:
        """The groups, completed with ``[suite]`` and ``[settings]``."""
        return [self._filled(group) for group in self.group or (Group(),)]

    def _filled(self, group: Group) -> Group:
        own = {key: getattr(group, key) for key in Matrix.__struct_fields__ if getattr(group, key) is not None}
        shared = {key: getattr(self.suite, key) for key in Matrix.__struct_fields__}
        return Group(
            **{**shared, **own}, settings={**self.settings, **group.settings}, segment=group.segment, load=group.load
        )

    def names(self, key: Literal["models", "targets"]) -> list[str]:
        """Return all models, or all targets, each once."""
        return list(dict.fromkeys(name for group in self.groups for name in getattr(group, key)))

    def with_stopping_rule(self, precision: str | None, time: str | None) -> Suite:
        """Return the suite with its `precision` and `time` replaced by those that are given."""
        measure = self.measure
        measure = replace(measure, precision=precision or measure.precision, time=time or measure.time)
        measure.stopping_rule()  # bad input is reported before anything is measured
        return replace(self, measure=measure)

    def blocks(self, probe: str) -> int:
        """Return the number of processes of each case in `probe`."""
        return self.measure.blocks.get(probe, PROBES[probe].blocks)


def find_suite(name: str) -> Path:
    """Return the file of a suite, by path or by the name of a built-in one."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise RunoffError(
                f"suite file not found: {name}",
                "pass the path of a TOML file, or a name: runoff list suites",
            )
        return path
    path = paths.suites() / f"{name}.toml"
    if not path.is_file():
        raise RunoffError(
            f"unknown suite {name!r}",
            did_you_mean(name, [file.stem for file in paths.suites().glob("*.toml")]),
        )
    return path


def read_suite(path: Path) -> tuple[Suite, str]:
    """Read a suite and return it with its text.

    Raises
    ------
    RunoffError
        If the file is not TOML, or a key or value is unknown; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunoffError(f"cannot read suite {path}: {error}") from error
    return parse_suite(text, str(path)), text


def parse_suite(text: str, name: str) -> Suite:
    """Return the suite in `text`; `name` is used in messages."""
    try:
        suite = msgspec.convert(tomllib.loads(text), Suite)
    except tomllib.TOMLDecodeError as error:
        raise RunoffError(f"{name} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise RunoffError(f"{name}: {_place(error)}", _field_hint(str(error))) from error
    for group in suite.groups:
        _check_complete(group, name)
        _check_settings(group.settings, name)
        check_segment(group.segment, name)
        check_load(group.load, name)
    for model, own in suite.models.items():
        _check_own(own, f"{name}: [models.{model}]")
    _check_names(suite.measure.blocks, PROBES, f"{name}: [measure.blocks] probe")
    _check_names(suite.measure.max_loss, MAX_LOSS, f"{name}: [measure.max_loss] precision")
    _check_stopping_rule(suite.measure, name)
    targets = [target for group in suite.groups for target in group.targets or ()]
    if suite.suite.baselines != DEFAULT_BASELINES:
        _check_names(suite.suite.baselines, targets, f"{name}: [suite] baseline")
    return suite


def _check_own(own: OwnModel, where: str) -> None:
    if not own.path and not own.network:
        raise RunoffError(f"{where} has no path", 'add for example: path = "model.onnx"')
    if own.labelled and (own.preprocess is None or own.network):
        raise RunoffError(
            f"{where}: labelled needs an ONNX file and its preprocess",
            'add for example: preprocess = { resize = 256, crop = 224, interpolation = "bicubic", '
            "mean = [127, 127, 127], std = [128, 128, 128] }",
        )
    unusable = {
        "inputs": own.factory and own.inputs,
        "examples": own.factory and own.examples,
        "preprocess": own.network and own.preprocess,
    }
    for key in (key for key, value in unusable.items() if value):
        hint = "its example returns them" if own.factory else "it takes the tensors that it was exported with"
        raise RunoffError(f"{where}: {key} cannot be given to a network in PyTorch", f"remove {key}: {hint}")
    if bool(own.factory) != bool(own.example):
        missing = "example" if own.factory else "factory"
        raise RunoffError(f"{where} has no {missing}", 'add for example: example = "package.net:example_inputs"')


def _check_stopping_rule(measure: Measure, name: str) -> None:
    try:
        measure.stopping_rule()
    except RunoffError as error:
        raise RunoffError(f"{name}: [measure] {error.message}", error.hint) from error


def _check_complete(group: Group, name: str) -> None:
    for key in Matrix.__struct_fields__:
        if not getattr(group, key):
            raise RunoffError(f"{name}: [suite] has no {key}", f"add for example: {_EXAMPLES[key]}")
    _check_names(group.probes or (), PROBES, f"{name}: probe")


def _check_settings(settings: dict[str, Any], name: str) -> None:
    _check_names(settings, Settings.__struct_fields__, f"{name}: [settings] key")
    for key, value in settings.items():
        if value == []:
            raise RunoffError(f"{name}: [settings] {key} has no value", "set one, or remove the key")
    try:
        sweep(settings)
    except RunoffError as error:
        raise RunoffError(f"{name}: {error.message}", error.hint) from error


def _check_names(given: Any, known: Any, what: str) -> None:  # noqa: ANN401 (any iterable of names)
    for word in given:
        if word not in known:
            raise RunoffError(f"{what} {word!r} is not known", did_you_mean(word, known))


_EXAMPLES = {
    "models": 'models = ["efficientnet-lite0"]',
    "targets": 'targets = ["torch", "ort-python", "ort-rust"]',
    "workloads": 'workloads = ["classify", "tensor"]',
    "probes": 'probes = ["process", "latency"]',
}

_TABLES = {
    "": Suite,
    "suite": SuiteTable,
    "measure": Measure,
    "measure.latency": LatencyOptions,
    "measure.energy": EnergyOptions,
    "measure.load": LoadOptions,
    "group": Group,
    "targets": CustomTarget,
    "models": OwnModel,
}


def _place(error: msgspec.ValidationError) -> str:
    """Return msgspec's message with its ``$.suite.models[...]`` as ``suite.models``."""
    return re.sub(r"`\$\.?([^`]*)`", lambda match: f"[{match[1]}]" if match[1] else "the top level", str(error))


def _field_hint(message: str) -> str:
    unknown = re.search(r"unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?", message)
    if not unknown:
        return ""
    table = re.sub(r"\[[^\]]*\]", "", unknown[2] or "").removesuffix(".")
    return did_you_mean(unknown[1], _TABLES.get(table, Suite).__struct_fields__)
