"""A figure's SVG as a part of the page: small, with one text alternative, in colours that follow the page's."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from runoff.report.palette import DARK

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_NAMED = {"white": "#FFFFFF", "black": "#000000"}
_PAINTS = ("fill", "stroke")
_DROPPED = {"class", "role", "pointer-events", "font-family", "font-weight", "version", "stroke-miterlimit"}
"""Attributes that the page's style replaces, or that say nothing."""
_NOTHING = {"opacity": "1", "stroke-width": "1", "transform": "translate(0,0)", "x2": "0", "y2": "0"}
"""Values that are the default."""
_LONG = re.compile(r"-?\d+\.\d{2,}")
_MARGIN = 6
"""Pixels kept above what stands below a title that was taken off."""


def inline(svg: str, name: str, title: str, description: str) -> str:
    """Return the drawing `svg` of Vega as an element of the page.

    Parameters
    ----------
    svg
        The document. A title with a subtitle is taken off: the page has it as text.
    name
        Begins the ids in it, so it has to be unique on the page.
    title, description
        The text alternative.
    """
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    top = _take_title(root)
    _drop_background(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        _clean(element, name)
    _unwrap(root)
    width, height = float(root.attrib.pop("width")), float(root.attrib.pop("height"))
    root.set("viewBox", f"0 {top:g} {width:g} {height - top:g}")
    root.set("style", f"max-width:{width:g}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-t {name}-d")
    for place, (tag, end, text) in enumerate((("title", "t", title), ("desc", "d", description))):
        told = ET.Element(tag, {"id": f"{name}-{end}"})
        told.text = text
        root.insert(place, told)
    return ET.tostring(root, encoding="unicode")


def _take_title(root: ET.Element) -> float:
    """Remove the group of the title with a subtitle; return how far down from the top it reached, in pixels."""
    parents = {child: parent for parent in root.iter() for child in parent}
    for group in root.iter(f"{_NAMESPACE}g"):
        if "role-title" in group.get("class", "").split() and _find(group, "role-title-subtitle") is not None:
            lowest = max(_down(text, parents) for text in group.iter(f"{_NAMESPACE}text"))
            parents[group].remove(group)
            return lowest + _MARGIN
    return 0.0


def _find(group: ET.Element, name: str) -> ET.Element | None:
    return next((one for one in group.iter() if name in one.get("class", "").split()), None)


def _down(text: ET.Element, parents: dict[ET.Element, ET.Element]) -> float:
    """Return how far below the document's top the last line of `text` is."""
    lines = [float(line.get("dy", "0")) for line in text.iter(f"{_NAMESPACE}tspan")]
    down, element = sum(lines), text
    while True:
        moved = re.search(r"translate\([^,]*,\s*(-?[\d.]+)\)", element.get("transform", ""))
        down += float(moved[1]) if moved else 0.0
        if element not in parents:
            return down
        element = parents[element]


def _drop_background(root: ET.Element) -> None:
    """Remove the paper: the page has its own."""
    first = root.find(f"{_NAMESPACE}rect")
    if first is not None:
        root.remove(first)


def _clean(element: ET.Element, name: str) -> None:
    bold = element.get("font-weight") == "bold"
    for key in list(element.attrib):
        if key in _DROPPED or key.startswith("aria-") or _NOTHING.get(key) == element.get(key):
            del element.attrib[key]
    if bold:
        element.set("class", "b")
    for key, value in element.attrib.items():
        if key in _PAINTS:
            element.set(key, paint(value))
        elif key == "id":
            element.set(key, f"{name}-{value}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
        elif key in ("d", "transform"):
            element.set(key, _LONG.sub(lambda found: f"{float(found[0]):.1f}", value))


def paint(colour: str) -> str:
    """Return a colour of `runoff.report.palette` as the page's variable; others stay as they are."""
    code = _NAMED.get(colour, colour).upper()
    if len(code) == len("#000"):
        code = "#" + "".join(digit * 2 for digit in code[1:])
    return f"var({variable(code)})" if code in DARK else colour


def variable(code: str) -> str:
    """Return the name of the style sheet's variable for a colour such as ``#D55E00``."""
    return f"--c{code[1:].lower()}"


def _unwrap(element: ET.Element) -> None:
    """Remove what draws nothing, and groups that only hold others."""
    kept: list[ET.Element] = []
    for child in list(element):
        _unwrap(child)
        element.remove(child)
        if child.tag == "path" and _is_empty(child):
            continue
        if child.tag == "g" and not child.attrib:
            kept += list(child)
        elif child.tag != "g" or len(child):
            kept.append(child)
    element.extend(kept)


def _is_empty(path: ET.Element) -> bool:
    """Return whether a path is not shown, or is neither filled nor drawn by itself or by its place in a group."""
    shape = path.get("d", "")
    return not shape or path.get("display") == "none" or not {*_PAINTS} & {*path.attrib}
