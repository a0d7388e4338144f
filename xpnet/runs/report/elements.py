"""HTML elements: text is escaped wherever it comes from, and only `tag` makes markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from xpnet.text import shown

__all__ = ["Html", "join", "markup", "section", "table", "tag"]

_VOID = {"br", "link", "meta"}
_MOST = 10_000  # characters of a text


class Html(str):
    """Text that is markup already, and is not escaped again."""


def markup(content: Any) -> Html:
    """Return the content of an element: markup as it is, anything else escaped.

    >>> markup("<script> & 'so on'"), markup(Html("<b>bold</b>"))
    ('&lt;script&gt; &amp; &#x27;so on&#x27;', '<b>bold</b>')
    """
    if isinstance(content, Html):
        return content
    return Html(html.escape(shown(content, _MOST, "\n\t"), quote=True))


def join(parts: Iterable[Any], between: str = "") -> Html:
    """Return the parts one after another."""
    return Html(markup(between).join(map(markup, parts)))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: the element's name.
        children: its content.
        attributes: ``class_`` stands for class, ``aria_label`` for aria-label; None leaves one out.

    >>> tag("p", "a < b", class_="note", aria_label=None)
    '<p class="note">a &lt; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{markup(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def section(identifier: str, heading: str, *children: Any) -> Html:
    """Return a section with its heading."""
    return tag(
        "section",
        tag("h2", heading, id=f"{identifier}-heading"),
        *children,
        id=identifier,
        aria_labelledby=f"{identifier}-heading",
    )


def table(
    caption: Any, columns: Sequence[Any], rows: Iterable[Sequence[Any]], *, numbers: bool = False
) -> Html:
    """Return a table that can be scrolled where it is wider than the page.

    Args:
        caption: its title.
        columns: the headings.
        rows: cells; the first one of each row is its heading.
        numbers: whether all but the first column hold numbers, which are aligned on the right.
    """
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows
    ]
    inside = tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        class_="numbers" if numbers else None,
    )
    return tag("div", inside, class_="scroll", role="region", aria_label=caption, tabindex="0")
