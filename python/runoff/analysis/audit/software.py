"""Audit of the software: the same engine, the same library, the same treatment of denormal numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runoff.analysis.audit.group import Found, same

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runoff.analysis.audit.group import AuditGroup
    from runoff.records.protocol import Effective

SCALAR = ", scalar"
"""The end of the name of an image decoder that was built without SIMD."""

_DIGITS = 12
"""Digits of a hash that are shown."""


Seen = dict[str, tuple["Effective", ...]]
"""By target: the settings in effect."""
_ORT = "onnxruntime"


def _by_runtime(group: AuditGroup) -> dict[str, Seen]:
    """Return the settings in effect of the targets of each runtime; that of ONNX Runtime is always among them."""
    found: dict[str, Seen] = {_ORT: {}}
    for case in group.cases:
        for runtime in {effective.runtime for effective in group.effective[case.id]}:
            found.setdefault(runtime, {})[case.target] = group.effective[case.id]
    return found


def engine(group: AuditGroup) -> Found:
    """Return whether all targets of a runtime run one version, and those of ONNX Runtime one build.

    A build that is not reported is unknown.
    """
    by_runtime = _by_runtime(group)
    ours = by_runtime.pop(_ORT)
    first, *others = [_version(ours, "ONNX Runtime"), *(_version(seen, name) for name, seen in by_runtime.items())]
    differing = [found for found in (first, *others) if found.outcome == "differs"]
    if differing:
        blamed = tuple(target for found in differing for target in found.blamed)
        return Found("differs", "; ".join(found.detail for found in differing), blamed)
    if first.outcome != "ok":
        return first
    builds = same({target: _all(e.build for e in had) for target, had in ours.items()}, "build")
    return builds._replace(detail=f"{first.detail}; {builds.detail}")


def _version(seen: Seen, what: str) -> Found:
    return same({target: _all(e.version for e in had) for target, had in seen.items()}, what)


def _all(values: Iterable[str | None]) -> str | None:
    """Return the distinct values that the processes of a target reported; None if one of them reported none."""
    distinct = set(values)
    return None if None in distinct or "" in distinct else " and ".join(sorted(filter(None, distinct)))


def library(group: AuditGroup) -> Found:
    """Return whether all that load a library load the same one, by name and hash.

    Python's wheel links the same build into its module: that one is named, with its hash, and cannot be the same file.
    A library that could not be hashed, because only its runner sees it (in a container), does not count as different.
    """
    hashed = group.run.info.libraries
    seen = {target: {e.library for e in had if e.library} for target, had in _by_runtime(group)[_ORT].items()}
    loaded = {
        target: " and ".join(sorted(_file(group, path) for path in paths))
        if paths <= hashed.keys() or not hashed
        else None
        for target, paths in seen.items()
        if paths
    }
    linked = {target: _module(group, target) for target in sorted(seen.keys() - loaded.keys())}
    if not loaded:
        return same(linked, "linked into a module")
    checked = same(loaded, "library")
    modules = ", ".join(f"{target} ({module})" if module else target for target, module in linked.items())
    detail = f"{checked.detail}; linked into its own module: {modules}"
    return checked._replace(detail=detail) if modules else checked


def _file(group: AuditGroup, path: str) -> str:
    name, digest = path.replace("\\", "/").rsplit("/", 1)[-1], group.run.info.libraries.get(path)
    return f"{name} {digest[:_DIGITS]}" if digest else name


def _module(group: AuditGroup, target: str) -> str | None:
    """Return the module that the target's runner named before it was measured."""
    can = group.run.info.capabilities.get(target)
    return _file(group, can.library) if can is not None and can.library else None


def allocator(group: AuditGroup) -> Found:
    """Return what serves ``malloc``, which decides part of the time of loading and of the first inference.

    A runner may contain an allocator, which is part of what is compared: a difference is listed and no fault.
    """
    reported = {case.target: _all(e.allocator for e in group.effective[case.id]) for case in group.cases}
    found = same(reported, "malloc")
    return found._replace(outcome="ok") if found.outcome == "differs" else found


def image_decoder(group: AuditGroup) -> Found | None:
    """Return whether JPEG files are decoded with SIMD; None if no runner reported a decoder.

    Versions may differ: that the pixels are the same is another point.
    """
    reported = {case.target: _all(e.image_decoder for e in group.effective[case.id]) for case in group.cases}
    known = {target: decoder for target, decoder in reported.items() if decoder}
    if not known:
        return None
    detail = "; ".join(f"{target}: {decoder}" for target, decoder in known.items())
    is_scalar = any(decoder.endswith(SCALAR) for decoder in known.values())
    return Found("differs", f"without SIMD: {detail}") if is_scalar else Found("ok", detail)


def denormals(group: AuditGroup) -> Found:
    """Return whether all treat numbers below the smallest normal one equally: they can slow a model tenfold."""
    reported = {case.target: _all(e.denormals for e in group.effective[case.id]) for case in group.cases}
    return same(reported, "denormal numbers")
