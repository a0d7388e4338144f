"""Messages on stderr and results on stdout, worded for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xpnet.errors import memory_in_words
from xpnet.streams import say
from xpnet.text import shown, visible

__all__ = [
    "baseline_in_words",
    "count",
    "facts",
    "interval_in_words",
    "length_in_words",
    "message",
    "number",
    "print_environment",
    "print_range",
    "print_results",
    "print_text",
    "products",
    "score_table",
    "target_in_words",
]

_HEADINGS = {
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "balanced_accuracy": "balanced",
    "subset_accuracy": "all labels",
    "f1": "F1",
    "f1_micro": "F1 (micro)",
}
_SHARES = ("accuracy", "balanced_accuracy", "subset_accuracy")

_MOST = 60  # characters of a name in a table


def message(line: str) -> None:
    """Write a line on stderr; whatever names are in it, it is one line of text."""
    say(shown(line, 4000))


def print_text(text: str) -> None:
    """Print lines on stdout, with nothing in them that a terminal obeys."""
    print(visible(text, "\n"))


def count(number: int, thing: str, plural: str | None = None) -> str:
    """Return ``number`` and the thing counted.

    >>> count(1, "row"), count(1257, "row"), count(3, "class", "classes")
    ('1 row', '1,257 rows', '3 classes')
    """
    return f"{number:,} {thing if number == 1 else plural or thing + 's'}"


def target_in_words(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of what is predicted, and what it is.

    >>> target_in_words({"target": "kind", "classes": ["rose", "tulip"]})
    ('kind', '2 classes')
    >>> target_in_words({"target": ["width", "length"], "classes": []})
    ('width, length', 'numbers')
    >>> target_in_words({"target": ["warm", "wet"], "classes": {"warm": [0, 1], "wet": [0, 1]}})
    ('warm, wet', '2 classes each')
    """
    target, classes = told["target"], told["classes"]
    names = target if isinstance(target, str) else ", ".join(target)
    if isinstance(classes, Mapping):
        numbers = {len(found) for found in classes.values()}
        return names, f"{'/'.join(map(str, sorted(numbers)))} classes each"
    return names, count(len(classes), "class", "classes") if classes else "numbers"


def products(told: Mapping[str, Any]) -> str:
    """Return how exact matrix products are, where they are not as exact as the dtype.

    >>> products({"precision": "tf32"}), products({"precision": "float32"})
    (', products in tf32', '')
    """
    return ", products in tf32" if told.get("precision") == "tf32" else ""


def _print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> None:
    """Print a table, cells as they are: nothing in them is taken for markup.

    Args:
        headings: of the columns.
        rows: their cells; that of the part "test" is bold.
        texts: how many columns, the first ones, are of text; the others are of numbers.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        is_text = index < texts
        justify: Any = "left" if is_text else "right"
        table.add_column(shown(heading, _MOST), justify=justify, overflow="fold" if is_text else "ellipsis")
    for cells in rows:
        style = "bold" if cells[0] == "test" else None
        table.add_row(*(shown(cell, 10 * _MOST) for cell in cells), style=style)
    # a file or a pipe has no width: what is read there is not to be broken
    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)


def facts(table: Mapping[str, str]) -> None:
    """Print names and values on stdout, one a line."""
    width = max(map(len, table))
    for name, value in table.items():
        print_text(f"{name:{width}}  {shown(value, 4000)}")


def print_results(results: Mapping[str, Any], lines: Mapping[str, str]) -> None:
    """Print a table of the loss and the metrics of each part, and facts below it.

    Args:
        results: with ``metrics``, a dict of a dict of numbers for each part, and ``rows``.
        lines: names and values to print below.
    """
    headings, rows = score_table(results)
    _print_table(headings, rows, texts=1)
    if results.get("target_metrics"):
        _print_target_metrics(results["target_metrics"])
    facts(lines)


def score_table(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of a table of scores: of each part, and of a constant prediction.

    Behind the main metric stands its 95 % interval for rows that were held out; those of training, on which
    the weights were chosen, have none.

    Args:
        results: with ``metrics``, a dict of a dict of numbers for each part, ``rows``, ``target``, and, if
            known, ``intervals`` and ``baseline``.
    """
    metrics, target = results["metrics"], results["target"]
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    main = next((name for name in ("accuracy", "r2") if name in names), None)
    spelled = _HEADINGS | {name: f"{_HEADINGS[name]} of {target}" for name in ("rmse", "mae")}
    headings = ["rows of", "rows"]
    for name in names:
        headings += [spelled.get(name, name), *(["95 %"] if name == main else [])]

    def cells(first: str, count: str, values: Mapping[str, Any], ends: Mapping[str, Any]) -> list[str]:
        made = [first, count]
        for name in names:
            made.append(number(name, values.get(name)))
            made += [interval_in_words(name, ends.get(name)) or "-"] if name == main else []
        return made

    known, rows = results.get("intervals", {}), []
    for part, values in metrics.items():
        ends = {} if part == "train" else known.get(part, {})
        rows.append(cells(part, f"{results['rows'][part]:,}", values, ends))
    baseline = results.get("baseline")
    if baseline and rows:
        last = list(metrics)[-1]
        values = baseline["metrics"].get(last, {})
        rows.append(cells(baseline_in_words(baseline["prediction"]), "", values, {}))
    return headings, rows


def baseline_in_words(prediction: Mapping[str, Any]) -> str:
    """Return what is always predicted.

    >>> baseline_in_words({"kind": "rose"}), baseline_in_words({"price": 3.14159})
    ("always 'rose'", 'always 3.142')
    >>> baseline_in_words({"warm": 1, "wet": 0})
    'a constant'
    """
    if len(prediction) > 1:
        return "a constant"
    (value,) = prediction.values()
    if isinstance(value, float):
        return f"always {value:.4g}"
    return f"always '{shown(str(value), 24)}'"


def interval_in_words(name: str, ends: Sequence[float] | None) -> str:
    """Return an interval of a metric for people; empty if there is none.

    >>> interval_in_words("accuracy", [0.2066, 1.0]), interval_in_words("r2", [0.8123, 0.95])
    ('20.7 to 100 %', '0.812 to 0.950')
    """
    if ends is None:
        return ""
    if name in _SHARES:
        return f"{100 * ends[0]:.3g} to {100 * ends[1]:.3g} %"
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def length_in_words(told: Mapping[str, Any]) -> str:
    """Return how long a training goes on.

    >>> told = {"epochs": 1000, "patience": 25, "time_limit": 600.0, "epochs_open": True}
    >>> print(length_in_words(told))
    until the validation loss has not fallen for 25 epochs, 1,000 epochs or 600 s at most
    >>> length_in_words({**told, "patience": None, "epochs_open": False, "time_limit": None})
    'for 1,000 epochs'
    """
    epochs = count(told["epochs"], "epoch")
    most = epochs if told["time_limit"] is None else f"{epochs} or {told['time_limit']:g} s"
    if told["patience"] is None:
        return f"for {most}"
    return f"until the validation loss has not fallen for {count(told['patience'], 'epoch')}, {most} at most"


def _print_target_metrics(parts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the metrics of each of several targets as a table."""
    names = list(dict.fromkeys(name for of in parts.values() for values in of.values() for name in values))
    rows = [
        (part, shown(target, _MOST), *(number(name, values.get(name)) for name in names))
        for part, targets in parts.items()
        for target, values in targets.items()
    ]
    _print_table(["rows of", "target", *(_HEADINGS.get(name, name) for name in names)], rows, texts=2)


def number(name: str, value: float | None) -> str:
    """Return the value of a metric for people.

    >>> number("accuracy", 0.9721), number("loss", 0.06251), number("rmse", None)
    ('97.21 %', '0.0625', '-')
    """
    if value is None:
        return "-"
    if name in _SHARES:
        return f"{100 * value:.2f} %"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"


def print_range(rows: Sequence[tuple[float, float, float]]) -> None:
    """Print a table of learning rates, losses and smoothed losses."""
    cells = [(f"{rate:.2e}", number("loss", loss), number("loss", smoothed)) for rate, loss, smoothed in rows]
    _print_table(["learning rate", "loss", "smoothed loss"], cells, texts=0)


def print_environment(found: Mapping[str, Any]) -> None:
    """Print what ``describe_environment`` found."""
    versions = found["versions"]
    missing = [name for name, version in versions.items() if version is None]
    memory = found["memory"]
    available = "" if memory["available"] is None else f", {memory_in_words(memory['available'])} available"
    lines = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "platform": found["platform"],
        "processor": f"{found['processor']}, {count(found['cpus'], 'processor')} for this process",
        "memory": f"{memory_in_words(memory['total'])}{available}",
        "matrix products": "; ".join(found["blas"]) or "unknown (pip install threadpoolctl shows it)",
    }
    called, why = found["compiled_products"].values()
    if why:
        lines["products by numba"] = f"{called} ({why})" if called else why
    lowerings = found["lowerings"].items()
    lines["--compile"] = ", ".join(f"not {name} ({why})" if why else name for name, why in lowerings)
    if missing:
        lines["not installed"] = f"{', '.join(missing)} (pip install 'xpnet[standard]')"
    if found["blas_advice"]:
        chosen = found["OPENBLAS_CORETYPE"]
        already = f"your environment has OPENBLAS_CORETYPE={chosen}; " if chosen else ""
        lines["advice"] = already + found["blas_advice"]
    elif found["blas_faster_kernel"]:
        kernel = found["blas_faster_kernel"]
        lines["advice"] = (
            f"the xpnet command uses the {kernel} kernel, the faster one here; for your own programs: "
            f"export OPENBLAS_CORETYPE={kernel}"
        )
    if found["XPNET_BACKEND"]:
        lines["XPNET_BACKEND"] = found["XPNET_BACKEND"]
    if found["CUPY_TF32"]:
        lines["CUPY_TF32"] = f"{found['CUPY_TF32']}, which does not count: --precision tf32 asks for TF32"
    facts(lines)
    rows = []
    for name, state in found["backends"].items():
        devices = []
        for device in state["devices"]:
            card = state["memory"].get(device)
            if card:
                free, total = memory_in_words(card["free"]), memory_in_words(card["total"])
                device += f" ({card['name']}, {free} of {total} free)"
            devices.append(device)
        told = ", ".join(devices) if state["usable"] else state["reason"]
        rows.append((name, "yes" if state["usable"] else "no", state["version"] or "-", told))
    _print_table(["backend", "usable", "version", "devices, or why not"], rows, texts=4)
