"""A figure's SVG, minimised: as a file, and inline in the page with the page's colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from runoff.report.palette import DARK, SHADES

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_NAMED = {"white": "#FFFFFF", "black": "#000000"}
_PAINTS = ("fill", "stroke")
_DROPPED = {"class", "role", "pointer-events", "version", "stroke-miterlimit"}
"""Attributes that draw nothing."""
_STYLED = {"font-family", "font-weight"}
"""Attributes that the page's style sheet replaces."""
_TEXT = {"font-size": "12px", "fill": "#1b1f24"}
"""Defaults of the style sheet for text in figures."""
_PLACES = {"d", "transform", "x", "y", "x2", "y2", "width", "height"}
_NOTHING = {"opacity": "1", "stroke-width": "1", "transform": "translate(0,0)", "x2": "0", "y2": "0"}
"""Attributes at their default value."""
_NUMBER = re.compile(r"-?\d+\.\d+")
_MARGIN = 6
"""Margin in pixels at the top, after the title was removed."""
_SIDE = 12
"""Margin in pixels at the left and right: the reader's font may be wider than the one that the layout was made with."""


def small(svg: str) -> str:
    """Return the drawing `svg` of Vega as a document that looks the same in about half the bytes."""
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    width, height = float(root.attrib["width"]) + 2 * _SIDE, float(root.attrib["height"])
    root.set("width", f"{width:g}")
    root.set("viewBox", f"{-_SIDE} 0 {width:g} {height:g}")
    background = root.find(f"{_NAMESPACE}rect")
    if background is not None:
        background.attrib |= {"x": f"{-_SIDE}", "width": f"{width:g}"}
    _shrink(root)
    root.set("xmlns", _NAMESPACE.strip("{}"))
    return ET.tostring(root, encoding="unicode")


def inline(svg: str, name: str, title: str, description: str) -> str:
    """Return the drawing `svg` of Vega as an element of the page.

    Parameters
    ----------
    svg
        The document. A title with a subtitle is removed: the page has it as text.
    name
        Prefix of its ids, unique on the page.
    title, description
        The text alternative.
    """
    root = ET.fromstring(svg)  # noqa: S314 - our own drawing
    top = _take_title(root)
    _drop_background(root)
    _shrink(root)
    for element in root.iter():
        _follow_page(element, name)
    width, height = float(root.attrib.pop("width")), float(root.attrib.pop("height"))
    root.set("viewBox", f"{-_SIDE} {top:g} {width + 2 * _SIDE:g} {height - top:g}")
    root.set("style", f"max-width:{width + 2 * _SIDE:g}px")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-t {name}-d")
    for place, (tag, end, text) in enumerate((("title", "t", title), ("desc", "d", description))):
        label = ET.Element(tag, {"id": f"{name}-{end}"})
        label.text = text
        root.insert(place, label)
    return ET.tostring(root, encoding="unicode")


def _take_title(root: ET.Element) -> float:
    """Remove the group of the title with a subtitle; return its height from the top in pixels."""
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
    """Return the distance from the document's top to the last line of `text`, in pixels."""
    lines = [float(line.get("dy", "0")) for line in text.iter(f"{_NAMESPACE}tspan")]
    down, element = sum(lines), text
    while True:
        moved = re.search(r"translate\([^,]*,\s*(-?[\d.]+)\)", element.get("transform", ""))
        down += float(moved[1]) if moved else 0.0
        if element not in parents:
            return down
        element = parents[element]


def _drop_background(root: ET.Element) -> None:
    """Remove the background: the page has its own."""
    first = root.find(f"{_NAMESPACE}rect")
    if first is not None:
        root.remove(first)


def _shrink(root: ET.Element) -> None:
    """Remove everything that draws nothing, and invisible digits."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        for key, value in list(element.attrib.items()):
            if key in _DROPPED or key.startswith("aria-") or _NOTHING.get(key) == value:
                del element.attrib[key]
            elif key in _PLACES:
                element.set(key, _NUMBER.sub(lambda found: f"{round(float(found[0]), 1):g}", value))
    _unwrap(root)


def _follow_page(element: ET.Element, name: str) -> None:
    """Give `element` the page's style and unique ids."""
    if element.get("font-weight") == "bold":
        element.set("class", "b")
    for key, value in list(element.attrib.items()):
        if key in _STYLED or (element.tag == "text" and _TEXT.get(key) == value.lower()):
            del element.attrib[key]
        elif key in _PAINTS:
            element.set(key, paint(value))
        elif key == "id":
            element.set(key, f"{name}-{value}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))


def paint(colour: str) -> str:
    """Return a colour of `runoff.report.palette` as the page's variable; other colours unchanged."""
    code = _NAMED.get(colour, colour).upper()
    if len(code) == len("#000"):
        code = "#" + "".join(digit * 2 for digit in code[1:])
    return f"var({variable(code)})" if code in DARK or code in SHADES else colour


def variable(code: str) -> str:
    """Return the name of the style sheet's variable for a colour such as ``#D55E00``."""
    return f"--c{code[1:].lower()}"


def _unwrap(element: ET.Element) -> None:
    """Remove elements that draw nothing, and unwrap groups that only contain other elements."""
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
    """Return whether a path is hidden, or neither filled nor stroked, by itself or by its group."""
    shape = path.get("d", "")
    return not shape or path.get("display") == "none" or not {*_PAINTS} & {*path.attrib}
