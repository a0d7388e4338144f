"""Columns of dates and times: features of the calendar, of the clock, and of the time that has gone by."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.columns.cells import is_temporal, is_text, named_cells, other_cells, text_among
from xpnet.data.columns.date_text import read_dates
from xpnet.data.columns.numeric import Numeric
from xpnet.data.columns.scaling import STANDARD, Encoding
from xpnet.data.findings import Findings
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["CYCLES", "Dates", "is_temporal"]

CYCLES = ("month", "weekday", "hour")
"""What comes round again; each is a point on a circle: the sine and the cosine of its angle."""

_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Dates:
    """A column of dates, moments or times of a day, in UTC.

    Its features, as far as they differ among the training rows:

    - ``NAME year``: the year, scaled as numbers are;
    - ``NAME month (sin)``, ``(cos)``: the month as an angle, so that December is next to January;
      likewise ``weekday`` and, where times are not all the same, ``hour`` (with its fraction);
    - ``NAME elapsed``: the time gone by in days, scaled likewise.

    Attributes:
        name: the column.
        form: how text is read, one of `xpnet.data.columns.date_text.FORMS`.
        cycles: those of `CYCLES` that differ.
        year: how the year is scaled; None: it is the same in all training rows.
        elapsed: how the time is scaled.
        indicator: whether a last feature is 1 where a cell is missing: some training cells were. Such a cell
            has the median of year and time, and no month, weekday and hour: zeros, the middle of the circle.
    """

    kind: ClassVar[str] = "dates"
    name: str
    form: str = "year-month-day"
    cycles: tuple[str, ...] = ()
    year: Numeric | None = None
    elapsed: Numeric | None = None
    indicator: bool = False
    from_text: ClassVar[bool] = True

    def fit(
        self,
        cells: np.ndarray,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        encoding: Encoding = STANDARD,
        weight: np.ndarray | None = None,
    ) -> Dates:
        """Return the column with what the training cells say; at least one is there."""
        gone = np.isnat(cells)
        present, there = cells[~gone], rows[~gone]
        weight = None if weight is None else weight[~gone]
        known = CYCLES if "day" in self.form or "hour" in self.form else ("month",)
        cycles = tuple(cycle for cycle in known if len(np.unique(_number(cycle, present))) > 1)
        years = _number("year", present)

        def fitted(part: str, numbers: np.ndarray) -> Numeric:
            column = Numeric(f"{self.name} {part}")
            return column.fit(numbers, there, Findings(), encoding=encoding, weight=weight)

        year = fitted("year", years) if len(np.unique(years)) > 1 else None
        elapsed = fitted("elapsed", _number("elapsed", present))
        absurd = _absurd(elapsed, present)
        if absurd.any():
            assert elapsed.span is not None
            first, last = (_day(value) for value in elapsed.span)
            findings.decide(
                self.name,
                f"has absurd dates, whose year and time are taken for the nearest of the others ({first} to "
                f"{last})",
                named_cells(np.datetime_as_string(present, "D"), absurd, there),
                warning=True,
                cells=int(absurd.sum()),
            )
        indicator = missing == "impute" and bool(gone.any())
        return dataclasses.replace(self, cycles=cycles, year=year, elapsed=elapsed, indicator=indicator)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features, see above."""
        names = [f"{self.name} year"] if self.year is not None else []
        names += [f"{self.name} {cycle} ({wave})" for cycle in self.cycles for wave in ("sin", "cos")]
        names += [f"{self.name} elapsed"] if self.elapsed is not None else []
        return (*names, f"{self.name} is missing") if self.indicator else tuple(names)

    def read(self, series: polars.Series, rows: np.ndarray) -> np.ndarray:
        """Return the moments (rows,), datetime64 in microseconds, with NaT where there is none.

        Raises:
            DataError: the cells are neither dates or times nor text.
        """
        pl = import_polars()
        if series.dtype == pl.Null:
            return np.full(len(series), np.datetime64("NaT", "us"))
        if is_text(series):
            return read_dates(series, self.form)
        if not is_temporal(series):
            raise DataError(
                f"column '{series.name}' holds {series.dtype} values; expected dates or times, as in training"
            )
        if series.dtype == pl.Time:
            return (series.cast(pl.Int64) // 1000).cast(pl.Datetime("us")).to_numpy()
        # counted in UTC, whatever the zone
        zone = getattr(series.dtype, "time_zone", None)
        counted = series.cast(pl.Datetime("us", zone)).dt.timestamp("us")
        return counted.cast(pl.Datetime("us")).to_numpy()

    @staticmethod
    def gone(cells: np.ndarray) -> np.ndarray:
        """Return which cells are missing, (rows,) bool: in text also those that are no date."""
        return np.isnat(cells)

    bad = gone

    def complain(
        self,
        series: polars.Series,
        cells: np.ndarray,
        missing: str,
        rows: np.ndarray,
        findings: Findings,
        *,
        target: bool = False,
    ) -> None:
        """Raise a `DataError` for the first cell that the policy ``missing`` does not cover."""
        gone = np.isnat(cells)
        if not gone.any():
            return
        name, first = series.name, int(np.argmax(gone))
        if missing == "error":
            state = "is missing" if series[first] is None else f"holds '{series[first]}'"
            raise DataError(
                f"row {rows[first] + 1}, column '{name}' {state} in a column of dates{other_cells(gone)}: "
                f"correct it, or use {use('missing', 'impute')} (takes the median of the training rows) or "
                f"{use('missing', 'drop')} (leaves such rows out)"
            )
        if not is_text(series):
            return
        text = text_among(series, gone, rows)
        if text is None:
            return
        found, there, named, too_many = text
        if too_many:
            raise DataError(
                f"column '{name}': {found:,} of its {there:,} cells are no dates of the form {self.form}, as "
                f"in {named}; correct them"
            )
        findings.decide(
            name,
            f"has cells that are no dates of the form {self.form}, which count as missing",
            f"{found:,} of {there:,} cells: {named}",
            warning=True,
            cells=found,
        )

    def encode(
        self,
        cells: np.ndarray,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        unseen: str = "error",
    ) -> np.ndarray:
        """Return the features (rows, features)."""
        gone = np.isnat(cells)
        columns = []
        if self.year is not None:
            columns.append(self.year.encode(_number("year", cells), rows, Findings(), missing=missing))
        for cycle in self.cycles:
            angle = 2 * np.pi * _number(cycle, cells) / {"month": 12, "weekday": 7, "hour": 24}[cycle]
            columns += [np.where(gone, 0.0, np.sin(angle)), np.where(gone, 0.0, np.cos(angle))]
        if self.elapsed is not None:
            absurd = _absurd(self.elapsed, cells)
            if absurd.any():
                findings.decide(
                    self.name,
                    "has absurd dates, whose year and time are taken for the nearest of the training",
                    named_cells(np.datetime_as_string(cells, "D"), absurd, rows),
                    warning=True,
                    cells=int(absurd.sum()),
                )
            columns.append(self.elapsed.encode(_number("elapsed", cells), rows, Findings(), missing=missing))
        return np.column_stack([*columns, gone] if self.indicator else columns)

    is_old: ClassVar[bool] = False

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "form": self.form,
            "cycles": list(self.cycles),
            "year": None if self.year is None else self.year.to_json(),
            "elapsed": None if self.elapsed is None else self.elapsed.to_json(),
            "indicator": self.indicator,
        }


def _number(part: str, moments: np.ndarray) -> np.ndarray:
    """Return a part of moments as float64, NaN for NaT: months from 0, weekdays from Monday, hours, days."""
    gone = np.isnat(moments)
    known = np.where(gone, np.datetime64(0, "us"), moments) if gone.any() else moments
    counted = known.astype(np.int64)
    numbers: np.ndarray
    if part == "year":
        numbers = known.astype("datetime64[Y]").astype(np.int64) + 1970
    elif part == "month":
        numbers = known.astype("datetime64[M]").astype(np.int64) % 12
    elif part == "weekday":  # 1970 began on a Thursday
        numbers = (counted // _DAY + 3) % 7
    elif part == "hour":
        numbers = counted % _DAY / (_DAY / 24)
    else:
        numbers = counted / _DAY
    return np.where(gone, np.nan, numbers) if gone.any() else numbers.astype(np.float64)


def _absurd(elapsed: Numeric, moments: np.ndarray) -> np.ndarray:
    """Return which moments are absurdly far from those of the training."""
    days = _number("elapsed", moments)
    assert elapsed.limits is not None
    return (days < elapsed.limits[0]) | (days > elapsed.limits[1])


def _day(days: float) -> str:
    return str(np.datetime64(int(days), "D"))
