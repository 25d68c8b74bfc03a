"""Runners of ``tools/ways/*.toml``: ``variants.py TARGET WAY... --request FILE --result FILE``.

The target is a built-in one of Python, changed by each `WAY`, a function of this module, before it reads the request.
"""
# The clock is read before anything is imported, and private parts of the runners are changed:
# ruff: noqa: ANN401, E402, SLF001

from time import monotonic_ns

BEGAN_NS = monotonic_ns()

import gc
import os
import sys
from importlib import import_module

PACKAGES = os.path.join(  # noqa: PTH118
    os.path.dirname(sys.executable),  # noqa: PTH120
    *("..", "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages"),
)
if sys.flags.isolated:  # PYTHONPATH is not read
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python"))  # noqa: PTH100, PTH118, PTH120
if sys.flags.no_site:  # the environment's packages are not found
    sys.path.append(PACKAGES)

from runoff_runners.program import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MODULES = {"ort-python": "runoff_runners.target_ort_python", "torch": "runoff_runners.target_torch"}


def module(name: str) -> "Any":
    """Import a module whose private parts are changed."""
    return import_module(name)


def gc_freeze() -> None:
    """Look for reference cycles only among what is made after the imports."""
    gc.disable()
    module(MODULES["ort-python"])
    gc.freeze()
    gc.enable()


def no_package() -> None:
    """Import ONNX Runtime's session and extension module without its package, which checks the system."""
    from types import ModuleType

    package: Any = ModuleType("onnxruntime")
    sys.modules["onnxruntime"] = package
    package.__path__ = [os.path.join(PACKAGES, "onnxruntime")]  # noqa: PTH118
    state = module("onnxruntime.capi._pybind_state")
    vars(package).update({name: value for name, value in vars(state).items() if name[:1] != "_"})
    package.InferenceSession = module("onnxruntime.capi.onnxruntime_inference_collection").InferenceSession
    package.__version__ = state.get_version_string()


def not_mapped() -> None:
    """Read a prepared model instead of mapping it."""
    module(MODULES["ort-python"])._IN_PLACE.clear()


def open_file() -> None:
    """Give Pillow an open file, whose name it does not see, so that it imports five plugins."""
    image = module("runoff_runners.preprocess").Image
    by_path = image.open
    image.open = lambda path, formats: by_path(open(path, "rb"), formats=formats)  # noqa: PTH123, SIM115


def option(change: "Callable[[Any], object]") -> "Callable[[], None]":
    """Return the way that changes the session's options."""

    def way() -> None:
        target = module(MODULES["ort-python"])
        usual = target._options

        def options(request: "Any") -> "Any":
            made = usual(request)
            change(made)
            return made

        target._options = options

    return way


def network(change: "Callable[[Any, Any], Any]") -> "Callable[[], None]":
    """Return the way that changes PyTorch's network after its weights are loaded; `change` gets torch first."""

    def way() -> None:
        target = module(MODULES["torch"])
        usual = target.load_weights
        target.load_weights = lambda *given: change(target.torch, usual(*given))

    return way


def _optimized(torch: "Any", usual: "Any") -> "Any":
    traced = torch.jit.trace(usual, torch.zeros(1, 3, 224, 224))
    return torch.jit.optimize_for_inference(traced)


def _mkldnn(_: "Any", usual: "Any") -> "Any":
    inner = module("torch.utils.mkldnn").to_mkldnn(usual)
    forward = inner.forward
    inner.forward = lambda x: forward(x.to_mkldnn()).to_dense()
    return inner


def entry(key: str, value: str) -> "Callable[[], None]":
    """Return the way that adds an entry to the session's configuration."""
    return option(lambda options: options.add_session_config_entry(key, value))


WAYS: "dict[str, Callable[[], None]]" = {
    "plain": lambda: None,
    "gc-on": gc.enable,
    "gc-off": gc.disable,
    "gc-freeze": gc_freeze,
    "no-package": no_package,
    "not-mapped": not_mapped,
    "open-file": open_file,
    "no-pattern": option(lambda options: setattr(options, "enable_mem_pattern", False)),
    "device-allocator": entry("session.use_device_allocator_for_initializers", "1"),
    "channels-last": network(lambda torch, usual: usual.to(memory_format=torch.channels_last)),
    "fused": network(lambda _, usual: module("torch.fx.experimental.optimization").fuse(usual)),
    "optimized": network(_optimized),
    "mkldnn": network(_mkldnn),
    "compiled": network(lambda torch, usual: torch.compile(usual)),
}


def take_words() -> "list[str]":
    """Remove the runner's own arguments; the protocol's remain."""
    words = []
    while len(sys.argv) > 1 and not sys.argv[1].startswith("--"):
        words.append(sys.argv.pop(1))
    if words[:1] not in ([name] for name in MODULES) or not set(words[1:]) <= WAYS.keys():
        sys.exit(f"usage: variants.py {'|'.join(MODULES)} [{'|'.join(WAYS)}]... --request FILE --result FILE")
    return words


def load_target(words: "list[str]") -> "Any":
    """Return the target named first, changed by the ways named after it."""
    for way in words[1:]:
        WAYS[way]()
    return module(MODULES[words[0]])


if __name__ == "__main__":
    WORDS = take_words()
    sys.exit(main("-".join(WORDS), lambda: load_target(WORDS), BEGAN_NS))
