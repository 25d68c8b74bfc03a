"""tract as used from Python, on one thread. It runs in the environment `tract`, without the rest of this package."""

from __future__ import annotations

import tract
from tract.bindings import TractError

from runoff_runners.measure import carry_out
from runoff_runners.model import NUMBERS, check_cpu, check_inputs, input_shapes, mismatch, model_path, unreadable
from runoff_runners.process import mapped_library
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runoff_runners.interfaces import Feed, Fields, Marks, Request, Shapes, Spec, TensorSpec

PREPARES = "nnef"
FORMATS: tuple[str, ...] = ("onnx", PREPARES)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns")
SETTINGS: tuple[str, ...] = ("threads", "teardown", "prepared", "overlap")
MOST_THREADS = 1
"""The wheel is built without threads."""
_KINDS = {"f": "float", "i": "int", "u": "uint"}
"""First letters of tract's names of types, as in f32."""
_MISSING = ("Unimplemented", "unimplemented", "Unsupported", "unsupported", "Failed analyse for node")


def capabilities() -> Fields:
    """Return the capabilities of this build of tract on this machine."""
    return {**_runtime(), "library": _library(), "providers": ["cpu"]}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, lambda: _Session(request))


def prepared_key(spec: Spec) -> Fields:
    """Return what an NNEF file depends on, except the model's file; it is the same on every CPU."""
    shapes = [one["shape"] for one in spec["inputs"]]
    return {
        "runtime": tract.version(),
        "shapes": shapes,
        "batch": spec["batch"],
        "provider": "cpu",
        "precision": "fp32",
    }


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Write the ONNX file `model` as NNEF for the shapes of `spec`, with what tract simplified.

    Raises
    ------
    RunnerError
        ``model-unreadable``, ``model-mismatch``.
    """
    try:
        read = tract.onnx().load(model)
        places = {read.input_name(place): place for place in range(read.input_count())}
        for one in spec["inputs"]:
            if one["name"] not in places:
                raise mismatch(f"--spec: names the input {one['name']!r}; {model} has {', '.join(places)}")
            read.set_input_fact(places[one["name"]], _fact(one["shape"], one["dtype"]))
        _nnef().write_model_to_tar(read.into_model(), path)
    except TractError as error:
        raise RunnerError("model-unreadable", f"{model} cannot be written as NNEF: {one_line(error)}") from error


class _Session:
    """A model in tract, ready to run for each set of input shapes of the request."""

    def __init__(self, request: Request) -> None:
        check_cpu(request, "tract computes on the CPU in this runner")
        self._outputs = [spec["name"] for spec in request["model"]["outputs"]]
        self._by_shapes: dict[Shapes, Any] = {}
        path = model_path(request)
        try:
            for shapes in input_shapes(request):
                # a call of the runnable would make a state each time
                self._by_shapes[shapes] = self._model(path, request, shapes).into_runnable().spawn_state()
        except TractError as error:
            raise _failure(request, error) from error

    def _model(self, path: str, request: Request, shapes: Shapes) -> Any:  # noqa: ANN401 (a tract.Model)
        """Return the model, for inputs of these shapes."""
        if request["model"]["format"] == PREPARES:
            model = _nnef().load(path)
            self._check(model, request)
            found = tuple(tuple(map(int, model.input_fact(place).dims())) for place in self._places)
            if found != shapes:
                raise mismatch(f"model.path: was prepared for the shapes {found}; the request has {shapes}")
            return model
        read = tract.onnx().load(path)
        self._check(read, request)
        for place, shape, spec in zip(self._places, shapes, request["model"]["inputs"], strict=True):
            read.set_input_fact(place, _fact(shape, spec["dtype"]))
        return read.into_model()

    def _check(self, model: Any, request: Request) -> None:  # noqa: ANN401 (a model of tract)
        """Check inputs and outputs against the request; keep the places of the inputs in the request's order."""
        inputs = [_spec(model.input_name(n), model.input_fact(n).dump()) for n in range(model.input_count())]
        check_inputs(inputs, request, NUMBERS)
        places = {spec["name"]: place for place, spec in enumerate(inputs)}
        self._places = [places[spec["name"]] for spec in request["model"]["inputs"]]
        # tract names nodes, not their outputs
        if len(self._outputs) != model.output_count():
            names = ", ".join(self._outputs) or "nothing"
            raise mismatch(f"model.outputs: names {names}; tract gives all {model.output_count()}, without names")

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        arrays = list(feed.values())
        ready = self._by_shapes[tuple(array.shape for array in arrays)]
        in_order = [array for _, array in sorted(zip(self._places, arrays, strict=True), key=lambda pair: pair[0])]
        try:
            found = ready.run(in_order)
            return {name: tensor.to_numpy() for name, tensor in zip(self._outputs, found, strict=True)}
        except TractError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error

    def effective(self) -> Fields:
        """Return the settings in effect."""
        return {**_runtime(), "language": "python", "provider": "cpu", "threads": MOST_THREADS, "library": _library()}


def _nnef() -> tract.Nnef:
    """Return the reader and writer of NNEF, with tract's extensions for what ONNX has and NNEF does not."""
    return tract.nnef().with_onnx().with_tract_extra().with_tract_transformers()


def _fact(shape: tuple[int, ...] | list[int | None], dtype: str) -> str:
    """Return shape and type as tract writes them: ``1,3,224,224,f32``."""
    kind = dtype.rstrip("0123456789")
    short = kind if dtype == "bool" else f"{kind[0]}{dtype[len(kind) :]}"
    return ",".join((*map(str, shape), short))


def _spec(name: str, fact: str) -> TensorSpec:
    """Return an input in the protocol's form, from tract's ``batch,3,224,224,f32``; a ``..`` stands for any rank."""
    *sizes, short = fact.lower().split(",")
    known = [] if ".." in sizes else [int(size) if size.isdigit() else None for size in sizes]
    digits = short[1:]
    dtype = f"{_KINDS.get(short[0], short[0])}{digits}" if digits.isdigit() else short
    return {"name": name, "dtype": dtype, "shape": known}


def _failure(request: Request, error: TractError) -> RunnerError:
    """Return the failure: an operator that tract does not have, or an invalid file."""
    reason = " ".join(str(error).partition("Stack backtrace")[0].split())[:500]
    if any(word in reason for word in _MISSING):
        return RunnerError("model-unsupported", f"tract cannot run this model: {reason}", "use the target ort-python")
    return unreadable(request, reason)


def _library() -> str | None:
    return mapped_library("tract.")


def _runtime() -> Fields:
    """Return the name and version of tract."""
    return {"runtime": "tract", "version": tract.version(), "build": "wheel, without threads"}
