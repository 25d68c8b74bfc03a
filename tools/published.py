"""Put runs beside published comparisons: each figure and ours, each claim and whether it holds.

``python tools/published.py results/full-... results/reference/runs`` prints Markdown, for runs, published or not, of
the suites ``full``, ``runs``, ``web``, ``webnn``, ``segment`` and ``segment-large``. A claim holds
here if our interval says so, does not if it says the opposite, and cannot be told if the interval leaves it open.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from published_tables import GEOMETRIC, PEAK, REGNET, RUSTNN, WALL, WARM, Lines, between, number, tables, times

from runoff.records.machine import headline
from runoff.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Found = tuple[str, str]
"""Our figure, and the verdict."""
HOLDS, NOT, OPEN = "holds here", "does not hold here", "cannot be told here"
NOT_MEASURED = ("not measured", OPEN)
WEB = "mobilenet_v2.tensor.ort-web-{}.default.t1.b1"
ABOUT = 2
"""A ratio is "about" a published one within this factor."""
QUANTISED = "efficientnet-lite0.tensor.ort-python.default.t1.b1{}"


def at_least(lines: Lines, case: str, metric: tuple[str, str], baseline: str, published: float) -> Found:
    """Return whether a ratio is the published one, or more."""
    line = lines.ratio(case, metric, baseline)
    if line is None:
        return NOT_MEASURED
    verdict = HOLDS if line["ratio_low"] >= published else NOT if line["ratio_high"] < published else OPEN
    return times(line), verdict


def batches(lines: Lines, claim: str) -> Found:
    """Return whether batches make PyTorch fastest per image (A2), or raise throughput and latency (A3)."""
    head = f"efficientnet_b0.tensor.{{}}.default.t{lines.cores}.b{{}}"
    one, many = (lines.value(head.format("torch", size), WARM) for size in (1, 32))
    other = lines.value(head.format("ort-python", 1), WARM)
    if one is None or many is None or other is None:
        return NOT_MEASURED
    if claim == "A2":
        says = f"PyTorch, an image of 32: {number(many, 32)}; ONNX Runtime, one: {number(other)}"
        lower, higher = many["high"] / 32 < other["low"], many["low"] / 32 > other["high"]
        return says, HOLDS if lower else NOT if higher else OPEN
    says = f"PyTorch, an image alone: {number(one)}; of 32: {number(many, 32)}; all 32: {number(many)}"
    lower, higher = many["high"] / 32 < one["low"], many["low"] / 32 > one["high"]
    return says, HOLDS if lower and many["low"] > one["high"] else NOT if higher else OPEN


def browser(lines: Lines) -> Found:
    """Return whether WebAssembly in a browser takes about ten times as long as ONNX Runtime in Python (A4)."""
    line = lines.ratio(WEB.format("wasm"), WARM, "ort-python")
    if line is None:
        return NOT_MEASURED
    middle, low, high = (1 / line[name] for name in ("ratio", "ratio_high", "ratio_low"))
    outside = high < 10 / ABOUT or low > 10 * ABOUT
    inside = low >= 10 / ABOUT and high <= 10 * ABOUT
    return f"{middle:.2f}x ({low:.2f} to {high:.2f})", HOLDS if inside else NOT if outside else OPEN


def webgpu(lines: Lines) -> Found:
    """Return whether WebGPU takes a tenth of WebAssembly's time, or less (A5)."""
    wasm, gpu = (lines.value(WEB.format(name), WARM) for name in ("wasm", "webgpu"))
    return above(10, between(wasm, gpu))


def above(limit: float, found: tuple[float, float, float] | None) -> Found:
    """Return whether a ratio is above `limit`."""
    if found is None:
        return NOT_MEASURED
    ratio, low, high = found
    return f"{ratio:.2f}x ({low:.2f} to {high:.2f})", HOLDS if low >= limit else NOT if high < limit else OPEN


def predictions(lines: Lines) -> Found:
    """Return whether all paths in fp32 predict the same classes for the labelled images (A1).

    From the table of the run's report, where cases with equal predictions share a letter.
    """
    rows = [line.split(" | ") for line in lines.report.splitlines() if line.startswith("| digits.classify.")]
    full = {(letter, top1) for case, letter, _, top1, *_ in rows if len(letter) == 1 and "precision-" not in case}
    if not full:
        return NOT_MEASURED
    return "; ".join(sorted(top1 for _, top1 in full)), HOLDS if len(full) == 1 else NOT


def quantised(lines: Lines, precision: str) -> Found:
    """Return whether ONNX Runtime in Python is smaller and faster in `precision` than in fp32 (A6)."""
    cases = [QUANTISED.format(name) for name in (f".precision-{precision}", "")]
    small, large = (lines.info.footprints.get(case) for case in cases)
    found = between(*(lines.value(case, WARM) for case in reversed(cases)))
    if small is None or large is None or found is None:
        return NOT_MEASURED
    ratio, verdict = above(1, found)
    size = large.parts["model"] / small.parts["model"]
    return f"{size:.1f}x smaller, warm {ratio}", verdict if size > 1 else NOT


def first_run(lines: Lines, claim: str) -> Found:
    """Return how the first run grows with the graph (D1), and how much it warms up (D2, D3).

    Of rustnn if the run has it, else of ONNX Runtime from Python.
    """
    target = RUSTNN if RUSTNN in {case.target for case in lines.info.cases} else "ort-python"
    small, large = (f"layers_{size}.tensor.{target}.default.t1.b1" for size in ("10x2", "50x4"))
    first, second, warm = (lines.value(small, ("latency", f"inference.{part}")) for part in ("first", "second", "warm"))
    text, found, limit = {
        "D1": ("200 operations / 20", between(lines.value(large, ("latency", "inference.first")), first), 1),
        "D2": ("first / warm", between(first, warm), 1.5),
        "D3": ("second / warm", between(second, warm), 1.5),
    }[claim]
    if found is None:
        return NOT_MEASURED
    ratio, verdict = above(limit, found)
    return f"{text}: {ratio}", verdict if claim == "D1" else {HOLDS: NOT, NOT: HOLDS}.get(verdict, verdict)


def alike(lines: Lines, cores: str) -> Found:
    """Return whether the inference alone does not differ between Python and Rust (E2)."""
    line = lines.ratio(f"{REGNET}.ort-rust.default.{cores}.b1", WARM, "ort-python")
    if line is None:
        return NOT_MEASURED
    verdicts = {"no difference": HOLDS, "better": NOT, "worse": NOT}
    return times(line), verdicts.get(line["verdict_kind"], OPEN)


def less(lines: Lines, cores: str, metric: tuple[str, str]) -> Found:
    """Return whether Rust needs less than Python (E3, E5)."""
    case = f"{REGNET}.ort-rust.default.{cores}.b1"
    line = lines.ratio(case, metric, "ort-python")
    if line is None:
        counted = metric[0] == "counters" and lines.value(case, ("counters", "page_faults"))
        return ("no counter here", OPEN) if counted else NOT_MEASURED
    return times(line), {"better": HOLDS, "worse": NOT}.get(line["verdict_kind"], OPEN)


def cpus(lines: Lines, cores: str) -> Found:
    """Return whether ONNX Runtime keeps more CPUs busy than PyTorch (E4): user and system time by wall time."""
    used = {}
    for target in ("torch", "ort-python"):
        case = f"{REGNET}.{target}.default.{cores}.b1"
        parts = [lines.value(case, ("process", name)) for name in ("user", "system", "wall")]
        if None in parts:
            return NOT_MEASURED
        user, system, wall = (float(part["estimate"]) for part in parts if part)
        used[target] = (user + system) / wall
    says = f"PyTorch {used['torch']:.2f}, ONNX Runtime {used['ort-python']:.2f} (of {cores[1:]}; no interval)"
    return says, HOLDS if used["ort-python"] > used["torch"] else NOT


def graph_level(lines: Lines) -> Found:
    """Return whether no optimisation is faster for one image (E6), as a whole Rust process on 4 threads."""
    case = f"{REGNET}.ort-rust.default.t4.b1.optimization-{{}}"
    return above(1, between(*(lines.value(case.format(level), WALL) for level in ("all", "disable"))))


def segments(lines: Lines, metric: tuple[str, str], published: float | None) -> Found:
    """Return whether ONNX Runtime in Python takes less of `metric` than PyTorch to segment (C1, C2, C4).

    With `published`, it must take that many times less.
    """
    for case in lines.info.cases:
        line = lines.ratio(case.id, metric, "torch")
        if case.workload == "segment" and (case.target, case.example) == ("ort-python", GEOMETRIC) and line:
            if published is not None:
                return at_least(lines, case.id, metric, "torch", published)
            return times(line), {"better": HOLDS, "worse": NOT}.get(line["verdict_kind"], OPEN)
    return NOT_MEASURED


def claims(lines: Lines) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield each claim with its text, the published figure, ours and the verdict."""
    cores = f"t{lines.cores}"
    rust, no_device = f"{REGNET}.ort-rust.default.{cores}.b1", ("no Neural Engine", OPEN)
    rows: tuple[tuple[str, str, str, Callable[[], Found]], ...] = (
        ("A1", "all paths give the same predictions", "97.66 % on each", lambda: predictions(lines)),
        ("A2", "batches make PyTorch fastest per image", "2.63 ms, ONNX 4.77", lambda: batches(lines, "A2")),
        ("A3", "larger batches raise throughput and latency", "15 to 2.76 ms", lambda: batches(lines, "A3")),
        ("A4", "the browser is slower than native", "about 10x", lambda: browser(lines)),
        ("A5", "WebGPU is faster than WebAssembly", "10x to 20x", lambda: webgpu(lines)),
        ("A6", "int8 is smaller and faster", "no figure", lambda: quantised(lines, "int8")),
        ("A6", "static int8 is smaller and faster", "no figure", lambda: quantised(lines, "int8-static")),
        ("B1", "Core ML on the Neural Engine is faster", "57x", lambda: no_device),
        ("B2", "it takes less power", "2x to 4x", lambda: no_device),
        ("B3", "it takes less energy", "75x to 450x", lambda: no_device),
        ("C1", "ONNX loads the model faster", "1.45x", lambda: segments(lines, ("life", "load"), 1.45)),
        ("C2", "ONNX infers faster on a CPU", "2x to 5x", lambda: segments(lines, WARM, 2)),
        ("C3", "ONNX infers faster on a GPU", "1.5x to 3x", lambda: ("no GPU", OPEN)),
        ("C4", "ONNX needs less memory", "no figure", lambda: segments(lines, PEAK, None)),
        ("D1", "the first run costs more the larger the model", "25, 64 ms", lambda: first_run(lines, "D1")),
        ("D2", "small models hardly warm up", "25, 24 ms", lambda: first_run(lines, "D2")),
        ("D3", "no warm-up after ONNX Runtime's first run", "24.8, 24.8 ms", lambda: first_run(lines, "D3")),
        ("D4", "low power is slower", "2.4x", lambda: no_device),
        ("E1", "Rust is faster than Python", "2.87x", lambda: at_least(lines, rust, WALL, "ort-python", 2.87)),
        ("E1", "Rust is faster than PyTorch", "35.2x", lambda: at_least(lines, rust, WALL, "torch", 35.2)),
        ("E2", "the inference does not differ", "no figure", lambda: alike(lines, cores)),
        ("E3", "Rust needs the fewest instructions", "3.6x", lambda: less(lines, cores, ("counters", "instructions"))),
        ("E4", "ONNX Runtime uses more CPUs than PyTorch", "5.65, 1.39", lambda: cpus(lines, cores)),
        ("E5", "Rust's memory is below Python's", "53, 47.9 MB", lambda: less(lines, cores, PEAK)),
        ("E6", "no graph optimisation is faster for one image", "1.11x", lambda: graph_level(lines)),
    )
    for name, text, published, read in rows:
        yield (name, text, published, *read())


def rows_of_all(runs: Sequence[tuple[str, Lines]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of all claims in order, with the runs that have a figure; once if none has."""
    for same in zip(*(claims(lines) for _, lines in runs), strict=True):
        found = {row: name for row, (name, _) in zip(same, runs, strict=True) if row[3] != NOT_MEASURED[0]}
        yield from ((*row, name) for row, name in found.items())
        if not found:
            yield *same[0], ""


def main() -> None:
    """Print the tables for the runs in the folders on the command line."""
    runs = []
    sys.stdout.write("# Published figures\n\nMade by `tools/published.py` from the published runs of this folder.\n\n")
    for folder in sys.argv[1:]:
        lines = Lines(Path(folder))
        runs.append((lines.info.suite["suite"]["name"], lines))
        sys.stdout.write(f"## {runs[-1][0]}\n\n{headline(lines.info.machine)}\n\n")
        for heading, head, rows in tables(lines):
            sys.stdout.write(f"### {heading}\n\n{table(head, rows)}\n\n")
    head = ("claim", "", "published", "here", "verdict", "run")
    sys.stdout.write(f"## Claims\n\n{table(head, rows_of_all(runs))}\n")


if __name__ == "__main__":
    main()
