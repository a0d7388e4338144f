"""SVG files of matplotlib as parts of an HTML page: one name space for all, colours that follow the page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from xpnet.runs.report.elements import Html

__all__ = ["inline_svg"]

# The colours of the figures are the page's variables, so that they are as clear on a dark page.
_VARIABLES = {
    "#000000": "currentColor",
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--orange)",
    "#009e73": "var(--green)",
    "#cc79a7": "var(--purple)",
    "#56b4e9": "var(--sky)",
    "#e69f00": "var(--amber)",
    "#6f6f6f": "var(--grey)",
    "#e3e3e3": "var(--grid)",
}
_COLOUR = re.compile("|".join(_VARIABLES))


def inline_svg(text: str, prefix: str, described_by: str) -> Html:
    """Return an SVG file's content as an element of a page.

    Args:
        text: the file.
        prefix: goes before all names inside, which files of one program share.
        described_by: the page's element that describes the picture.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):  # a style would be one of the whole page
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            element.set(name, _adapted(element.tag, name, value, prefix))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-labelledby", described_by)
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    """Return a name without its name space: in HTML all of ``<svg>`` has the one of SVG."""
    return name.rpartition("}")[2]


def _adapted(tag: str, name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}-")
    if name == "style":
        if tag == "path" and "fill: #ffffff" in value:  # a background; white text is a group
            value = value.replace("fill: #ffffff", "fill: none")
        return _COLOUR.sub(lambda found: _VARIABLES[found[0]], value)
    return value
