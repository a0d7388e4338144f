"""Columns of numbers, standardized or scaled otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.data.columns.cells import (
    PLAIN,
    beyond_exact,
    is_temporal,
    is_text,
    named_cells,
    numbers,
    other_cells,
    text_among,
    text_of,
)
from xpnet.data.columns.scaling import STANDARD, Encoding, Scaling, scalings_of
from xpnet.data.columns.statistics import FAR, Statistics, moments_of, statistics_of
from xpnet.data.findings import Findings
from xpnet.data.notations import Notation
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["Numeric"]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A column of numbers, standardized: z = (x - mean) / std, or with another scaling.

    ``std`` is the population standard deviation. A column that is constant in the training rows has
    ``std`` 1, so that those rows give zeros.

    A cell is *absurd* if it lies farther from the median of the training cells than 1000 (`FAR`) times the
    distance of their quartiles (of the quantiles of 5 and 95 %, or 1 and 99 %, where the quartiles are
    equal). If there are such cells among the training rows, but no more than 5 % of them, mean, deviation
    and scaling are those of the other cells. An absurd cell, in training or later, is taken for the nearest
    of the ordinary training cells.

    Attributes:
        name: the column.
        mean: of the training cells.
        std: their standard deviation.
        fill: the value that a missing cell takes under "impute": the training median; None: the mean.
        limits: beyond them a cell is absurd; None: no cell is.
        span: the smallest and the largest ordinary training cell; None where ``limits`` is.
        indicator: whether a second feature is 1 where a cell is missing: some training cells were.
        notation: of numbers in text.
        boolean: whether the training cells were truth values.
        scaling: how z follows from x where it is not by mean and deviation.
        clamp: whether decoded values are at least the smallest and at most the largest of ``span``.
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
    boolean: bool = False
    scaling: Scaling | None = None
    clamp: bool = False

    def fit(
        self,
        cells: np.ndarray,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        encoding: Encoding = STANDARD,
        known: Statistics | None = None,
        weight: np.ndarray | None = None,
    ) -> Numeric:
        """Return the column with what the training cells say.

        Args:
            cells: (rows,) float64, NaN where a cell is missing; at least one is there.
            rows: their numbers in the table, for messages.
            findings: take note of absurd cells.
            missing: the policy; under "impute" a column with missing cells gets an indicator.
            encoding: says how numbers are scaled.
            known: the statistics of the cells, where they are known; all of these are finite then.
            weight: (rows,) above 0, of the rows in mean and deviation; None: they are equal.
        """
        gone = False
        if known is None:
            finite = np.isfinite(cells)
            gone, present = bool(np.isnan(cells).any()), cells[finite]
            if present.size == 0:
                raise DataError(
                    f"column '{self.name}' holds no finite number in {len(cells)} training rows: leave it "
                    f"out with {use('drop', self.name)}"
                )
            of_rows = None if weight is None else weight[finite]
            known = statistics_of(present[None], encoding.scaling, of_rows)[0]
        mean, std, span, scaling = known.mean, known.std, known.span, known.scaling
        if known.absurd or np.isinf(cells).any():
            absurd = (cells < known.limits[0]) | (cells > known.limits[1])
            there = ~absurd & ~np.isnan(cells)
            ordinary = cells[there]
            span = low, high = float(ordinary.min()), float(ordinary.max())
            far = f"{FAR:,.0f} times the distance of the quartiles from the median, {known.median:.6g}"
            findings.decide(
                self.name,
                f"has absurd cells, which are taken for the nearest of the others ({low:.6g} to {high:.6g})",
                f"{named_cells(cells, absurd, rows)}: farther than {far}; correct them, or take the rows out",
                warning=True,
                cells=int(absurd.sum()),
            )
            ends = np.asarray([low]), np.asarray([high])
            moments = moments_of(ordinary[None], *ends, None if weight is None else weight[there])
            mean, std = (float(moment[0]) for moment in moments)
            (scaling,) = scalings_of(ordinary[None], encoding.scaling)
        if not 0.0 < std < math.inf or not math.isfinite(mean):
            raise DataError(
                f"column '{self.name}' cannot be standardized: its values run from {span[0]!r} to "
                f"{span[1]!r}; rescale it"
            )
        indicator = missing == "impute" and gone
        found = known.median, known.limits, span, indicator
        return Numeric(self.name, mean, std, *found, self.notation, self.boolean, scaling)

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
        if series.dtype.is_numeric():
            return numbers(series, rows, self.notation)
        if is_temporal(series):
            raise DataError(
                f"column '{series.name}' holds {series.dtype} values; expected numbers, as in training: "
                "convert it"
            )
        cells = numbers(series, rows, self.notation)
        if not self.reads_words(series):
            return cells
        found = cells[~np.isnan(cells)]
        few = found.size > 0 if self.span is None else self.span == (0.0, 1.0)
        if few and np.all((found == 0) | (found == 1)):
            words = text_of(series).str.strip_chars().str.to_lowercase()
            for word, number in (("true", 1.0), ("false", 0.0)):
                cells = np.where((words == word).fill_null(False).to_numpy(), number, cells)
        return cells

    def reads_words(self, series: polars.Series) -> bool:
        """Whether other cells say how one is read: "true" among text of numbers may be 1, or none."""
        return is_text(series) and self.notation == PLAIN

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

        Text among numbers, where it counts as missing, is noted as a warning that names the cells, and so are
        whole numbers of a feature that float64 cannot hold; of a target they are an error.
        """
        self._complain_of_digits(series, cells, rows, findings, target)
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

    def _complain_of_digits(
        self, series: polars.Series, cells: np.ndarray, rows: np.ndarray, findings: Findings, target: bool
    ) -> None:
        whole = beyond_exact(series, cells)
        lost = np.zeros(len(cells), dtype=bool)
        lost[[place for place, number in whole.items() if target or number != int(cells[place])]] = True
        if not lost.any():
            return
        name, first = series.name, int(np.argmax(lost))
        holds = f"row {rows[first] + 1}, column '{name}' holds {series[first]}{other_cells(lost)}"
        if target:
            raise DataError(
                f"{holds}: whole numbers beyond 2**53 are not exact in float64; use "
                f"{use('task', 'classification')}, or choose another target"
            )
        findings.decide(
            name,
            "has whole numbers beyond 2**53, whose last digits are lost",
            f"{holds}, which is taken as {int(cells[first])}; {use('categorical', name)} takes them as "
            "categories",
            warning=True,
            cells=int(lost.sum()),
        )

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
        z = self.scaled(cells)
        if np.isinf(z).any():
            first = int(np.argmax(np.isinf(z)))
            raise DataError(
                f"row {rows[first] + 1}, column '{self.name}': {cells[first]} is too far from the training "
                f"values (mean {self.mean!r}) to be standardized"
            )
        gone = np.isnan(z)
        if gone.any():
            fill = self.mean if self.fill is None or missing != "impute" else self.fill
            z = np.where(gone, self.scaled(np.asarray(fill)), z)
        return np.column_stack([z, gone]) if self.indicator else z

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Return z of numbers of any shape; NaN stays."""
        if self.scaling is not None:
            return self.scaling(x)
        with np.errstate(over="ignore"):
            z: np.ndarray = (x - self.mean) / self.std
        return z

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
        """Return the values (rows,) float64 of standardized z, clamped if so fitted."""
        return self.clamped(z.astype(np.float64) * self.std + self.mean)

    def clamped(self, values: np.ndarray) -> np.ndarray:
        """Return values within those of the training, if so fitted; NaN stays."""
        return np.clip(values, *self.span) if self.clamp and self.span is not None else values

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
            **({"boolean": True} if self.boolean else {}),
            **({} if self.scaling is None else {"scaling": self.scaling.to_json()}),
            **({"clamp": True} if self.clamp else {}),
        }
