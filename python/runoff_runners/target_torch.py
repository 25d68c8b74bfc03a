"""PyTorch as its users call it: eager from a state dict (``pt``), or a program saved by ``torch.export`` (``pt2``)."""

from __future__ import annotations

from importlib import import_module
from zipfile import is_zipfile

import torch

from runoff_runners.measure import begin_ahead, measure, pillow_images
from runoff_runners.model import check_inputs, mismatch, model_path, unreadable
from runoff_runners.protocol import RunnerError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Array, Feed, Fields, Marks, Request, Settings, TensorSpec

FORMATS: tuple[str, ...] = ("pt", "pt2")
MEASURES: tuple[str, ...] = ("once", "latency", "accuracy", "turns")
SETTINGS: tuple[str, ...] = ("threads", "inter_threads", "teardown", "overlap")


def capabilities() -> Fields:
    """Return what this build of PyTorch can do on this machine."""
    return {**_runtime(), "providers": [name for name in ("cpu", "cuda", "mps") if _is_available(name)]}


def perform(request: Request, phases: Marks) -> Fields:
    """Do what the request asks; return the fields of the result that come from it."""
    builder = _find_builder(request) if request["model"]["format"] == "pt" else None
    images = pillow_images(request)
    phases.end("imports")
    # not earlier: imports hold the interpreter's lock, and a thread that wants it only slows them
    ahead = begin_ahead(request, images)
    session = _Session(request, builder)
    phases.end("load")
    return measure(request, session, images, phases, ahead)


class _Session:
    """A network with its weights, on its device, in evaluation mode."""

    def __init__(self, request: Request, builder: Callable[[], torch.nn.Module] | None) -> None:
        settings = request["settings"]
        device = settings["provider"]
        if not _is_available(device):
            known = ", ".join(capabilities()["providers"])
            message = f"settings.provider: {device!r} is not available to this PyTorch (it has: {known})"
            raise RunnerError("provider-unavailable", message, 'set provider = "cpu"')
        _set_threads(settings)
        path = model_path(request)
        network = _load_program(path, request) if builder is None else _load_weights(path, request, builder)
        self._network = network.to(device)
        self._device = device
        self._outputs = [spec["name"] for spec in request["model"]["outputs"]]
        _synchronize(device)

    def run(self, feed: Feed) -> Feed:
        """Run the network once; copies to and from a device are part of it."""
        try:
            with torch.inference_mode():
                answer = self._network(*(torch.from_numpy(array).to(self._device) for array in feed.values()))
                outputs = _arrays(answer)
        except RuntimeError as error:
            raise RunnerError("runtime-failed", one_line(error)) from error
        if len(outputs) != len(self._outputs):
            message = f"model.outputs: names {', '.join(self._outputs)}; the network gives {len(outputs)}"
            raise mismatch(message)
        return dict(zip(self._outputs, outputs, strict=True))

    def effective(self) -> Fields:
        """Return what is in effect, read back."""
        first = next(self._network.parameters(), None)
        provider = None if first is None else first.device.type
        threads = torch.get_num_threads()
        return {**_runtime(), "language": "python", "provider": provider, "threads": threads}


def _runtime() -> Fields:
    """Return which PyTorch this is."""
    build = f"git {torch.version.git_version}, CUDA {torch.version.cuda or 'none'}"
    return {"runtime": "torch", "version": torch.__version__, "build": build}


def _is_available(provider: str) -> bool:
    """Return whether PyTorch can use the device here."""
    if provider == "cuda":
        return bool(torch.cuda.is_available())
    if provider == "mps":
        return bool(torch.backends.mps.is_available())
    return provider == "cpu"


def _set_threads(settings: Settings) -> None:
    torch.set_num_threads(settings["threads"])
    if settings["inter_threads"] is not None:
        torch.set_num_interop_threads(settings["inter_threads"])


def _find_builder(request: Request) -> Callable[[], torch.nn.Module]:
    """Import the function that makes the network without weights."""
    name = request["model"].get("builder") or ""
    module_name, colon, function = name.partition(":")
    if not (module_name and colon and function):
        raise RunnerError("bad-request", f"model.builder: {name!r} is not module:function")
    builder: Callable[[], torch.nn.Module] | None = getattr(import_module(module_name), function, None)
    if not callable(builder):
        raise RunnerError("bad-request", f"model.builder: module {module_name} has no function {function!r}")
    return builder


def _load_weights(path: str, request: Request, builder: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Make the network and fill it with the state dict in `path`."""
    network = builder()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a broken archive raises whatever its reader stumbles over
        raise unreadable(request, one_line(error)) from error
    return network.eval()


def _load_program(path: str, request: Request) -> torch.nn.Module:
    """Load the exported program in `path`."""
    # Of anything else PyTorch would print a traceback before it raises.
    if not is_zipfile(path):
        raise unreadable(request, "it is not a whole zip archive")
    try:
        program = torch.export.load(path)
    except Exception as error:  # a broken archive raises whatever its reader stumbles over
        raise unreadable(request, one_line(error)) from error
    _check_program(program, request)
    network: torch.nn.Module = program.module()
    return network


def _check_program(program: torch.export.ExportedProgram, request: Request) -> None:
    """Check dtypes and shapes of the program's inputs; it takes them by position, so names do not matter."""
    names = program.graph_signature.user_inputs
    examples = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    asked = request["model"]["inputs"]
    if len(names) != len(asked):
        raise mismatch(f"model.inputs: {len(asked)} named; the program takes {len(names)}")
    pairs = zip(asked, names, strict=True)
    check_inputs([_spec(spec["name"], examples[name]) for spec, name in pairs], request)


def _spec(name: str, example: torch.Tensor) -> TensorSpec:
    """Return an input of an exported program as the protocol says it; symbolic sizes are dynamic."""
    shape = [size if isinstance(size, int) else None for size in example.shape]
    return {"name": name, "dtype": str(example.dtype).removeprefix("torch."), "shape": shape}


def _synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _arrays(answer: torch.Tensor | dict[str, torch.Tensor] | tuple[torch.Tensor, ...]) -> list[Array]:
    """Return what the network answered as arrays on the CPU."""
    if isinstance(answer, torch.Tensor):
        answer = (answer,)
    elif isinstance(answer, dict):
        answer = tuple(answer.values())
    return [tensor.cpu().numpy() for tensor in answer]
