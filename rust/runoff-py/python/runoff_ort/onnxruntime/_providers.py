"""Execution providers, with onnxruntime's names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import runoff_ort

CPU = "CPUExecutionProvider"
# the extension's names, in onnxruntime's order
NAMES = {
    "TensorrtExecutionProvider": "tensorrt",
    "CUDAExecutionProvider": "cuda",
    "CoreMLExecutionProvider": "coreml",
    CPU: "cpu",
}


def available() -> list[str]:
    """Return the providers that can be used on this machine."""
    usable = runoff_ort.providers()
    return [name for name, own in NAMES.items() if own in usable]


def chosen(providers: Any, provider_options: Any) -> dict[str, dict[str, str]]:
    """Return the available providers with their options, in order; warn of the others, as onnxruntime does."""
    here = available()
    found: dict[str, dict[str, str]] = {}
    for name, options in pairs(providers, provider_options):
        if name not in here:
            text = f"Specified provider '{name}' is not in available provider names. Available providers: "
            warnings.warn(text + f"'{', '.join(here)}'", stacklevel=5)
        elif name in found:
            warnings.warn(f"Duplicate provider '{name}' encountered, ignoring.", stacklevel=5)
        else:
            found[name] = {str(key): str(value) for key, value in options.items()}
    return found or {CPU: {}}


def pairs(providers: Any, provider_options: Any) -> list[tuple[str, dict[Any, Any]]]:
    """Return names and options from either way of giving them."""
    names = [] if providers is None else providers
    for name, given in (("providers", names), ("provider_options", provider_options or [])):
        if not isinstance(given, Sequence):
            message = f"{name!r} should be a sequence."
            raise ValueError(message)  # noqa: TRY004 (as onnxruntime)
    if provider_options is None:
        found = [(entry, {}) if isinstance(entry, str) else entry for entry in names]
    elif len(names) == len(provider_options):
        found = list(zip(names, provider_options, strict=True))
    else:
        message = "'providers' and 'provider_options' should be the same length if both are given."
        raise ValueError(message)
    for entry in found:
        match entry:
            case (str(), dict()):
                continue
        message = "'providers' values must be either strings or (string, dict) tuples."
        raise ValueError(message)
    return found


def own(providers: dict[str, dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """Return the argument of `runoff_ort.Session`. The CPU's options mean nothing; it takes all that is left."""
    names = list(providers)
    if CPU in names:
        before = names[: names.index(CPU)]
        return [*((NAMES[name], providers[name]) for name in before), ("cpu", {})]
    return [(NAMES[name], options) for name, options in providers.items()]
