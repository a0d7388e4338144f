"""Messages on stderr and results on stdout, worded for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from xpnet.errors import memory_in_words

__all__ = [
    "INTERRUPTED",
    "count",
    "facts",
    "message",
    "number",
    "print_environment",
    "print_range",
    "print_results",
    "products",
    "reason",
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

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def message(line: str) -> None:
    """Write a line on stderr."""
    print(line, file=sys.stderr)


def reason(error: Exception) -> str:
    """Return what an error says, of one of the system's without its number.

    >>> reason(OSError(28, "No space left on device", "run/loss.svg"))
    "'run/loss.svg': No space left on device"
    """
    if not isinstance(error, OSError):
        return str(error)
    place = f"'{error.filename}': " if error.filename else ""
    return f"{place}{error.strerror or error}"


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


def _console() -> Any:
    from rich.console import Console

    # a file or a pipe has no width: what is read there is not to be broken
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=False)


def facts(table: Mapping[str, str]) -> None:
    """Print names and values on stdout, one a line."""
    width = max(map(len, table))
    for name, value in table.items():
        print(f"{name:{width}}  {value}")


def print_results(results: Mapping[str, Any], lines: Mapping[str, str]) -> None:
    """Print a table of the loss and the metrics of each part, and facts below it.

    Args:
        results: with ``metrics``, a dict of a dict of numbers for each part, and ``rows``.
        lines: names and values to print below.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    metrics = results["metrics"]
    table.add_column("rows of")
    table.add_column("rows", justify="right")
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    target = results["target"]
    headings = _HEADINGS | {name: f"{_HEADINGS[name]} of {target}" for name in ("rmse", "mae")}
    for name in names:
        table.add_column(headings.get(name, name), justify="right")
    for part, values in metrics.items():
        shown = [number(name, values.get(name)) for name in names]
        table.add_row(part, f"{results['rows'][part]:,}", *shown, style="bold" if part == "test" else None)
    _console().print(table)
    if "target_metrics" in results:
        _console().print(_targets_table(results["target_metrics"]))
    facts(lines)


def _targets_table(parts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    """Return the metrics of each of several targets as a table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rows of")
    table.add_column("target", overflow="fold")
    names = list(next(iter(next(iter(parts.values())).values())))
    for name in names:
        table.add_column(_HEADINGS.get(name, name), justify="right")
    for part, targets in parts.items():
        for target, values in targets.items():
            shown = [number(name, values.get(name)) for name in names]
            table.add_row(part, target, *shown, style="bold" if part == "test" else None)
    return table


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
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("learning rate", "loss", "smoothed loss"):
        table.add_column(heading, justify="right")
    for rate, loss, smoothed in rows:
        table.add_row(f"{rate:.2e}", number("loss", loss), number("loss", smoothed))
    _console().print(table)


def print_environment(found: Mapping[str, Any]) -> None:
    """Print what ``describe_environment`` found."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("backend", "usable", "version", "devices, or why not"):
        table.add_column(name, overflow="fold")
    for name, state in found["backends"].items():
        devices = []
        for device in state["devices"]:
            card = state["memory"].get(device)
            if card:
                free, total = memory_in_words(card["free"]), memory_in_words(card["total"])
                device += f" ({card['name']}, {free} of {total} free)"
            devices.append(device)
        reason = ", ".join(devices) if state["usable"] else state["reason"]
        table.add_row(name, "yes" if state["usable"] else "no", state["version"] or "-", Text(reason))
    _console().print(table)
