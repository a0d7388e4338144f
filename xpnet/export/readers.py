"""Cells of a table as features, in NumPy alone: the source of these functions goes into exported folders.

They do what the columns of `xpnet.data` do, to the same bits, and need nothing but NumPy, the standard
library, `GONE`, `as_kind` and `features_of`, whose source goes with them. Each takes the cells of one column:
a list, or an array, of numbers, texts, truth values, dates, or None for missing ones.
"""

from __future__ import annotations

import csv
import datetime
import re
from typing import Any

import numpy as np

from xpnet.data.columns.categorical import as_kind, features_of
from xpnet.data.numerals import MISSING

__all__ = [
    "GONE",
    "category",
    "date",
    "number",
    "number_cells",
    "only_usable",
    "read_csv",
    "read_date",
    "read_dates",
    "read_number",
    "standardize",
]


GONE = MISSING
"""Texts that are no cell."""


def number(
    cells: Any, missing: str, *, marks: tuple[Any, ...] = (".", "", "", False, False), **fitted: Any
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the features of a column of numbers, and which cells cannot be used."""
    cells = number_cells(cells, marks, fitted["span"])
    unusable = ~np.isfinite(cells) if missing in ("error", "drop") else np.isinf(cells)
    if missing == "impute":
        unusable = np.zeros(len(cells), dtype=bool)
    return standardize(cells, missing, **fitted), unusable


def standardize(
    cells: np.ndarray,
    missing: str,
    *,
    mean: float,
    std: float,
    fill: float | None,
    limits: tuple[float, float] | None,
    span: tuple[float, float] | None,
    indicator: bool,
    scaling: tuple[Any, ...] = (),
) -> list[np.ndarray]:
    """Return scaled cells, absurd ones taken for the nearest of the training, and the indicator.

    scaling: a function and its arguments behind the cells; none: (cells - mean) / std.
    """
    if limits is not None and span is not None:
        below, above = cells < limits[0], cells > limits[1]
        if below.any() or above.any():
            cells = np.where(below, span[0], np.where(above, span[1], cells))
    function, *known = scaling or (lambda x: (x - mean) / std,)
    with np.errstate(over="ignore"):
        z = function(cells, *known)
    gone = np.isnan(z)
    if gone.any():
        fill = mean if fill is None or missing != "impute" else fill
        z = np.where(gone, function(np.asarray(fill), *known), z)
    return [z, gone] if indicator else [z]


def number_cells(cells: Any, marks: tuple[Any, ...], span: Any) -> np.ndarray:
    """Return cells as float64, with NaN where there is no number; truth values are 0 and 1."""
    array = np.asarray(cells)
    if array.dtype.kind in "biuf":
        wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
        if wide and ((array > 2**53) | (array < -(2**53))).any():
            raise ValueError("whole numbers beyond 2**53 are not exact as float64")
        return array.astype(np.float64)
    if array.dtype.kind == "m":  # durations are seconds
        return np.where(np.isnat(array), np.nan, array.astype("timedelta64[us]").astype(np.int64) / 1e6)
    found = np.asarray([read_number(cell, *marks) for cell in cells], dtype=np.float64)
    far = (cell for cell, value in zip(cells, found, strict=True) if abs(value) > 2**53)
    if any(isinstance(x, int) or (isinstance(x, str) and x.strip().lstrip("+-").isdigit()) for x in far):
        raise ValueError("whole numbers beyond 2**53 are not exact as float64")
    there = found[~np.isnan(found)]
    few = there.size > 0 if span is None else tuple(span) == (0.0, 1.0)
    if few and np.all((there == 0) | (there == 1)):  # text of truth values
        words = {"true": 1.0, "false": 0.0}
        for i, cell in enumerate(cells):
            if isinstance(cell, str) and cell.strip().lower() in words:
                found[i] = words[cell.strip().lower()]
    return found


def read_number(
    cell: Any, decimal: str, thousands: str, dress: str, percent: bool, parentheses: bool
) -> float:
    """Return the number of a cell; NaN where there is none in this notation."""
    if cell is None:
        return float("nan")
    if hasattr(cell, "total_seconds"):
        return float(cell.total_seconds())
    if not isinstance(cell, str):
        return float(cell)
    text = cell.strip()
    digits = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?"
    if not (percent or thousands or decimal != ".") and re.fullmatch(f"[+-]?(?:{digits})", text):
        return float(text)
    group = thousands if thousands in ("", ",", ".", " ", "'") else "'"
    if group != thousands:
        text = text.replace(thousands, group)
    text = re.sub(r"\s", " ", re.sub("[\u2212\u2013\uff0d]", "-", text)).replace("\u2019", "'")
    mark, part = re.escape(decimal), re.escape(group)
    whole = "[0-9]+" + (f"|[1-9][0-9]{{0,2}}(?:{part}[0-9]{{3}})+" if thousands else "")
    whole += "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}" if thousands == "," else ""  # of India: 12,34,567
    digits = f"(?:(?:{whole})(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not percent and (thousands or decimal != ".") and re.fullmatch("[+-]?(?i:inf|infinity)", text):
        return float(text)
    sign = f"(?:{dress})"
    found = re.fullmatch(
        rf"(?P<a>{sign})?\s*(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<b>{sign})?\s*(?P<inner>[+-])?\s*"
        rf"(?P<number>{digits})\s*(?P<c>{sign})?\s*(?P<close>\))?\s*(?P<d>{sign})?",
        text,
    )
    if found is None:
        return 0.0 if percent and re.fullmatch(r"0+([.,]0*)?", text) else float("nan")
    signs = (found["sign"] or "") + (found["inner"] or "")
    bracketed = found["open"] is not None
    beside = [found[name] for name in "abcd" if found[name]]
    if bracketed != (found["close"] is not None) or len(signs) + bracketed > 1 or len(beside) > 1:
        return float("nan")
    if (bracketed and not parentheses) or (percent and not beside):
        bare = not (signs or bracketed or beside)
        return 0.0 if percent and bare and re.fullmatch(r"0+([.,]0*)?", text) else float("nan")
    digits = found["number"].replace(group, "") if thousands else found["number"]
    value = float(digits.replace(decimal, "."))
    return -value if bracketed or signs == "-" else value


def category(
    cells: Any,
    missing: str,
    unseen: str,
    *,
    kind: str,
    categories: list[Any],
    own_missing: bool,
    form: str = "one-hot",
    scaling: tuple[Any, ...] = (),
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the features of a column of categories, and which cells cannot be used."""
    place = {value: i for i, value in enumerate(categories)}
    codes = np.full(len(cells), -1)
    unusable = np.zeros(len(cells), dtype=bool)
    for i, cell in enumerate(np.asarray(cells).tolist() if isinstance(cells, np.ndarray) else cells):
        if cell is None or cell != cell or (cell in GONE and cell not in place):
            continue
        if isinstance(cell, float) and abs(cell) == float("inf"):
            unusable[i] = True
            continue
        codes[i] = place.get(as_kind(cell, kind), -2)
        if codes[i] == -2 and unseen == "error":
            raise ValueError(
                f"row {i + 1}: {cell!r} is a category that no training row has; unseen='ignore' takes it "
                "for none"
            )
    if missing in ("error", "drop"):
        unusable |= codes == -1
    features = features_of(codes, len(categories), form, own_missing)
    if scaling:
        function, *known = scaling
        features = function(features, *map(np.asarray, known))
    return [*features.T], unusable


def date(
    cells: Any,
    missing: str,
    *,
    form: str,
    pattern: str,
    cycles: list[str],
    year: dict[str, Any] | None,
    elapsed: dict[str, Any] | None,
    indicator: bool,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the features of a column of dates or times, and which cells cannot be used."""
    moments = read_dates(cells, form, pattern)
    gone = np.isnat(moments)
    known = np.where(gone, np.datetime64(0, "us"), moments)
    day = 86_400_000_000  # microseconds
    counted = known.astype(np.int64)
    numbers = {
        "year": known.astype("datetime64[Y]").astype(np.int64) + 1970,
        "month": known.astype("datetime64[M]").astype(np.int64) % 12,
        "weekday": (counted // day + 3) % 7,  # 1970 began on a Thursday
        "hour": counted % day / (day / 24),
        "elapsed": counted / day,
    }
    numbers = {part: np.where(gone, np.nan, values.astype(np.float64)) for part, values in numbers.items()}
    features = [] if year is None else standardize(numbers["year"], missing, **year)
    for cycle in cycles:
        angle = 2 * np.pi * numbers[cycle] / {"month": 12, "weekday": 7, "hour": 24}[cycle]
        features += [np.where(gone, 0.0, np.sin(angle)), np.where(gone, 0.0, np.cos(angle))]
    if elapsed is not None:
        features += standardize(numbers["elapsed"], missing, **elapsed)
    unusable = gone if missing in ("error", "drop") else np.zeros(len(gone), dtype=bool)
    return [*features, gone] if indicator else features, unusable


def read_dates(cells: Any, form: str, pattern: str) -> np.ndarray:
    """Return moments in UTC, (rows,) datetime64 in microseconds; NaT where there is none."""
    array = np.asarray(cells)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    return np.asarray([read_date(cell, form, pattern) for cell in cells], dtype="datetime64[us]")


def read_date(cell: Any, form: str, pattern: str) -> np.datetime64:
    """Return the moment of a cell."""
    none = np.datetime64("NaT", "us")
    if isinstance(cell, datetime.time):
        cell = datetime.datetime.combine(datetime.date(1970, 1, 1), cell)
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(cell, datetime.date):
        return np.datetime64(cell.isoformat(), "us")
    found = re.match(pattern, cell.strip()) if isinstance(cell, str) else None
    if found is None:
        return none
    parts = found.groupdict()
    year = int(parts.get("year") or 1970)
    if len(parts.get("year") or "") == 2:  # 69 is 1969, 68 is 2068
        year += 2000 if year < 69 else 1900
    written = parts.get("month") or "1"
    names = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
    month = names.index(written.lower()[:3]) + 1 if "Month" in form else int(written)
    day, hour, minute = int(parts.get("day") or 1), int(parts.get("hour") or 0), int(parts.get("minute") or 0)
    half, second = (parts.get("half") or "").lower(), float((parts.get("second") or "0").replace(",", "."))
    hours = 1 <= hour <= 12 if half else hour < 24
    if not (1 <= month <= 12 and day >= 1 and minute < 60 and hours and second < 61):
        return none
    if half:
        hour = hour % 12 + 12 * (half == "p")
    first = np.datetime64((year - 1970) * 12 + month - 1, "M")
    days = first.astype("datetime64[D]") + (day - 1)
    if days.astype("datetime64[M]") != first:  # there is no such day
        return none
    zone, minutes = re.match("([+-])([0-9]{2}):?([0-9]{2})$", parts.get("zone") or ""), hour * 60 + minute
    if zone:
        minutes -= (-1 if zone[1] == "-" else 1) * (int(zone[2]) * 60 + int(zone[3]))
    offset = minutes * 60_000_000 + int(np.rint(second * 1_000_000))
    return days.astype("datetime64[us]") + np.timedelta64(offset, "us")


def only_usable(values: Any, usable: np.ndarray) -> Any:
    """Return predictions with NaN, or None for classes, in rows that cannot be used."""
    if isinstance(values, dict):
        return {name: only_usable(column, usable) for name, column in values.items()}
    if isinstance(values, list):
        return [value if there else None for value, there in zip(values, usable, strict=True)]
    return np.where(usable.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def read_csv(path: str) -> dict[str, list[str | None]]:
    """Return the columns of a CSV file as lists of texts; cells that count as missing are None."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        names, *rows = [row for row in csv.reader(file) if row]
    return {
        name: [None if row[i].strip() in GONE else row[i] for row in rows] for i, name in enumerate(names)
    }
