"""Sections of a report about the run: configuration, environment, and commands that use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from xpnet.errors import memory_in_words
from xpnet.runs.report.contents import Contents
from xpnet.runs.report.elements import Html, join, section, table, tag
from xpnet.runs.settings import setting_fields

__all__ = ["configuration", "environment", "usage"]

_MOST_COLUMNS = 12
_OF_THE_RUN = ("data", "target", "task", "backend")  # each run has its own


def configuration(contents: Contents) -> Html:
    """Return the settings by section; those that differ from the default are marked."""
    fields = [field for field in setting_fields().values() if field.attribute != "out"]
    bodies, changed = [], []
    for name in dict.fromkeys(field.section for field in fields):
        rows = []
        for field in (field for field in fields if field.section == name):
            value, default = (getattr(of, field.attribute) for of in (contents.settings, contents.defaults))
            own = value != default and field.attribute not in _OF_THE_RUN
            changed += [field.key] * own
            rows.append(_setting(field.key, field.help, _value(value), _value(default), own=own))
        heading = tag("tr", tag("th", name, colspan="3", scope="rowgroup"), class_="group")
        bodies.append(tag("tbody", heading, *rows))
    head = tag("tr", *(tag("th", text, scope="col") for text in ("setting", "value", "default")))
    caption = f"All settings. Those that differ from the default: {', '.join(changed) or 'none'}"
    inside = tag("table", tag("caption", caption), tag("thead", head), *bodies, class_="settings")
    return section(
        "configuration",
        "Configuration",
        tag("div", inside, class_="scroll", role="region", aria_label=caption, tabindex="0"),
    )


def _setting(key: str, help: str, value: str, default: str, *, own: bool) -> Html:
    mark = tag("span", "changed", class_="mark") if own else ""
    return tag(
        "tr",
        tag("th", tag("code", key), tag("span", help, class_="help"), scope="row"),
        tag("td", value, " ", mark),
        tag("td", default),
        class_="changed" if own else None,
    )


def _value(value: Any) -> str:
    """Return a setting's value for people.

    >>> _value(None), _value(()), _value((64, 32)), _value(True), _value(0.001)
    ('not set', 'none', '64, 32', 'yes', '0.001')
    """
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def environment(contents: Contents) -> Html:
    """Return the section with the table, the device and the versions of the run."""
    found = contents.environment
    data, backend, memory = found["data"], found["backend"], found["memory"]
    versions = [f"{name} {version}" for name, version in found["versions"].items() if version]
    rows: list[list[Any]] = [
        ["table", f"{data['name']}{', built in' if data['built_in'] else ''}"],
        ["its rows and columns", f"{data['rows']:,} × {data['columns']:,}"],
        ["its SHA-256", tag("code", data["sha256"], class_="long")],
        ["device", f"{backend['spec']} ({backend['reason']})"],
        ["device memory", _device_memory(contents.results)],
        ["backend", f"{backend['name']} {backend['version'] or ''}"],
        ["begun", found["time"]],
        ["command", tag("code", shlex.join(found["command"]))],
        ["versions", ", ".join(versions)],
        ["platform", found["platform"]],
        ["processor", f"{found['processor']}, {found['cpus']} for this process"],
        ["memory", f"{memory_in_words(memory['total'])}, {memory_in_words(memory['available'])} available"],
        ["matrix products", "; ".join(found["blas"]) or "unknown"],
    ]
    rows = [row for row in rows if row[1]]
    rows += [["resumed", _resumed(again)] for again in found.get("resumed", ())]
    return section(
        "environment",
        "Environment",
        table("The table, the machine and the packages", ["what", "found"], rows),
    )


def _device_memory(results: Mapping[str, Any]) -> str:
    """Return the peak memory of the device in words; empty if it is not counted."""
    peak = results.get("peak_memory")
    return "" if peak is None else f"{memory_in_words(peak)} taken at most"


def _resumed(again: Mapping[str, Any]) -> str:
    return f"{again['time']}, after epoch {again['epoch']}, on {again['backend']['spec']}"


def usage(contents: Contents) -> Html:
    """Return what uses the run: in Python, and commands."""
    results = contents.results
    run = str(results["run"])
    columns = list(contents.columns)
    named: list[Any] = [tag("code", name) for name in columns[:_MOST_COLUMNS]]
    further = f" and {len(columns) - _MOST_COLUMNS:,} more" if len(columns) > _MOST_COLUMNS else ""
    epochs = max(2 * results["epochs"], results["epochs_trained"] + 1)
    names = [results["target"]] if isinstance(results["target"], str) else results["target"]
    targets = join([tag("code", name) for name in names], ", ")
    uses: list[tuple[Any, str]] = [
        ("In Python:", f"from xpnet import runs\n\nrun = runs.open({run!r})"),
        (
            join(["Predict for the rows of a table with the columns ", join(named, ", "), further, ":"]),
            'predictions = run.predict("new.csv")  # or a DataFrame',
        ),
        (join(["Measure it on a table that has ", targets, " as well:"]), 'run.evaluate("other.csv")'),
        ("Train on from where it stands:", f"run.resume(epochs={epochs})"),
        (
            "The same from a shell:",
            f"xpnet predict {shlex.quote(run)} new.csv > predictions.csv\n"
            f"xpnet evaluate {shlex.quote(run)} other.csv\n"
            f"xpnet resume {shlex.quote(run)}",
        ),
    ]
    parts = [part for words, command in uses for part in (tag("p", words), tag("pre", tag("code", command)))]
    return section("usage", "Use", *parts)
