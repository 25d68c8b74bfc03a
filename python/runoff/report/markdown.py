"""``report.md``: a run as text and tables, for pull requests."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from runoff.analysis.wording import words
from runoff.records.files import RUN_FILE, SAMPLES, SUMMARY
from runoff.records.machine import headline
from runoff.report.overview import DETAIL, blocks
from runoff.report.sections import Section, sections, validity, varied
from runoff.report.tables import bullets, table
from runoff.report.terminal import audit_lines, gap_lines
from runoff.report.text import full, number, plural
from runoff.report.verdicts import MEMORY, PROCESS, RATE, WARM, board, energy_in, findings, headlines, joules_of, ranked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runoff.analysis.analyse import Analysis
    from runoff.analysis.verdict import Verdict
    from runoff.report.overview import Block, Row
    from runoff.report.verdicts import BestTarget

MOST = 65_536
"""GitHub's limit for a comment, in characters."""
_NOTE = 1_500
"""Characters reserved for the note on omitted sections."""
_GAP = "\n\n"
_LINES = 30
"""Most warnings, or reasons for missing values, that are listed; the rest are counted."""
_NAMED = 20
"""Most omitted sections that are named; the rest are counted."""
BOLD = "Bold: the best of its profile, and all that cannot be distinguished from it. By process time."
_PAGE = "[report.html](report.html) (a file next to this one)"
_RESPECTS = {PROCESS: "one short process", WARM: "many calls", MEMORY: "least memory"}


def report(analysis: Analysis, plots: Sequence[Path], samples: str = SAMPLES) -> str:
    """Return the text of ``report.md``; `plots` and `samples` are paths relative to it.

    Verdicts, warnings and missing values come first, with the table of a single block or the board of several; the rest
    is folded. Sections that would make it longer than `MOST` characters are omitted, and named at the end.
    """
    all_blocks = blocks(analysis)
    several = len(all_blocks) > 1 or any(block.crowded for block in all_blocks)
    top = [f"# runoff: {analysis.run.info.run_id}", headline(analysis.run.info.machine), *_warnings(analysis)]
    top += [
        "## Verdicts",
        *([_board(all_blocks)] if several else map(_compared, all_blocks)),
    ]
    gaps = [*_some(gap_lines(analysis, all_blocks)), *_omitted_percentiles(analysis, all_blocks)]
    top += ["## Not measured", bullets(gaps) or "Everything requested was measured."]
    rest = [*validity(analysis), *varied(analysis), *(map(_folded, all_blocks) if several else ())]
    # one section must not take the room of all others
    rest.sort(key=lambda part: len(part.text) > MOST / 2)
    rest += sections(analysis, plots)
    folded, dropped = _fitting(rest, MOST - _NOTE - sum(len(part) + len(_GAP) for part in top))
    files = ", ".join(f"[{name}]({name})" for name in ("report.html", samples, SUMMARY, RUN_FILE))
    return _GAP.join([*top, *folded, *_omitted_note(dropped), f"Files: {files}."]) + "\n"


def _warnings(analysis: Analysis) -> list[str]:
    lines = audit_lines(analysis)
    return ["**Warning.** The conditions of the targets differ:\n\n" + bullets(_some(lines))] if lines else []


def _some(lines: Sequence[str]) -> list[str]:
    """Return the lines that fit on the first screen, and the number of the others."""
    more = [f"{len(lines) - _LINES} more are in {_PAGE}"] if len(lines) > _LINES else []
    return [*lines[:_LINES], *more]


def _compared(block: Block) -> str:
    """Return the verdicts and the table of one block; of many targets, a table in which the best are bold."""
    if block.crowded:
        return _GAP.join([BOLD, ranking(block)]) if block.present else "Nothing was measured."
    parts = [f"### {block.title}", bullets(headlines(block)) or "Nothing was measured."]
    return _GAP.join([*parts, *([overview(block)] if block.present else [])])


def _folded(block: Block) -> Section:
    """Return the verdicts and the table of one block of several, folded under its first verdict."""
    first = next(iter(headlines(block)), "nothing was measured.")
    return Section(f"{block.title}: {first}", _compared(block))


def _board(all_blocks: Sequence[Block]) -> str:
    """Return a line for each block with the best target in each respect, and the stability of the cases below."""
    respects, found = board(all_blocks)
    if not respects:
        return "Nothing was measured."
    rows = ([title, *(_first(line.get(what)) for what in respects)] for title, line in found.items())
    verdict_table = table(["comparison", *(_RESPECTS.get(what, what) for what in respects)], rows)
    steady = Counter(row.stability for block in all_blocks for row in block.present if row.stability)
    counts = ", ".join(f"{count} {word}" for word, count in steady.most_common())
    return _GAP.join([verdict_table, *([f"Stability of the cases: {counts}."] if counts else [])])


def _first(found: BestTarget | None) -> str:
    """Return the best target, those that are as good, its figure, and others not distinguishable from it."""
    if found is None:
        return ""
    profile = f", profile {found.profile}" if found.block.crowded else ""
    words = [f"{' or '.join([found.winner.target, *found.level])}: {number(found.figure)}{profile}"]
    words += ["one value"] if found.single else []
    words += [f"not distinguishable from {', '.join(found.far)}"] if found.far else []
    words += [f"not a fair comparison: {', '.join(found.unfair)}"] if found.unfair else []
    return "; ".join(words)


def _omitted_percentiles(analysis: Analysis, all_blocks: Sequence[Block]) -> list[str]:
    """Return the number of percentiles with too few samples; their section lists each."""
    unavailable = {row.case for block in all_blocks for row in block.unavailable}
    lines = analysis.summary
    percentiles = lines[(lines["status"] == "not-measured") & lines["metric"].str.contains(DETAIL)]
    count = len(percentiles[~percentiles["case"].isin(unavailable)].drop_duplicates(["case", "probe", "metric"]))
    return [f"too few samples for {plural(count, 'percentile')}"] if count else []


def _fitting(parts: Sequence[Section], room: int) -> tuple[list[str], list[str]]:
    """Return the parts that fit into `room` characters, folded, and the titles of the others."""
    texts, dropped = [], []
    for part in parts:
        # without the empty lines, GitHub does not render the Markdown
        text = f"<details>\n<summary>{escape(part.title)}</summary>\n\n{part.text}\n\n</details>"
        if len(text) + len(_GAP) <= room:
            texts.append(text)
            room -= len(text) + len(_GAP)
        else:
            dropped.append(part.title)
    return texts, dropped


def _omitted_note(titles: Sequence[str]) -> list[str]:
    """Return the note on the sections that did not fit."""
    if not titles:
        return []
    names = ", ".join(title.partition(": ")[0] for title in titles[:_NAMED])
    more = f" and {len(titles) - _NAMED} more" if len(titles) > _NAMED else ""
    return [f"Omitted to fit the {MOST:,} characters of a comment: {names}{more}. {_PAGE} has everything."]


def overview(block: Block) -> str:
    """Return the table of one block, without empty columns."""
    against = [f"vs {name}" for name in block.baselines]
    joules = [word for name in block.domains for word in (energy_in(name), *against)]
    head = ["profile", "target", "process time", *against, "warm inference", *against]
    head += ["requests under load", *against, *joules, "peak memory"]
    head += ["stability", "status"]
    rows = [list(_cells(row, block)) for row in block.present]
    return _filled(head, rows)


def ranking(block: Block) -> str:
    """Return the table of a block of many targets by process time, profile by profile, without ratios.

    The best of a profile in each respect, and all that cannot be distinguished from it, are bold.
    """
    best = {(found.profile, found.what): {found.winner.target, *found.tied} for found in findings(block)}
    joules = [energy_in(name) for name in block.domains]
    respects = (PROCESS, WARM, RATE, *joules, MEMORY)
    rows = []
    for row in ranked(block):
        figures = [row.wall, row.warm, row.rate, *(joules_of(row, name) for name in block.domains), row.peak]
        shown = (
            f"**{full(figure)}**" if row.target in best.get((row.profile, what), ()) else full(figure)
            for what, figure in zip(respects, figures, strict=True)
        )
        rows.append([row.profile, _name(row), *shown, row.stability or row.status])
    return _filled(["profile", "target", *respects, "stability"], rows)


def _filled(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table without its empty columns."""
    filled = [place for place in range(len(head)) if any(row[place] not in ("", "ok") for row in rows)]
    return table([head[place] for place in filled], ([row[place] for place in filled] for row in rows))


def _cells(row: Row, block: Block) -> Iterator[str]:
    yield from (row.profile, _name(row), full(row.wall))
    yield from _versus(row.wall_vs, block)
    yield full(row.warm)
    yield from _versus(row.warm_vs, block)
    yield full(row.rate)
    yield from _versus(row.rate_vs, block)
    for domain in block.domains:
        drawn = row.energy.get(domain)
        yield full(drawn.inference) if drawn else ""
        yield from _versus(drawn.inference_vs if drawn else {}, block)
    yield from (full(row.peak), row.stability, row.status)


def _name(row: Row) -> str:
    """Return the target's name, with warnings about its figures; in italics if it is an A/A control."""
    device = f" on {row.software}" if row.software else ""
    deviation = f" ({row.deviation})" if row.deviation else ""
    return f"*{row.target}*" if row.control_of else f"{row.target}{device}{deviation}"


def _versus(verdicts: Mapping[str, Verdict], block: Block) -> list[str]:
    return [words(verdicts[name]) if name in verdicts else "" for name in block.baselines]
