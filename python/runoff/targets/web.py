"""ONNX Runtime in JavaScript: Web, in a page of Chromium and in Node.js, and Node.js's own package.

The names say what computes.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runoff import paths
from runoff.plan.target import Target
from runoff.records.reason import Reason
from runoff.targets.base import no_environment

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = "web"
TOLERANCE = 1e-5
"""A wrong kernel may still give the right label, as one of WebGL's does. WebAssembly differs by 2e-6."""
_CHROMIUM = "RUNOFF_CHROMIUM"
# Debian's program on the PATH is a script that adds options
_PLACES = ("/usr/lib/chromium/chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROVIDERS = {
    "ort-web-wasm": None,
    "ort-web-webgpu": "webgpu",
    "ort-web-webgpu-jsep": "webgpu",
    "ort-web-webgl": "webgl",
    "ort-web-webnn": "webnn",
}
"""By target, the provider that it computes on if that is not the CPU."""


def web_target(name: str) -> Target:
    """Return a target in Chromium, which the system has to have."""
    target, browser = _target(name, PROVIDERS[name]), chromium()
    if browser is None:
        reason = Reason("not-installed", "Chromium not found", f"run: apt install chromium, or set {_CHROMIUM}=PATH")
        return target if target.missing else replace(target, missing=reason)
    return replace(target, env={**target.env, _CHROMIUM: browser})


def ort_node_wasm() -> Target:
    """Return the target in Node.js, without a browser."""
    return _target("ort-node-wasm", None)


def ort_node() -> Target:
    """Return the target on the native library of ``onnxruntime-node``, with the usual tolerance of such libraries."""
    return replace(_target("ort-node", None), tolerance=None)


WEB_TARGETS: dict[str, Callable[[], Target]] = {
    **{name: partial(web_target, name) for name in PROVIDERS},
    "ort-node-wasm": ort_node_wasm,
    "ort-node": ort_node,
}


def chromium() -> str | None:
    """Return the path of Chromium: ``RUNOFF_CHROMIUM``, else where systems install it, else a program on the PATH."""
    chosen = os.environ.get(_CHROMIUM)
    found = (shutil.which(chosen),) if chosen else (*map(shutil.which, _PLACES), *map(shutil.which, _NAMES))
    return next((path for path in found if path), None)


def _target(name: str, provider: str | None) -> Target:
    folder = paths.environments() / ENVIRONMENT
    node, modules = paths.node(folder), folder / "web" / "node_modules"
    return Target(
        name=name,
        command=(str(node), str(paths.web() / "runner" / "main.mjs"), name),
        env={"RUNOFF_WEB_MODULES": str(modules)},
        environments=(ENVIRONMENT,),
        provider=provider,
        tolerance=TOLERANCE,
        missing=None if node.exists() and modules.exists() else no_environment(ENVIRONMENT),
    )
