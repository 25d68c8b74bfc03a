"""LiteRT as used from Python: a converted network in TensorFlow Lite's format, on the CPU by XNNPACK.

https://ai.google.dev/edge/litert/next/python
"""

from __future__ import annotations

from importlib.metadata import version

from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options

from runoff_runners.measure import carry_out
from runoff_runners.model import NUMBERS, check_cpu, check_inputs, mismatch, model_path, unreadable
from runoff_runners.process import mapped_library
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runoff_runners.interfaces import Feed, Fields, Marks, Request, Spec, TensorSpec

PREPARES = "tflite"
FORMATS: tuple[str, ...] = (PREPARES,)
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "mappings")
SETTINGS: tuple[str, ...] = ("threads", "teardown", "prepared", "overlap")
_SIGNATURE = 0
"""The only one of a converted network."""


def capabilities() -> Fields:
    """Return the capabilities of this build of LiteRT on this machine."""
    return {**_runtime(), "library": _library(), "providers": ["cpu"]}


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    return carry_out(request, phases, lambda: _Session(request))


def prepared_key(spec: Spec) -> Fields:
    """Return what a converted network depends on, except its weights; it is the same on every CPU."""
    from runoff_runners.torch_compiled import network_key

    return {**network_key(spec), "converter": version("litert-torch")}


def write_prepared(model: str, path: str, spec: Spec) -> None:
    """Convert the network with the weights in the file `model`, and write it to `path`.

    Raises
    ------
    RunnerError
        ``bad-request``, ``model-unreadable``, ``model-unsupported``.
    """
    import litert_torch

    from runoff_runners.torch_compiled import cannot_compile, network_of

    network, examples = network_of(model, spec)
    try:
        litert_torch.convert(network, examples).export(path)
    except Exception as error:  # the network may be the user's code
        raise cannot_compile(model, error) from error


class _Session:
    """A compiled model with its buffers."""

    def __init__(self, request: Request) -> None:
        check_cpu(request, "this runner uses LiteRT on the CPU")
        self._threads = request["settings"]["threads"]
        path = model_path(request)
        # the weights as XNNPACK packs them; the first process, which checks the outputs, writes the file
        cache = f"{path}.{version('ai-edge-litert')}.xnnpack" if request["settings"]["prepared"] else ""
        try:
            cpu = CpuOptions(num_threads=self._threads, xnnpack_weight_cache_path=cache)
            self._model = CompiledModel.from_file(path, options=Options(cpu_options=cpu))
            signature = self._model.get_signature_by_index(_SIGNATURE)
            inputs = self._model.get_input_tensor_details(signature["key"])
            outputs = self._model.get_output_tensor_details(signature["key"])
            self._inputs = self._model.create_input_buffers(_SIGNATURE)
            self._outputs = self._model.create_output_buffers(_SIGNATURE)
        except (RuntimeError, ValueError) as error:
            raise unreadable(request, one_line(error)) from error
        # a converted network has numbers for names: inputs and outputs are in its order
        wanted = request["model"]["inputs"]
        if len(signature["inputs"]) != len(wanted):
            raise mismatch(f"model.inputs: {len(wanted)} named; the network takes {len(signature['inputs'])}")
        found = zip(wanted, signature["inputs"], strict=True)
        check_inputs([_spec(spec["name"], inputs[name]) for spec, name in found], request, NUMBERS)
        self._names = [spec["name"] for spec in request["model"]["outputs"]]
        if len(self._names) != len(self._outputs):
            named = ", ".join(self._names) or "nothing"
            raise mismatch(f"model.outputs: names {named}; the network gives {len(self._outputs)}")
        self._specs = [_spec(name, outputs[name]) for name in signature["outputs"]]

    def run(self, feed: Feed) -> Feed:
        """Run the model once."""
        try:
            for buffer, array in zip(self._inputs, feed.values(), strict=True):
                buffer.write(array)
            self._model.run_by_index(_SIGNATURE, self._inputs, self._outputs)
            return {
                name: buffer.read(_elements(spec), spec["dtype"]).reshape(spec["shape"])
                for name, buffer, spec in zip(self._names, self._outputs, self._specs, strict=True)
            }
        except (RuntimeError, ValueError) as error:
            raise RunnerError("runtime-failed", one_line(error)) from error

    def effective(self) -> Fields:
        """Return the settings in effect; whether XNNPACK computes every operation is part of the build."""
        whole = "every operation" if self._model.is_fully_accelerated() else "not every operation"
        found = {"language": "python", "provider": "cpu", "threads": self._threads, "library": _library()}
        return {**_runtime(), **found, "build": f"{whole} by XNNPACK"}


def _elements(spec: TensorSpec) -> int:
    count = 1
    for size in spec["shape"]:
        count *= size or 0
    return count


def _spec(name: str, details: dict[str, Any]) -> TensorSpec:
    """Return an input or output in the protocol's form."""
    dtype = details["dtype"]
    return {
        "name": name,
        "dtype": getattr(dtype, "__name__", None) or str(dtype),
        "shape": [int(size) if size >= 0 else None for size in details["shape"]],
    }


def _library() -> str | None:
    return mapped_library("libLiteRt.")


def _runtime() -> Fields:
    """Return the name and version of LiteRT."""
    return {"runtime": "litert", "version": version("ai-edge-litert")}
