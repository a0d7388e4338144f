"""Page of a search: its trials, the best settings, and how to use them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xpnet.runs.report.elements import join, section, table, tag
from xpnet.runs.report.page import document
from xpnet.runs.words import number
from xpnet.text import count
from xpnet.version import __version__

__all__ = ["render_tuning"]


def render_tuning(
    title: str, results: Mapping[str, Any], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> str:
    """Return the report of a search as an HTML document.

    Args:
        title: name of the table.
        results: of the search, as ``results.json`` holds them.
        columns, rows: the table of its trials.
    """
    monitored = results["measured_by"].replace("_", " ")
    lead = (
        f"{count(results['trials'], 'trial')} ({_ended(results['outcomes'])}), compared by their best "
        f"{monitored}; trial {results['best_trial']} is the best: {results['score']:.4g}."
    )
    best = str(results["best"])
    heading = join(
        [tag("p", "Tuning report", class_="kicker"), tag("h1", title), tag("p", lead, class_="lead")]
    )
    cells = [["" if cell is None else _cell(cell) for cell in row] for row in rows]
    found = [[tag("code", name.replace("_", "-")), _cell(x)] for name, x in results["settings"].items()]
    scores = [
        [f"{part}: {name}", number(name, value)]
        for part, values in results["metrics"].items()
        for name, value in values.items()
    ]
    quoted = shlex.quote(best)
    body = [
        section("best", "Best settings", table(f"Settings of trial {results['best_trial']}", _TWO, found)),
        section("scores", "Scores", table("Of the run of the best settings", ("score", "value"), scores)),
        section("trials", "Trials", table("All trials", columns, cells)),
        section(
            "usage",
            "Use",
            tag("p", "The best settings were trained in a run of their own, with a report of its own:"),
            tag(
                "pre",
                tag("code", f"from xpnet import runs\n\nrun = runs.open({best!r})\nrun.predict('new.csv')"),
            ),
            tag("p", "The same from a shell:"),
            tag("pre", tag("code", f"xpnet predict {quoted} new.csv > predictions.csv")),
        ),
    ]
    return document(f"{title}: tuning report", heading, body, __version__)


_TWO = ("setting", "value")


def _ended(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number_of} {name}" for name, number_of in outcomes.items())


def _cell(value: Any) -> str:
    """Return a cell in few digits.

    >>> _cell(0.123456789), _cell((64, 64)), _cell("robust")
    ('0.1235', '64, 64', 'robust')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
