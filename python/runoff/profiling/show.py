"""A profile in words, as JSON and as a page."""

from __future__ import annotations

import base64
import re
from html import escape
from typing import TYPE_CHECKING, Any

from runoff.profiling.draw import COLOURS, comparable
from runoff.profiling.recording import PERF_HZ, PY_SPY_HZ, REGIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runoff.profiling.profile import Profiled
    from runoff.profiling.recording import CaseProfile, Graph
    from runoff.profiling.stacks import Times

_MOST_NAMED = 5
_LEAST_SHARE = 0.005
_LONGEST_NAME = 70
_WORDS = {"timed": ("warm iterations", "iteration"), "process": ("processes, start to exit", "process")}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1240px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } ul { padding-left: 1.2rem; }
object { display: block; width: 100%; border: 1px solid #ddd; margin: 0.5rem 0 1.5rem; }
.key { display: inline-block; width: 0.9em; height: 0.9em; margin: 0 0.3em 0 1em; vertical-align: -0.1em; }
"""


def sentences(profiled: Profiled) -> Iterator[str]:
    """Yield what was found, the most important first."""
    for side in profiled.sides:
        for region in REGIONS:
            yield from _about(side, side.graphs[region])
        yield _overhead(side)
    if len(profiled.sides) > 1:
        for region in REGIONS:
            yield _difference(profiled, region)
    if profiled.unavailable:
        yield f"no frames of Python: {profiled.unavailable}"


def _about(side: CaseProfile, graph: Graph) -> Iterator[str]:
    region, one = _WORDS[graph.region]
    rate = f"{graph.samples:,} samples at {PERF_HZ} Hz"
    spied = f", {graph.spied:,} of Python at {PY_SPY_HZ} Hz" if graph.spied else ""
    if not graph.samples:
        yield f"{side.name}, {region}: no samples; raise --time"
        return
    shares = _list(graph.native.by(lambda frame: frame.group))
    total = f"{_ms(graph.times.total())} of CPU time per {one}"
    yield f"{side.name}, {region}: {total}: {shares} ({graph.count:,} sampled: {rate}{spied})"
    unnamed = sum(unnamed_of(graph.times).values())
    note = f"; in brackets: {unnamed:.1%} is in functions without a symbol" if unnamed else ""
    yield f"{side.name}, {region}, most of it in: {_list(graph.times.by(lambda frame: frame.name))}{note}"


def unnamed_of(times: Times) -> dict[str, float]:
    """Return the share of CPU time in functions without a symbol, by library."""
    found = times.by(lambda frame: "" if frame.named else frame.name)
    return {name: share for name, share in found.items() if name}


def _overhead(side: CaseProfile) -> str:
    plain = " and ".join(map(_ms, side.plain_ns))
    return (
        f"{side.name}, cost of sampling: an inference takes {_ms(side.sampled_ns)} while it is sampled, "
        f"{plain} in two processes that are not: {side.slowdown:.2f} times as long"
    )


def _difference(profiled: Profiled, region: str) -> str:
    """Return the frames whose own time differs most between both sides."""
    one = _WORDS[region][1]
    first, second = (
        {name: share * times.total() for name, share in times.by(lambda frame: frame.name).items()}
        for times in comparable(profiled.sides, region)
    )
    changes = {name: second.get(name, 0.0) - first.get(name, 0.0) for name in {**first, **second}}
    largest = sorted(changes, key=lambda name: -abs(changes[name]))[:_MOST_NAMED]
    total = sum(second.values()) - sum(first.values())
    names = " compared with ".join(side.name for side in reversed(profiled.sides))
    parts = ", ".join(f"{_short(name)} {_ms(changes[name], '+')}" for name in largest)
    return f"{names}: {_ms(total, '+')} of CPU time per {one}: {parts}"


def _list(shares: dict[str, float]) -> str:
    """Return the largest shares: ``onnxruntime 93%, kernel 4%``."""
    named = list(shares.items())[:_MOST_NAMED]
    return ", ".join(f"{_short(name)} {share:.1%}" for name, share in named if share >= _LEAST_SHARE or len(named) == 1)


def _ms(ns: float, sign: str = "") -> str:
    ms = ns / 1e6
    return f"{ms:{sign},.0f} ms" if abs(ms) >= 1000 else f"{ms:{sign}.3g} ms"  # noqa: PLR2004 (digits)


def _short(name: str) -> str:
    """Return a name without most of what C++ adds to it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


def document(profiled: Profiled) -> dict[str, Any]:
    """Return the profile for JSON; times are in nanoseconds of CPU time per iteration or process."""
    return {
        "model": profiled.model,
        "sentences": list(sentences(profiled)),
        "sides": [
            {
                "name": side.name,
                "inference_ns": {"sampled": side.sampled_ns, "not_sampled": side.plain_ns},
                "regions": {region: _region(graph) for region, graph in side.graphs.items()},
            }
            for side in profiled.sides
        ],
        "perf_hz": PERF_HZ,
        "py_spy_hz": PY_SPY_HZ,
        "python_frames_unavailable": profiled.unavailable or None,
        "folder": str(profiled.folder),
    }


def _region(graph: Graph) -> dict[str, Any]:
    return {
        "cpu_ns": graph.times.total(),
        "count": graph.count,
        "samples": graph.samples,
        "python_samples": graph.spied,
        "groups": graph.native.by(lambda frame: frame.group),
        "functions": graph.times.by(lambda frame: frame.name),
        "unnamed": unnamed_of(graph.times),
    }


def page(profiled: Profiled) -> str:
    """Return a page with the sentences and all graphs, which needs no other file."""
    names = [side.name for side in profiled.sides]
    title = f"{profiled.model}: {' and '.join(names)}"
    key = "".join(f'<span class="key" style="background:rgb{colour}"></span>{name}' for name, colour in COLOURS.items())
    parts = [f"<h1>{escape(title)}</h1><ul>", *(f"<li>{escape(line)}</li>" for line in sentences(profiled)), "</ul>"]
    parts.append(f"<p>Click on a frame to zoom; Ctrl-F searches. {key}</p>")
    for region, words in REGIONS.items():
        parts.append(f"<h2>{escape(words[0].upper() + words[1:])}</h2>")
        drawn = [*names, *(["difference"] if len(names) > 1 else [])]
        files = [profiled.folder / f"{region}-{name}.svg" for name in drawn]
        parts += [_figure(file) if file.exists() else "<p>no samples</p>" for file in files]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _figure(path: Path) -> str:
    svg = path.read_text(encoding="utf-8")
    height = re.search(r'height="(\d+)"', svg)
    data = base64.b64encode(svg.encode()).decode()
    size = f' style="height:{int(height[1]) + 2}px"' if height else ""
    return f'<object type="image/svg+xml"{size} data="data:image/svg+xml;base64,{data}">{escape(path.name)}</object>'
