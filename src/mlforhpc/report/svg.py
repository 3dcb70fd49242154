"""Makes matplotlib's SVG fit to stand inside a page, beside others: no global names, no external names, small.

Unreferenced ids go, the rest get the figure's prefix; namespaces, metadata and the global style sheet go; coordinates
keep two decimals; dense markers (groups named "dots-<diameter>") become one path of round dots, ten times smaller.
"""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

from mlforhpc.report import palette

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"url\(#([^)]+)\)|^#(.+)$")
_DECIMALS = re.compile(r"(-?\d+\.\d{3,})")
_FAMILY = re.compile(r"font-family:[^;]*;? ?|(?<=px )'DejaVu Sans'[^;]*")
_COORDINATES = frozenset({"d", "x", "y", "transform", "points", "width", "height"})


def inline(svg: str, *, prefix: str, title: str, description: str) -> str:
    """The SVG as an HTML fragment.

    Args:
        svg: a complete document, as matplotlib writes it with `svg.fonttype: none`.
        prefix: unique in the page; starts every id.
        title, description: its accessible name and text.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == f"{_SVG}style" or not c.tag.startswith(_SVG) or c.tag == f"{_SVG}metadata"]:
            parent.remove(child)
    for group in root.iter(f"{_SVG}g"):
        if group.get("id", "").startswith("dots-"):
            _join_dots(group, float(group.get("id", "").split("-")[1]))
    _rename(root, prefix)
    return palette.to_variables(_written(root, prefix, title, description))


def _join_dots(group: ElementTree.Element, diameter: float) -> None:
    """Replace the <use> elements of one series by a path of zero-length strokes with round caps."""
    for holder in list(group.iter(f"{_SVG}g")):
        uses = [child for child in holder if child.tag == f"{_SVG}use"]
        if not uses:
            continue
        colour = re.search(r"fill: (#\w+)", uses[0].get("style", ""))
        moves = "".join(f"M{float(use.get('x', 0)):.1f} {float(use.get('y', 0)):.1f}h0" for use in uses)
        for use in uses:
            holder.remove(use)
        style = f"fill: none; stroke: {colour.group(1) if colour else '#000'}; stroke-opacity: .55; stroke-width: {diameter:g}"
        ElementTree.SubElement(holder, f"{_SVG}path", {"d": moves, "style": style + "; stroke-linecap: round"})


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Keep only the ids that something refers to, and give them the prefix."""
    used: set[str] = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            used.update(a or b for a, b in _REFERENCE.findall(value) if name != "id")
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        for name, value in list(element.attrib.items()):
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name == _HREF:
                element.set("href", f"#{prefix}-{element.attrib.pop(_HREF)[1:]}")
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{prefix}-"))


def _written(root: ElementTree.Element, prefix: str, title: str, description: str) -> str:
    box = root.get("viewBox", "0 0 1 1")
    inner = "".join(_element(child) for child in root)
    return (
        f'<svg viewBox="{box}" role="img" aria-labelledby="{prefix}-t {prefix}-d">'
        f'<title id="{prefix}-t">{escape(title)}</title><desc id="{prefix}-d">{escape(description)}</desc>{inner}</svg>'
    )


def _element(element: ElementTree.Element) -> str:
    name = element.tag.removeprefix(_SVG)
    inner = escape((element.text or "").strip()) + "".join(_element(child) for child in element)
    if name in ("g", "defs") and not inner:
        return ""
    attributes = "".join(f' {key}="{escape(text)}"' for key, value in element.attrib.items() if (text := _value(key, value)))
    if name == "g" and not attributes:
        return inner
    return f"<{name}{attributes}>{inner}</{name}>"


def _value(key: str, value: str) -> str:
    if key == "style":
        return _font(value)
    if key == "transform" and value.startswith("rotate(-0 "):
        return ""
    return _DECIMALS.sub(lambda m: _short(m.group(1)), " ".join(value.split())) if key in _COORDINATES else value


def _font(style: str) -> str:
    """Matplotlib measures in DejaVu Sans; the page writes in its own font, which SVG text inherits."""
    return _FAMILY.sub("", style)


def _short(value: str) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
