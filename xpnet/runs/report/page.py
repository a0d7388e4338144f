"""Page of a report: its sections between head and foot, complete in itself; no network is asked."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from xpnet.runs.report import column_sections, result_sections, run_sections
from xpnet.runs.report.contents import Contents
from xpnet.runs.report.elements import Html, join, tag
from xpnet.runs.words import target_in_words
from xpnet.text import count

__all__ = ["document", "render"]

# What the page may load: nothing but the pictures that are in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render(contents: Contents) -> str:
    """Return the report as an HTML document."""
    made = {
        "Results": result_sections.metrics(contents),
        "Warnings": result_sections.notes(contents),
        "Curves": result_sections.curves(contents),
        "Predictions": result_sections.predictions(contents),
        "Diagnostics": result_sections.diagnostics(contents),
        "Columns and decisions": column_sections.columns(contents),
        "Use": run_sections.usage(contents),
        "Configuration": run_sections.configuration(contents),
        "Environment": run_sections.environment(contents),
    }
    sections = {name: made_section for name, made_section in made.items() if made_section is not None}
    contents_list = tag(
        "nav",
        tag("ul", *(tag("li", tag("a", name, href=f"#{_identifier(name)}")) for name in sections)),
        aria_label="Sections",
    )
    version = str(contents.environment["versions"].get("xpnet"))
    header = [_heading(contents), result_sections.headline(contents), contents_list]
    return document(f"{contents.title}: training report", join(header), sections.values(), version)


def document(title: str, header: Html, sections: Iterable[Html], version: str) -> str:
    """Return a report as an HTML document.

    Args:
        title: of its window.
        header, sections: what it shows.
        version: of the xpnet that made what it is about.
    """
    body = tag(
        "body",
        tag("header", header),
        tag("main", *sections),
        tag("footer", tag("p", f"Written by xpnet {version}. This page is complete in itself.")),
    )
    return "<!DOCTYPE html>\n" + tag("html", _head(title), body, lang="en") + "\n"


def _identifier(name: str) -> str:
    return {"Use": "usage", "Columns and decisions": "columns"}.get(name, name.lower())


def _head(title: str) -> Html:
    style = resources.files("xpnet.runs.report").joinpath("report.css").read_text(encoding="utf-8")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )


def _heading(contents: Contents) -> Html:
    results = contents.results
    target, classes = target_in_words(results)
    lead = tag(
        "p",
        "A network ",
        tag("strong", results["layers"]),
        f" that predicts {target} ({classes}) from {count(results['features'], 'feature')}: "
        f"{count(results['epochs_trained'], 'epoch')} of {results['optimizer']} on "
        f"{count(results['rows']['train'], 'row')}, on {results['device']}; {results['stopped']}.",
        class_="lead",
    )
    return join([tag("p", "Training report", class_="kicker"), tag("h1", contents.title), lead])
