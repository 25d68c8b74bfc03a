"""Renders ``report.html`` from the tables and figures of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from runoff.records.machine import headline
from runoff.report import accuracy, browser, details, device, energy, load, matrix, precision, segmentation, sweeps
from runoff.report.families import name_of
from runoff.report.measured import how_lines, timing_words
from runoff.report.overview import blocks
from runoff.report.page import answers, compared
from runoff.report.page.cases import naming
from runoff.report.page.pictures import pictures
from runoff.report.page.style import style_sheet
from runoff.report.palette import target_colours
from runoff.report.terminal import audit_lines, harness_line, unavailable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runoff.analysis.analyse import Analysis
    from runoff.report.overview import Block
    from runoff.report.page.cases import Colours
    from runoff.report.plots import Drawn
    from runoff.report.tables import Table

_UNITS = re.compile(r"(\d) (%|[mµ]?[sJW]|[MG]B)(?!\w)")
_FILES = Path(__file__).with_name("files")


def page(analysis: Analysis, drawn: Sequence[Drawn], links: Sequence[str]) -> str:
    """Return the text of ``report.html`` with the figures `drawn`; `links` are files, relative to it."""
    # trim_blocks and lstrip_blocks: the layout of the templates does not reach the page
    templates = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    return templates.get_template("page.html.j2").render(_values(analysis, drawn, links))


def _values(analysis: Analysis, drawn: Sequence[Drawn], links: Sequence[str]) -> dict[str, Any]:
    info, made = analysis.run.info, blocks(analysis)
    shown = [block for block in made if block.present]
    crowded = any(block.crowded for block in made)
    colours = target_colours((case.target for case in info.cases), crowded=crowded)
    return {
        "title": info.run_id,
        "suite": info.suite.get("suite", {}).get("name", ""),
        "machine": headline(info.machine),
        "started": info.started,
        "started_words": info.started[:16].replace("T", " ") + " UTC",
        "lead": answers.lead(shown) or "Nothing was measured.",
        "where": shown[0].title if len(shown) == 1 else answers.counted(shown),
        "cards": answers.cards(shown[0], colours) if len(shown) == 1 else [],
        "crowded": crowded,
        "warnings": audit_lines(analysis),
        "unsteady": [case for case, one in analysis.stability.items() if one.verdict not in ("stable", "unknown")],
        "unavailable": unavailable_lines(made),
        "tables": {table.name: table for table in _tables(analysis, made, colours) if table.lines},
        "pictures": pictures(analysis, drawn),
        "labelled": accuracy.lines(analysis),
        "labelled_note": accuracy.NOTE,
        "differing": accuracy.pictures(analysis),
        "load_note": load.note(analysis.run),
        "segmentation_note": segmentation.NOTE,
        "overlays": segmentation.overlays(analysis),
        "matrix_note": matrix.NOTE,
        "device_note": device.NOTE,
        "browser_note": browser.NOTE,
        "energy_note": energy.NOTE,
        "sweep_note": sweeps.SWEEP_NOTE,
        "growth_note": sweeps.GROWTH_NOTE,
        "precision_note": precision.NOTE,
        "precision_sentences": list(precision.sentences(analysis)),
        "nodes_note": precision.NODES_NOTE,
        "energy_unavailable": energy.unavailable(analysis.run),
        "timed": timing_words(analysis.run),
        "how": how_lines(analysis.run),
        "harness": harness_line(analysis.run.info),
        "facets": _facets(shown),
        "links": [link for link in links if not link.startswith("raw/")],
        "raw": [link for link in links if link.startswith("raw/")],
        "style": Markup(style_sheet(crowded=crowded)),  # noqa: S704 - a file of this package
        "script": _own("page.js"),
    }


def _tables(analysis: Analysis, all_blocks: Sequence[Block], colours: Colours) -> Iterator[Table]:
    shown = [block for block in all_blocks if block.present]
    names = naming(all_blocks, colours)
    if len(shown) > 1:
        yield answers.board(shown, colours)
    if any(block.crowded for block in shown):
        yield answers.by_profile(shown, colours)
    yield matrix.matrix_table(analysis)
    yield compared.comparison(shown, names)
    yield details.ratio_table(analysis, names)
    yield compared.percentiles(analysis, names)
    yield sweeps.sweep_table(analysis.sweeps)
    yield sweeps.growth_table(analysis.growth)
    yield precision.table(analysis, names, all_blocks)
    yield precision.nodes_table(analysis, names)
    if not analysis.life.empty:
        yield details.life(analysis, names)
    yield details.accuracy(analysis, names)
    yield accuracy.cases_table(analysis, names)
    yield accuracy.pairs_table(analysis)
    yield from (details.text_table(name, analysis, names) for name in details.TEXTS)
    yield details.footprint(analysis, names)
    yield details.audit(analysis)
    yield details.stability(analysis, names)
    yield details.outlier_table(analysis, names)
    yield details.missing_table(analysis, all_blocks)
    yield details.machine(analysis)


def _unbroken(value: object) -> object:
    """Return text whose numbers and units stay on one line."""
    return _UNITS.sub("\\1\N{NO-BREAK SPACE}\\2", value) if type(value) is str else value


def _facets(shown: Sequence[Block]) -> dict[str, list[str]]:
    """Return the facets by which the comparison can be filtered: those with several values."""
    values: dict[str, dict[str, None]] = {"model": {}, "family": {}, "target": {}, "profile": {}}
    for block in shown:
        for row in block.present:
            facets = {"model": block.model, "target": row.target, "profile": row.profile}
            facets |= {"family": name_of(row.target)} if block.crowded else {}
            for name, value in facets.items():
                values[name][value] = None
    return {name: list(found) for name, found in values.items() if len(found) > 1}


def _own(name: str) -> Markup:
    return Markup((_FILES / name).read_text(encoding="utf-8"))  # noqa: S704 - a file of this package
