"""Columns of numbers, standardized."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.data.columns.cells import (
    PLAIN,
    is_temporal,
    is_text,
    named_cells,
    numbers,
    other_cells,
    text_among,
    text_of,
)
from xpnet.data.findings import Findings
from xpnet.data.notations import Notation
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["FAR", "Numeric"]

FAR = 1000.0
"""A cell is absurd if it is farther from the median than so many times the distance of the quartiles."""

_FEWEST = 8  # cells from which quartiles say anything
_ABSURD_SHARE = 0.05  # of the cells: more of them are a part of the distribution
_QUANTILES = ((0.25, 0.75), (0.05, 0.95), (0.01, 0.99))  # the outer ones where the inner ones coincide
_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Numeric:
    """A column of numbers, standardized: z = (x - mean) / std.

    ``std`` is the population standard deviation. A column that is constant in the training rows has
    ``std`` 1, so that those rows give zeros.

    A cell is *absurd* if it lies farther from the median of the training cells than 1000 (`FAR`) times the
    distance of their quartiles (of the quantiles of 5 and 95 %, or 1 and 99 %, where the quartiles are
    equal). If there are such cells among the training rows, but no more than 5 % of them, mean and deviation
    are those of the other cells. An absurd cell, in training or later, is taken for the nearest of the
    ordinary training cells.

    Attributes:
        name: the column.
        mean: of the training cells.
        std: their standard deviation.
        fill: the value that a missing cell takes under "impute": the training median; None: the mean.
        limits: beyond them a cell is absurd; None: no cell is.
        span: the smallest and the largest ordinary training cell; None where ``limits`` is.
        indicator: whether a second feature is 1 where a cell is missing: some training cells were.
        notation: of numbers in text.
    """

    kind: ClassVar[str] = "numeric"
    name: str
    mean: float = 0.0
    std: float = 1.0
    fill: float | None = None
    limits: tuple[float, float] | None = None
    span: tuple[float, float] | None = None
    indicator: bool = False
    notation: Notation = PLAIN

    def fit(
        self, cells: np.ndarray, rows: np.ndarray, findings: Findings, *, missing: str = "impute"
    ) -> Numeric:
        """Return the column with what the training cells say.

        Args:
            cells: (rows,) float64, NaN where a cell is missing; at least one is there.
            rows: their numbers in the table, for messages.
            findings: take note of absurd cells.
            missing: the policy; under "impute" a column with missing cells gets an indicator.
        """
        gone, finite = np.isnan(cells), np.isfinite(cells)
        present = cells if finite.all() else cells[finite]
        if present.size == 0:
            raise DataError(
                f"column '{self.name}' holds no finite number in {len(cells)} training rows: leave it out "
                f"with {use('drop', self.name)}"
            )
        median, limits = _limits(present)
        absurd = (cells < limits[0]) | (cells > limits[1])
        ordinary = cells[~absurd & ~gone] if absurd.any() else present
        low, high = float(ordinary.min()), float(ordinary.max())
        if absurd.any():
            far = f"{FAR:,.0f} times the distance of the quartiles from the median, {median:.6g}"
            findings.decide(
                self.name,
                f"has absurd cells, which are taken for the nearest of the others ({low:.6g} to {high:.6g})",
                f"{named_cells(cells, absurd, rows)}: farther than {far}; correct them, or take the rows out",
                warning=True,
                cells=int(absurd.sum()),
            )
        mean, std = self._moments(ordinary, low, high)
        return dataclasses.replace(
            self,
            mean=mean,
            std=std,
            fill=median,
            limits=limits,
            span=(low, high),
            indicator=missing == "impute" and bool(gone.any()),
        )

    def _moments(self, present: np.ndarray, low: float, high: float) -> tuple[float, float]:
        if low == high:
            return low, 1.0
        # scaled by a power of two, which is exact: huge squares do not overflow, tiny ones do not vanish
        exponent = math.frexp(max(abs(low), abs(high)))[1]
        scaled = np.ldexp(present, -exponent)
        mean, std = math.ldexp(float(scaled.mean()), exponent), math.ldexp(float(scaled.std()), exponent)
        if not 0.0 < std < math.inf or not math.isfinite(mean):
            raise DataError(
                f"column '{self.name}' cannot be standardized: its values run from {low!r} to {high!r}; "
                "rescale it"
            )
        return mean, std

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The column's own name, and that of its indicator."""
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)

    @property
    def from_text(self) -> bool:
        """Whether the column is to be read as text: its notation has to be known to read it."""
        return self.notation != PLAIN

    def read(self, series: polars.Series, rows: np.ndarray) -> np.ndarray:
        """Return the cells as float64, with NaN where there is no number.

        Text of booleans is 0 and 1 where the other numbers of the column, or of the training, are.
        """
        if is_temporal(series):
            raise DataError(
                f"column '{series.name}' holds {series.dtype} values; expected numbers, as in training: "
                "convert it"
            )
        cells = numbers(series, rows, self.notation)
        if not is_text(series) or self.notation != PLAIN:
            return cells
        found = cells[~np.isnan(cells)]
        few = found.size > 0 if self.span is None else self.span == (0.0, 1.0)
        if few and np.all((found == 0) | (found == 1)):
            words = text_of(series).str.strip_chars().str.to_lowercase()
            for word, number in (("true", 1.0), ("false", 0.0)):
                cells = np.where((words == word).fill_null(False).to_numpy(), number, cells)
        return cells

    @staticmethod
    def gone(cells: np.ndarray) -> np.ndarray:
        """Return which cells are missing, (rows,) bool: in text also those that are no number."""
        return np.isnan(cells)

    @staticmethod
    def bad(cells: np.ndarray) -> np.ndarray:
        """Return which cells hold no finite number, (rows,) bool."""
        return ~np.isfinite(cells)

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
        """Raise a `DataError` for the first cell that the policy ``missing`` does not cover.

        Text among numbers, where it counts as missing, is noted as a warning that names the cells.
        """
        finite = np.isfinite(cells)
        if finite.all():
            return
        if is_text(series):
            self._complain_of_text(series, cells, missing, rows, findings, target)
        faults = {
            "error": ~finite,
            "drop": np.zeros_like(finite),
            "mean": np.isinf(cells),
            "impute": np.isinf(cells) if target else np.zeros_like(finite),
        }[missing]
        if not faults.any():
            return
        first = int(np.argmax(faults))
        value = series[first]
        where = f"row {rows[first] + 1}, column '{series.name}'"
        column = ("numeric target column" if target else "numeric column") + other_cells(faults)
        drop = f"{use('missing', 'drop')} (leaves such rows out)"
        if np.isinf(cells[first]):
            raise DataError(f"{where} is infinite ({value}) in a {column}: correct it, or use {drop}")
        state = (
            "is missing"
            if value is None
            else "is NaN"
            if not isinstance(value, str)
            else f"holds text '{value}'"
        )
        takes = "leaves out rows without target" if target else "takes the median of the training rows"
        impute = f"{use('missing', 'impute')} ({takes})"
        remedy = f"{where} {state} in a {column}: correct it, or use {impute} or {drop}"
        if isinstance(value, str):
            meant = use("task", "classification") if target else use("categorical", series.name)
            remedy += f"; if text is meant, use {meant}"
        raise DataError(remedy)

    def _complain_of_text(
        self,
        series: polars.Series,
        cells: np.ndarray,
        missing: str,
        rows: np.ndarray,
        findings: Findings,
        target: bool,
    ) -> None:
        """Note which cells are text that is no number; raise a `DataError` if they are too many."""
        text = None if missing == "error" else text_among(series, np.isnan(cells), rows)
        if text is None:
            return
        name, (found, there, named, too_many) = series.name, text
        if too_many:
            correct = "write them as in the training"
            if target:
                correct = f"correct them (a target of text: {use('task', 'classification')})"
            raise DataError(
                f"column '{name}': {found:,} of its {there:,} cells are no {self._numbers}, as in {named}; "
                f"{correct}"
            )
        findings.decide(
            name,
            "has text among its numbers, which counts as missing",
            f"{found:,} of {there:,} cells: {named}",
            warning=True,
            cells=found,
        )

    @property
    def _numbers(self) -> str:
        return "numbers" if self.notation == PLAIN else str(self.notation)

    def encode(
        self,
        cells: np.ndarray,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        unseen: str = "error",
    ) -> np.ndarray:
        """Return z of shape (rows,), or with the indicator (rows, 2).

        Args:
            cells: as `read` gives them.
            rows: their numbers in the table, for messages.
            findings: take note of absurd cells.
            missing: the policy: a missing cell takes ``fill`` under "impute", otherwise the mean.
            unseen: concerns categories alone.

        Raises:
            DataError: a cell is too far from the training cells to be standardized, where there are no
                limits.
        """
        if self.limits is not None:
            cells = self._within_limits(cells, rows, findings)
        with np.errstate(over="ignore"):
            z = (cells - self.mean) / self.std
        if np.isinf(z).any():
            first = int(np.argmax(np.isinf(z)))
            raise DataError(
                f"row {rows[first] + 1}, column '{self.name}': {cells[first]} is too far from the training "
                f"values (mean {self.mean!r}) to be standardized"
            )
        gone = np.isnan(z)
        if gone.any():
            fill = self.mean if self.fill is None or missing != "impute" else self.fill
            z = np.where(gone, (fill - self.mean) / self.std, z)
        return np.column_stack([z, gone]) if self.indicator else z

    def _within_limits(self, cells: np.ndarray, rows: np.ndarray, findings: Findings) -> np.ndarray:
        assert self.limits is not None
        assert self.span is not None
        below, above = cells < self.limits[0], cells > self.limits[1]
        absurd = below | above
        if not absurd.any():
            return cells
        low, high = self.span
        findings.decide(
            self.name,
            f"has absurd cells, which are taken for the nearest of the training ({low:.6g} to {high:.6g})",
            named_cells(cells, absurd, rows),
            warning=True,
            cells=int(absurd.sum()),
        )
        return np.where(below, low, np.where(above, high, cells))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the values (rows,) float64 that `encode` made z of."""
        return z.astype(np.float64) * self.std + self.mean

    @property
    def is_old(self) -> bool:
        """Whether formats before the third can describe the column."""
        return self == Numeric(self.name, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        described: dict[str, Any] = {"kind": self.kind, "name": self.name, "mean": self.mean, "std": self.std}
        if self.is_old:
            return described
        return {
            **described,
            "fill": self.fill,
            "limits": None if self.limits is None else list(self.limits),
            "span": None if self.span is None else list(self.span),
            "indicator": self.indicator,
            **({} if self.notation == PLAIN else {"notation": self.notation.to_json()}),
        }


def _limits(present: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the median of cells, and the limits beyond which a cell is absurd."""
    n = present.size
    middle = ((n - 1) // 2, n // 2)
    places = {place for pair in _QUANTILES for q in pair for place in [_place(q, n)]}
    ordered = np.partition(present, sorted({0, n - 1, *middle, *places}))
    # halved first: the sum of two huge ones would overflow
    one, other = float(ordered[middle[0]]), float(ordered[middle[1]])
    median = one if one == other else 0.5 * one + 0.5 * other
    low, high = float(ordered[0]), float(ordered[-1])
    if n >= _FEWEST:
        for one, other in _QUANTILES:
            spread = float(ordered[_place(other, n)] / 2 - ordered[_place(one, n)] / 2)
            if not spread > 1e-9 * abs(median):  # equal but for rounding
                continue
            limits = _around(median, median, spread)
            outside = int(np.count_nonzero((present < limits[0]) | (present > limits[1])))
            if outside <= max(1.0, _ABSURD_SHARE * n):
                return median, limits
            break
    return median, _around(low, high, (high / 2 - low / 2) or abs(low) / 2 or 0.5)


def _place(quantile: float, n: int) -> int:
    return math.floor((n - 1) * quantile) if quantile < 0.5 else math.ceil((n - 1) * quantile) - (n > 1)


def _around(low: float, high: float, half: float) -> tuple[float, float]:
    """Return ``low`` and ``high`` moved apart by `FAR` times twice ``half``; at most the largest floats."""
    reach = 2.0 * FAR * half if half < _LARGEST / (2.0 * FAR) else _LARGEST
    return max(low - reach, -_LARGEST), min(high + reach, _LARGEST)
