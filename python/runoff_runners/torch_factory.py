"""The function that creates a network without weights: runoff's own, or the user's code."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module

import torch

from runoff_runners.protocol import RunnerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runoff_runners.interfaces import Request


def find_builder(request: Request) -> Callable[[], torch.nn.Module]:
    """Import the function that creates the network without weights; return it, with failures that name it.

    Raises
    ------
    RunnerError
        ``bad-request``: no such function; ``model-unreadable``: importing its module fails.
    """
    name, folder = request["model"].get("builder") or "", request["model"].get("builder_folder")
    module_name, colon, function = name.partition(":")
    if not (module_name and colon and function):
        raise RunnerError("bad-request", f"model.builder: {name!r} is not module:function")
    if folder is not None:
        sys.path.insert(0, folder)
    module = _call(name, lambda: import_module(module_name), is_users=folder is not None)
    builder: Callable[[], torch.nn.Module] | None = getattr(module, function, None)
    if not callable(builder):
        raise RunnerError("bad-request", f"model.builder: module {module_name} has no function {function!r}")

    def build() -> torch.nn.Module:
        network = _call(name, builder, is_users=folder is not None)
        if isinstance(network, torch.nn.Module):
            return network
        raise _broken(name, f"returned {type(network).__name__}, not a torch.nn.Module")

    return build


def _call(name: str, code: Callable[[], object], *, is_users: bool) -> object:
    """Call a part of the builder `name`, which may print; what runoff's own cannot import, the environment lacks."""
    try:
        with redirect_stdout(sys.stderr):
            return code()
    except Exception as error:  # the user's code
        if isinstance(error, ImportError) and not is_users:
            raise
        raise _broken(name, described(error)) from error


def _broken(name: str, reason: str) -> RunnerError:
    hint = "it is called without arguments in the target's environment: check what it imports and returns"
    return RunnerError("model-unreadable", f"model.builder: {name}: {reason}", hint)


def described(error: Exception) -> str:
    """Return the message of an exception in one line, with its type unless that is PyTorch's usual one."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, RuntimeError) else f"{type(error).__name__}: {text}"
