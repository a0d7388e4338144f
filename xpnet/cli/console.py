"""Messages on stderr and results on stdout, worded for people."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from xpnet.cli.wording import in_flags
from xpnet.errors import Words, memory_in_words
from xpnet.runs.words import HEADINGS, number, score_table
from xpnet.streams import say
from xpnet.text import count, shown, visible
from xpnet.train.deadline import Stopwatch

__all__ = [
    "Stopped",
    "facts",
    "hush",
    "message",
    "messages",
    "print_environment",
    "print_range",
    "print_results",
    "print_text",
    "stopwatch",
]

_MOST = 60  # characters of a name in a table


def message(line: object) -> None:
    """Write a line on stderr; whatever names are in it, it is one line of text."""
    say(in_flags(line))


class Stopped(Exception):  # noqa: N818  # no error: it was wished
    """A signal ended the command; what was to be saved has been."""


class _Messages(logging.Handler):
    """Shows what the package logs on stderr: warnings once, and what runs say of themselves."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.quiet, self.stopwatch = False, Stopwatch()
        self._known: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        of_run = record.name.startswith(_OF_RUNS)
        if self.quiet and not (of_run and record.levelno >= logging.WARNING):
            return
        line = in_flags(
            record.msg if isinstance(record.msg, Words) and not record.args else record.getMessage()
        )
        if record.levelno < logging.WARNING:
            say(line)
        elif line not in self._known:
            self._known.add(line)
            say(f"{record.levelname.lower()}: {line}")


_OF_RUNS = "xpnet.runs"
_shown: list[_Messages] = []


def stopwatch() -> Stopwatch:
    """Return the stopwatch that runs since the command began."""
    return _shown[-1].stopwatch if _shown else Stopwatch()


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """Inside this context the package's log is shown on stderr."""
    handler, logger, of_runs = _Messages(), logging.getLogger("xpnet"), logging.getLogger(_OF_RUNS)
    level = of_runs.level
    logger.addHandler(handler)
    of_runs.setLevel(logging.INFO)
    _shown.append(handler)
    try:
        yield
    finally:
        _shown.remove(handler)
        of_runs.setLevel(level)
        logger.removeHandler(handler)


def hush() -> None:
    """Show no more than warnings of runs, which concern what is on the disk."""
    for handler in _shown:
        handler.quiet = True


def print_text(text: str) -> None:
    """Print lines on stdout, with nothing in them that a terminal obeys."""
    print(visible(text, "\n"))


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


def _print_target_metrics(parts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the metrics of each of several targets as a table."""
    names = list(dict.fromkeys(name for of in parts.values() for values in of.values() for name in values))
    rows = [
        (part, shown(target, _MOST), *(number(name, values.get(name)) for name in names))
        for part, targets in parts.items()
        for target, values in targets.items()
    ]
    _print_table(["rows of", "target", *(HEADINGS.get(name, name) for name in names)], rows, texts=2)


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
        lines["not installed"] = f"{', '.join(missing)} (pip install {' '.join(missing)})"
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
