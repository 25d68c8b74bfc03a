"""PyTorch: eager mode with a state dict (``pt``), or a program saved by ``torch.export`` (``pt2``)."""

from __future__ import annotations

from time import monotonic_ns
from zipfile import is_zipfile

import numpy as np
import torch

from runoff_runners.measure import carry_out
from runoff_runners.model import (
    BFLOAT16,
    NUMBERS,
    check_inputs,
    mismatch,
    model_path,
    rows_are_batch,
    unreadable,
    unsupported,
)
from runoff_runners.protocol import RunnerError, one_line
from runoff_runners.tensors import BITS
from runoff_runners.torch_factory import described, find_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runoff_runners.interfaces import Array, Feed, Fields, Marks, ModelFile, Request, Settings, TensorSpec
    from runoff_runners.torch_profile import Profile

FORMATS: tuple[str, ...] = ("pt", "pt2")
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns", "operators", "mappings", "load")
WORKLOADS = ("classify", "tensor", "segment")
SETTINGS: tuple[str, ...] = ("threads", "inter_threads", "teardown", "overlap")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")

_DEVICES = {"cpu": "cpu", "cuda": "cuda", "mps": "mps"}
"""PyTorch's name for the device of each provider."""
_FLOAT32 = {"highest": "fp32", "high": "tf32", "medium": "bf16"}
"""The precision of products of float32 matrices, by PyTorch's name."""


def capabilities() -> Fields:
    """Return the capabilities of this build of PyTorch on this machine."""
    providers = [name for name in _DEVICES if _is_available(name)]
    return {
        **_runtime(),
        "providers": providers,
        "lacking": {} if "cuda" in providers else {"cuda": _cuda_unavailable_reason()},
    }


def perform(request: Request, phases: Marks) -> Fields:
    """Carry out the request; return the target's fields of the result."""
    builder = find_builder(request) if request["model"]["format"] == "pt" else None
    kind: type[Session] = _CudaSession if request["settings"]["provider"] == "cuda" else Session
    if request["workload"] == "segment":
        import runoff_runners.segment_torch  # noqa: F401 (in the phase of the imports)

        kind = _SegmentSession
    return carry_out(request, phases, lambda: kind(request, builder))


class Session:
    """A network with its weights, on its device, in evaluation mode."""

    folder = False
    """Whether the model is a folder."""

    def __init__(self, request: Request, builder: Callable[[], torch.nn.Module] | None) -> None:
        settings = request["settings"]
        provider = settings["provider"]
        if not _is_available(provider):
            raise _unavailable(provider)
        _set_threads(settings)
        _check_dtypes(request["model"])
        self._code = request["model"].get("builder") or "the exported program"
        self._settings = settings
        self._device = _DEVICES[provider]
        self._network = self._moved(self._load(model_path(request, folder=self.folder), request, builder))
        if settings["precision"] != "fp32":
            from runoff_runners.torch_precision import reduced

            self._network = reduced(self._network, settings, self._called(self._network))
        is_whole = settings["precision"] == "fp32" and provider == "cpu"
        self._precision = _FLOAT32[torch.get_float32_matmul_precision()] if is_whole else None
        self._outputs = [spec["name"] for spec in request["model"]["outputs"]]
        # NumPy has no bfloat16: its bits are passed
        self._tensor = _tensor if _has_bfloat16(request["model"]["inputs"]) else torch.from_numpy
        self._array = _array if _has_bfloat16(request["model"]["outputs"]) else torch.Tensor.numpy
        self._profile: Profile | None = None
        if request["measure"]["kind"] == "operators":
            from runoff_runners.torch_profile import Profile

            self._profile = Profile(provider, f"{request['outputs_dir']}/profile.json")
        if provider == "mps":
            torch.mps.synchronize()

    def _load(self, path: str, request: Request, builder: Callable[[], torch.nn.Module] | None) -> torch.nn.Module:
        """Return the network in the file `path`; only weights need a `builder`."""
        return _load_program(path, request) if builder is None else load_weights(path, request, builder)

    def _called(self, network: torch.nn.Module) -> Iterable[torch.nn.Module]:
        """Return the modules that are called from outside."""
        return (network,)

    def _moved(self, network: torch.nn.Module) -> torch.nn.Module:
        """Move the network to the device; return it when the copy is done."""
        try:
            return network.to(self._device)
        except RuntimeError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error

    def run(self, feed: Feed) -> Feed:
        """Run the network once, including copies to and from the device."""
        try:
            with torch.inference_mode():
                tensors = [self._tensor(array).to(self._device) for array in feed.values()]
                answer = self._profile.run(self._network, tensors) if self._profile else self._network(*tensors)
                outputs = self._arrays(answer)
        except Exception as error:  # the network may be the user's code
            raise self._failed(error) from error
        return self._named(outputs)

    def _arrays(self, answer: object) -> list[Array]:
        """Return the outputs of the network as arrays on the CPU."""
        if isinstance(answer, torch.Tensor):
            answer = (answer,)
        elif isinstance(answer, dict):
            answer = tuple(answer.values())
        elif not isinstance(answer, (tuple, list)):
            answer = (answer,)
        try:
            return [self._array(tensor.cpu()) for tensor in answer]
        except AttributeError:
            for place, value in enumerate(answer):
                if not isinstance(value, torch.Tensor):
                    name = self._outputs[place] if place < len(self._outputs) else f"number {place + 1}"
                    raise unsupported("output", name, type(value).__name__) from None
            raise

    def _named(self, outputs: list[Array]) -> Feed:
        if len(outputs) != len(self._outputs):
            names = ", ".join(self._outputs) or "nothing"
            raise mismatch(f"model.outputs: names {names}; the network gives {len(outputs)}")
        return dict(zip(self._outputs, outputs, strict=True))

    def _failed(self, error: Exception) -> RunnerError:
        if isinstance(error, RunnerError):
            return error
        return RunnerError("runtime-failed", f"{self._code}: {described(error)}", "run it in the target's environment")

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        found = {"language": "python", "provider": self._provider(), "threads": torch.get_num_threads()}
        return {**_runtime(), **found, "precision": self._precision}

    def end_profile(self) -> str:
        """Return the path of the profile of all inferences."""
        profile: Profile = self._profile  # type: ignore[assignment]  # only requested with the measure
        return profile.write()

    def _provider(self) -> str | None:
        """Return the device that has the network."""
        first = next(self._network.parameters(), None)
        return None if first is None else first.device.type


class _SegmentSession(Session):
    """A promptable network, as segment_anything uses it."""

    def __init__(self, request: Request, builder: Callable[[], torch.nn.Module] | None) -> None:
        from runoff_runners.segment_torch import TorchSegmenter

        if builder is None:
            raise mismatch("model.format: a promptable network has no exported program; use 'pt'")
        super().__init__(request, builder)
        wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(self._device)
        self._segmenter = TorchSegmenter(request["segment"], self._network, wait)
        self.parts = self._segmenter.parts

    def _called(self, network: torch.nn.Module) -> Iterable[torch.nn.Module]:
        return tuple(network.children())

    @property
    def segmentation(self) -> Fields:
        """The masks of the latest picture."""
        return self._segmenter.segmentation

    def run(self, feed: Feed) -> Feed:
        """Segment one picture."""
        (picture,) = feed.values()
        try:
            return self._segmenter.run(picture)  # type: ignore[arg-type]  # of this workload, feeds are pictures
        except Exception as error:  # the network may be the user's code
            raise self._failed(error) from error


class _CudaSession(Session):
    """A network on an NVIDIA GPU, with input buffers on the GPU. Copies and computation are timed separately."""

    def __init__(self, request: Request, builder: Callable[[], torch.nn.Module] | None) -> None:
        # Keep full float32: by default, convolutions use TF32, with 10 bits of mantissa instead of 23. These are the
        # older names: after setting torch.backends.fp32_precision, parts of PyTorch that still read them raise
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        super().__init__(request, builder)
        self.parts: dict[str, list[int]] = {"copy_in": [], "compute": [], "copy_out": []}
        self._buffers: list[torch.Tensor] = []
        try:
            torch.cuda.synchronize()
            self._allocate_ahead(request)
        except RuntimeError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error

    def _allocate_ahead(self, request: Request) -> None:
        """Allocate the buffers before the first inference if all dimensions except the batch are known."""
        batch, has_rows = [request["settings"]["batch"]], rows_are_batch(request)
        specs = request["model"]["inputs"]
        shapes = [[*batch, *spec["shape"][1:]] if has_rows else spec["shape"] for spec in specs]
        if all(None not in shape for shape in shapes):
            dtypes = [getattr(torch, spec["dtype"]) for spec in specs]
            self._allocate(
                [torch.empty(kind, dtype=dtype, device="meta") for kind, dtype in zip(shapes, dtypes, strict=True)]
            )

    def run(self, feed: Feed) -> Feed:
        """Run the network once, with host arrays as inputs and outputs; the GPU is idle when this returns."""
        try:
            with torch.inference_mode():
                outputs = self._timed(feed)
        except Exception as error:  # as above
            raise self._failed(error) from error
        return self._named(outputs)

    def effective(self) -> Fields:
        """Return the settings in effect, as read back."""
        from runoff_runners.cuda_driver import described

        return {**super().effective(), "device": described(torch.cuda.get_device_name(0))}

    def _timed(self, feed: Feed) -> list[Array]:
        began = monotonic_ns()
        arrays = [self._tensor(array) for array in feed.values()]
        if [buffer.shape for buffer in self._buffers] != [array.shape for array in arrays]:
            self._allocate(arrays)
        for buffer, array in zip(self._buffers, arrays, strict=True):
            buffer.copy_(array)
        torch.cuda.synchronize()
        copied = monotonic_ns()
        answer = self._network(*self._buffers)
        # the call only queues kernels
        torch.cuda.synchronize()
        computed = monotonic_ns()
        outputs = self._arrays(answer)
        done = monotonic_ns()
        for name, took in zip(self.parts, (copied - began, computed - copied, done - computed), strict=True):
            self.parts[name].append(took)
        return outputs

    def _allocate(self, arrays: list[torch.Tensor]) -> None:
        """Allocate a buffer on the GPU for each input; buffers are reused until shapes change."""
        self._buffers = [torch.empty(array.shape, dtype=array.dtype, device=self._device) for array in arrays]


def _unavailable(device: str) -> RunnerError:
    """Return the failure for a device that is unavailable to PyTorch on this machine."""
    if device == "cuda":
        from runoff_runners.cuda_driver import HINT

        message = f"settings.provider: {device!r} cannot be used: {_cuda_unavailable_reason()}"
        return RunnerError("provider-unavailable", message, HINT)
    known = ", ".join(capabilities()["providers"])
    message = f"settings.provider: {device!r} is not available to this PyTorch (it has: {known})"
    return RunnerError("provider-unavailable", message, 'set provider = "cpu"')


def _cuda_unavailable_reason() -> str:
    """Return why PyTorch cannot use CUDA on this machine."""
    from runoff_runners.cuda_driver import unavailable_reason

    if torch.version.cuda is None:
        return "this build of PyTorch has no CUDA"
    missing = unavailable_reason(torch.version.cuda)
    if missing:
        return missing
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        return one_line(error)
    return "the driver has a GPU, and PyTorch finds none"


def _runtime() -> Fields:
    """Return the name, version and build of PyTorch."""
    build = f"git {torch.version.git_version}, CUDA {torch.version.cuda or 'none'}"
    return {"runtime": "torch", "version": torch.__version__, "build": build}


def _is_available(provider: str) -> bool:
    """Return whether the provider's device is available to PyTorch on this machine."""
    if provider == "cuda":
        return bool(torch.cuda.is_available())
    if provider == "mps":
        return bool(torch.backends.mps.is_available())
    return provider == "cpu"


def _set_threads(settings: Settings) -> None:
    torch.set_num_threads(settings["threads"])
    if settings["inter_threads"] is not None:
        torch.set_num_interop_threads(settings["inter_threads"])


def _check_dtypes(model: ModelFile) -> None:
    """Check that PyTorch and a tensor's file have the dtypes of the model."""
    for what, specs in (("input", model["inputs"]), ("output", model["outputs"])):
        for spec in specs:
            if spec["dtype"] not in NUMBERS and spec["dtype"] != BFLOAT16:
                raise unsupported(what, spec["name"], spec["dtype"])


def _has_bfloat16(specs: list[TensorSpec]) -> bool:
    return BFLOAT16 in {spec["dtype"] for spec in specs}


def _tensor(array: Array) -> torch.Tensor:
    """Return a tensor over `array`, whose `BITS` are bfloat16."""
    if array.dtype == BITS:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: torch.Tensor) -> Array:
    """Return an array over `tensor`, with `BITS` for bfloat16."""
    is_bfloat16 = tensor.dtype == torch.bfloat16
    array: Array = (tensor.view(torch.uint16) if is_bfloat16 else tensor).numpy()
    return array.view(BITS) if is_bfloat16 else array


def load_weights(path: str, request: Request, builder: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Create the network with the state dict in `path`; with `prepared`, the file is mapped and used in place."""
    in_place = request["settings"]["prepared"] is True
    network = (_without_values(builder) if in_place else None) or builder()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=in_place)
        if in_place:  # assigned tensors are not converted, as copied ones are
            dtypes = {name: tensor.dtype for name, tensor in network.state_dict().items()}
            weights = {name: tensor.to(dtypes.get(name, tensor.dtype)) for name, tensor in weights.items()}
        network.load_state_dict(weights, assign=in_place)
    except Exception as error:  # a damaged archive raises all kinds of exceptions
        raise unreadable(request, " ".join(str(error).split())[:500]) from error
    return network.eval()


def _without_values(builder: Callable[[], torch.nn.Module]) -> torch.nn.Module | None:
    """Return the network without initial values; None if it needs tensors that are not in its state dict."""
    try:
        with torch.device("meta"):
            network = builder()
    except RunnerError:  # most likely the constructor reads a value, and meta tensors have none
        return None
    held = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    found = (tensor for module in network.modules() for value in vars(module).values() for tensor in _tensors(value))
    return network if all(id(tensor) in held for tensor in found) else None


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors in an attribute of a module: parameters and buffers are in dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _load_program(path: str, request: Request) -> torch.nn.Module:
    """Load the exported program in `path`."""
    # For any other file, PyTorch would print a traceback before it raises.
    if not is_zipfile(path):
        raise unreadable(request, "it is not a whole zip archive")
    try:
        program = torch.export.load(path)
    except Exception as error:  # a damaged archive raises all kinds of exceptions
        raise unreadable(request, one_line(error)) from error
    _check_program(program, request)
    device = _DEVICES[request["settings"]["provider"]]
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        # moving only the module would leave tensors created by its operations on the CPU
        try:
            program = move_to_device_pass(program, device)
        except RuntimeError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error
    network: torch.nn.Module = program.module()
    return network


def _check_program(program: torch.export.ExportedProgram, request: Request) -> None:
    """Check dtypes and shapes of the program's inputs; they are positional, so names do not matter."""
    names = program.graph_signature.user_inputs
    examples = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    wanted = request["model"]["inputs"]
    if len(names) != len(wanted):
        raise mismatch(f"model.inputs: {len(wanted)} named; the program takes {len(names)}")
    pairs = zip(wanted, names, strict=True)
    check_inputs([_spec(spec["name"], examples[name]) for spec, name in pairs], request)


def _spec(name: str, example: torch.Tensor) -> TensorSpec:
    """Convert an input of an exported program to the protocol's form; symbolic sizes are dynamic."""
    shape = [size if isinstance(size, int) else None for size in example.shape]
    return {"name": name, "dtype": str(example.dtype).removeprefix("torch."), "shape": shape}
