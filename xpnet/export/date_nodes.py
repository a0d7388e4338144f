"""Dates and times in the ISO form as numbers, in nodes of ONNX.

A cell is ``2021-04-03``, ``2021-04``, ``14:05`` or ``2021-04-03T14:05:59.5+02:00``, with a blank or a T
before the time; seconds and zone may be absent, and Z is UTC. Where the training had dates in another form of
digits, that is read, too, such as ``3.4.2021 14:05``. Anything else is missing.
"""

from __future__ import annotations

from typing import Any

from xpnet.export.graph import Graph

__all__ = ["in_iso", "parts_of_dates"]

_DAY = 86_400_000_000  # microseconds
_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
_DATE = rf"[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}([T ]{_TIME})?"
_MONTH = r"[0-9]{4}-[0-9]{2}"
# The order of day, month and year in other forms, and the marks between them.
_FORMS = {
    "year-month-day": ("Ymd", "/."),
    "day.month.year": ("dmy", "."),
    "day/month/year": ("dmy", "/-"),
    "month/day/year": ("mdy", "/-."),
}
_DIGITS = {"y": "[0-9]{4}|[0-9]{2}", "m": "[0-9]{1,2}", "d": "[0-9]{1,2}", "Y": "[0-9]{4}"}
_CYCLE = 400  # years after which the calendar comes round again: added, so that no number is negative
_CYCLE_DAYS = 146_097
_EPOCH = 719_468  # days from the first of March of the year 0 to 1970


def in_iso(graph: Graph, cells: str, form: str) -> str:
    """Return dates of a form of `xpnet.data.columns.date_text.FORMS` in the ISO form; others as they are."""
    order, marks = _FORMS.get(form, ("", ""))
    for mark in marks:
        sign = f"[{mark}]"
        digits = sign.join(f"({_DIGITS[part]})" for part in order)
        fits = graph.add("RegexFullMatch", cells, pattern=f"{digits}( {_TIME})?")
        whole = graph.add("Where", fits, cells, graph.constant(f"1{mark}1{mark}1970"))
        date, time = _split(graph, whole, " ", 2)
        parts = dict(zip(order.lower(), _split(graph, date, mark, 3), strict=True))
        short = graph.add("RegexFullMatch", parts["y"], pattern="[0-9]{2}")
        early = graph.add("Less", _number(graph, parts["y"], "int64"), graph.constant(69, "int64"))
        century = graph.add("Where", early, graph.constant("20"), graph.constant("19"))
        century = graph.add("Where", short, century, graph.constant(""))
        between = graph.add("Equal", time, graph.constant(""))
        between = graph.add("Where", between, graph.constant(""), graph.constant(" "))
        dash = graph.constant("-")
        made = graph.add("StringConcat", century, parts["y"])
        for other in (dash, parts["m"], dash, parts["d"], between, time):
            made = graph.add("StringConcat", made, other)
        cells = graph.add("Where", fits, made, cells)
    return cells


class _Numbers:
    """Arithmetic on whole numbers of a graph, which rounds down where numbers are not negative."""

    def __init__(self, graph: Graph):
        self._graph = graph

    def __call__(self, op: str, *given: Any, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self._graph.constant(x, "int64") for x in given]
        return str(self._graph.add(op, *names, **attributes))

    def sum(self, *given: Any) -> str:
        """Return the sum."""
        total = given[0]
        for x in given[1:]:
            total = self("Add", total, x)
        return str(total)


def parts_of_dates(graph: Graph, cells: str) -> tuple[dict[str, str], str]:
    """Return the parts of dates as float64, by name, and which cells have none; shapes as that of ``cells``.

    The parts are those of `xpnet.data.columns.dates`: year, month from 0, weekday from Monday, hour with its
    fraction, and days since 1970, all of UTC. Where a cell has no date they mean nothing.
    """
    n = _Numbers(graph)
    text = graph.constant
    dated, monthly, timed = (
        graph.add("RegexFullMatch", cells, pattern=pattern) for pattern in (_DATE, _MONTH, _TIME)
    )
    none = text("1970-01-01")
    whole = graph.add("Where", timed, graph.add("StringConcat", text("1970-01-01 "), cells), none)
    whole = graph.add("Where", monthly, graph.add("StringConcat", cells, text("-01")), whole)
    whole = graph.add("Where", dated, cells, whole)
    date, after = _split(graph, whole, "T", 2)
    date, beside = _split(graph, date, " ", 2)
    time, _ = _split(graph, graph.add("StringConcat", after, beside), "Z", 2)
    time, east = _split(graph, time, "+", 2)
    time, west = _split(graph, time, "-", 2)
    year, month, day = (_number(graph, x, "int64") for x in _split(graph, date, "-", 3))
    hour, minute, second = _split(graph, time, ":", 3)
    hour, minute = _number(graph, hour, "int64"), _number(graph, minute, "int64")
    seconds = _number(graph, second, "float64")
    zone = n("Sub", _minutes(graph, n, east), _minutes(graph, n, west))

    real = graph.add("Or", graph.add("Or", dated, monthly), timed)
    sensible = graph.add("And", n("GreaterOrEqual", month, 1), n("LessOrEqual", month, 12))
    month = n("Where", sensible, month, 1)  # which is an index below
    for condition in (
        n("GreaterOrEqual", day, 1),
        n("LessOrEqual", day, _days_of_month(graph, n, year, month)),
        n("Less", hour, 24),
        n("Less", minute, 60),
        graph.add("Less", seconds, graph.constant(61.0)),
    ):
        sensible = graph.add("And", sensible, condition)
    gone = graph.add("Not", graph.add("And", real, sensible))

    clock = n("Mul", n("Sub", n.sum(n("Mul", hour, 60), minute), zone), 60_000_000)
    fraction = graph.add("Cast", graph.add("Round", graph.add("Mul", seconds, graph.constant(1e6))), to=7)
    counted = n.sum(n("Mul", _days(n, year, month, day), _DAY), clock, fraction)
    of_day = n("Mod", counted, _DAY)
    days = n("Div", n("Sub", counted, of_day), _DAY)
    year, month = _year_and_month(n, days)
    numbers = {"year": year, "month": n("Sub", month, 1), "weekday": n("Mod", n.sum(days, 3), 7)}
    parts = {name: str(graph.add("Cast", x, to=11)) for name, x in numbers.items()}
    for name, x, unit in (("hour", of_day, _DAY / 24), ("elapsed", counted, float(_DAY))):
        parts[name] = str(graph.add("Div", graph.add("Cast", x, to=11), graph.constant(unit)))
    return parts, str(gone)


def _split(graph: Graph, cells: str, delimiter: str, count: int) -> list[str]:
    """Return the first parts of texts, empty ones where there are fewer."""
    longer = graph.add("StringConcat", cells, graph.constant(delimiter * (count - 1)))
    parts, _ = graph.add("StringSplit", longer, count=2, delimiter=delimiter)
    return [str(graph.add("Gather", parts, graph.constant(i, "int64"), axis=-1)) for i in range(count)]


def _number(graph: Graph, text: str, dtype: str) -> str:
    """Return texts of digits as numbers, empty ones as 0."""
    empty = graph.add("Equal", text, graph.constant(""))
    found = graph.add("Cast", graph.add("Where", empty, graph.constant("0"), text), to=11)
    return str(found if dtype == "float64" else graph.add("Cast", found, to=7))


def _minutes(graph: Graph, n: _Numbers, zone: str) -> str:
    hours, minutes = (_number(graph, x, "int64") for x in _split(graph, zone, ":", 2))
    return n.sum(n("Mul", hours, 60), minutes)


def _days_of_month(graph: Graph, n: _Numbers, year: str, month: str) -> str:
    lengths = graph.constant([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], "int64")
    usual = graph.add("Gather", lengths, n("Sub", month, 1))
    by_4, by_100, by_400 = (n("Equal", n("Mod", year, k), 0) for k in (4, 100, 400))
    leap = graph.add("Or", graph.add("And", by_4, graph.add("Not", by_100)), by_400)
    long = graph.add("And", leap, n("Equal", month, 2))
    return n("Where", long, 29, usual)


def _days(n: _Numbers, year: str, month: str, day: str) -> str:
    """Return the days since 1970 of a date; years begin in March here, so that leap days are last."""
    year = n("Add", n("Where", n("LessOrEqual", month, 2), n("Sub", year, 1), year), _CYCLE)
    era = n("Div", year, _CYCLE)
    year = n("Sub", year, n("Mul", era, _CYCLE))
    month = n("Mod", n("Add", month, 9), 12)
    of_year = n("Add", n("Div", n("Add", n("Mul", month, 153), 2), 5), n("Sub", day, 1))
    of_era = n.sum(n("Mul", year, 365), n("Div", year, 4), of_year)
    of_era = n("Sub", of_era, n("Div", year, 100))
    return n("Sub", n.sum(n("Mul", era, _CYCLE_DAYS), of_era), _EPOCH + _CYCLE_DAYS)


def _year_and_month(n: _Numbers, days: str) -> tuple[str, str]:
    """Return the year and the month, from 1, of days since 1970."""
    days = n("Add", days, _EPOCH + _CYCLE_DAYS)
    era = n("Div", days, _CYCLE_DAYS)
    days = n("Sub", days, n("Mul", era, _CYCLE_DAYS))
    leaps = n("Sub", n("Sub", n("Div", days, 36_524), n("Div", days, 1_460)), n("Div", days, 146_096))
    year = n("Div", n("Add", days, leaps), 365)
    before = n("Sub", n("Add", n("Mul", year, 365), n("Div", year, 4)), n("Div", year, 100))
    month = n("Div", n("Add", n("Mul", n("Sub", days, before), 5), 2), 153)
    month = n("Where", n("Less", month, 10), n("Add", month, 3), n("Sub", month, 9))
    year = n("Sub", n("Add", n("Mul", era, _CYCLE), year), _CYCLE)
    return n("Where", n("LessOrEqual", month, 2), n("Add", year, 1), year), month
