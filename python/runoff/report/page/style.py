"""The style sheet of runoff's pages, with the colours of `runoff.report.palette` in light and in dark mode."""

from __future__ import annotations

from pathlib import Path

from runoff.report.page.svg import variable
from runoff.report.palette import DARK, SHADES

_SHEET = Path(__file__).with_name("files") / "page.css"


def style_sheet(*, crowded: bool = False) -> str:
    """Return the style sheet, which needs no other file; if `crowded`, with the shades of families."""
    colours = {**SHADES, **DARK} if crowded else DARK
    light, dark = (
        "".join(f"{variable(code)}:{shown};" for code, shown in pairs.items())
        for pairs in ({code: code for code in colours}, colours)
    )
    screen = "@media screen and (prefers-color-scheme:dark)"
    return f":root{{{light}}}{screen}{{:root{{{dark}}}}}{_SHEET.read_text(encoding='utf-8')}"
