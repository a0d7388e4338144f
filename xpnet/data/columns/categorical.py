"""Columns of categories, one-hot or as codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.columns.cells import check_type, is_text, other_cells, shortened, text_of
from xpnet.data.columns.scaling import STANDARD, Encoding, Robust, robust, robust_of_counts
from xpnet.data.findings import Findings
from xpnet.data.notations import MISSING
from xpnet.data.stacks import counts_of
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["CATEGORICAL_FORMS", "UNSEEN", "Categorical", "as_kind", "cells_of", "features_of"]

UNSEEN = -2
"""Code of a category that no training row has."""

CATEGORICAL_FORMS = ("one-hot", "signed", "codes")
"""What the features of a column of categories may be."""


def cells_of(series: polars.Series) -> str:
    """Return what the categories of a column are: "str", "int", "float" or "bool"; dates and times are text.

    Raises:
        DataError: the cells are of a type that cannot be encoded, such as lists.
    """
    pl = import_polars()
    dtype = series.dtype
    if is_text(series) or dtype.is_temporal():
        return "str"
    check_type(series)
    if dtype == pl.Boolean:
        return "bool"
    whole = dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)
    return "int" if whole else "float"


@dataclass(frozen=True)
class Categorical:
    """A column of categories, as one of these forms:

    - "one-hot": one feature for each category of the training rows, in sorted order;
    - "signed": the same, but two categories are one feature, 1 for the first and -1 for the second; missing
      cells are zeros (a single category is 1, and missing cells are -1 then);
    - "codes": one feature, which is 1 for the first category, 2 for the second, and so on, for a layer that
      looks vectors up; 0 for missing and unknown cells.

    Attributes:
        name: the column.
        cells: what its categories are: "str", "int", "float" or "bool".
        categories: the categories, sorted (text by code points).
        own_missing: whether missing cells are a category of their own, the last one: some training cells
            were.
        form: one of `CATEGORICAL_FORMS`.
        scales: of each one-hot feature the scaling; none: they are as they are.
    """

    kind: ClassVar[str] = "categorical"
    name: str
    cells: str = "str"
    categories: tuple[Any, ...] = ()
    own_missing: bool = False
    form: str = "one-hot"
    scales: tuple[Robust, ...] = ()

    def fit(
        self,
        cells: polars.Series,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        encoding: Encoding = STANDARD,
    ) -> Categorical:
        """Return the column with the categories of the cells that are there.

        Args:
            cells: as `read` gives them.
            rows: their numbers in the table; of no use here.
            findings: of no use here.
            missing: the policy; under "impute" missing cells are a category of their own, if one-hot.
            encoding: says which form it takes; robust scaling is also that of one-hot features.
        """
        counts: dict[Any, int] = {}
        for value, count in counts_of(cells).items():
            category = None if value is None else as_kind(value, self.cells)
            counts[category] = counts.get(category, 0) + count
        lacking = counts.pop(None, 0)
        form = "signed" if encoding.one_hot == "signed" else "one-hot"
        if encoding.one_hot_up_to is not None and len(counts) > encoding.one_hot_up_to:
            form = "codes"
        own = form == "one-hot" and missing == "impute" and lacking > 0
        fitted = dataclasses.replace(self, categories=tuple(sorted(counts)), own_missing=own, form=form)
        if encoding.scaling != "robust" or form == "codes":
            return fitted
        sizes = [counts[category] for category in fitted.categories]
        return dataclasses.replace(fitted, scales=tuple(fitted._scales(sizes, lacking)))

    def _scales(self, sizes: Sequence[int], lacking: int) -> Iterator[Robust]:
        """Yield the scaling of each one-hot feature, of as many cells of each category and missing ones."""
        if self.form == "signed" and len(sizes) == 1:
            yield robust_of_counts([-1.0, 1.0], [lacking, *sizes])
        elif self.form == "signed" and len(sizes) == 2:
            yield robust_of_counts([-1.0, 0.0, 1.0], [sizes[1], lacking, sizes[0]])
        else:
            every = sum(sizes) + lacking
            for size in (*sizes, lacking) if self.own_missing else sizes:
                yield robust_of_counts([0.0, 1.0], [every - size, size])

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name for each category: "column=category", of two as one the first; of codes the column's."""
        if self.form == "codes":
            return (self.name,)
        if self.form == "signed" and len(self.categories) <= 2:
            return (f"{self.name}={self.categories[0]}",)
        names = tuple(f"{self.name}={category}" for category in self.categories)
        return (*names, f"{self.name} is missing") if self.own_missing else names

    @property
    def from_text(self) -> bool:
        """Whether the column is to be read as text."""
        return self.cells == "str"

    def read(self, series: polars.Series, rows: np.ndarray) -> polars.Series:
        """Return the cells with null where there is none.

        Text in `MISSING` is no cell, unless it is one of the categories (of a model of an older version).
        """
        if is_text(series) or series.dtype.is_temporal():
            text = text_of(series)
            words = counts_of(text) if self.categories else {}
            hollow = [
                word
                for word in words
                if word is not None and word.strip() in MISSING and word not in self.categories
            ]
            return text.set(text.is_in(hollow), None) if hollow else text
        check_type(series)
        return series.fill_nan(None) if series.dtype.is_float() else series

    @staticmethod
    def gone(cells: polars.Series) -> np.ndarray:
        """Return which cells are missing, (rows,) bool."""
        return cells.is_null().to_numpy() if cells.null_count() else np.zeros(len(cells), dtype=bool)

    @staticmethod
    def bad(cells: polars.Series) -> np.ndarray:
        """Return which cells hold no category, (rows,) bool."""
        gone = Categorical.gone(cells)
        return gone | cells.is_infinite().fill_null(False).to_numpy() if cells.dtype.is_float() else gone

    def complain(
        self,
        series: polars.Series,
        cells: polars.Series,
        missing: str,
        rows: np.ndarray,
        findings: Findings,
        *,
        target: bool = False,
    ) -> None:
        """Raise a `DataError` for the first cell that the policy ``missing`` does not cover."""
        if missing == "drop":
            return
        faults = Categorical.bad(cells)
        if missing in ("mean", "impute"):  # of a target, its rows have been left out
            faults = faults & ~Categorical.gone(cells)
        if not faults.any():
            return
        first = int(np.argmax(faults))
        state = "is missing" if cells[first] is None else f"is infinite ({cells[first]})"
        column = "target" if target else "categorical"
        takes = "leaves out rows without target" if target else "makes missing cells a category"
        impute = "" if cells[first] is not None else f"{use('missing', 'impute')} ({takes}) or "
        raise DataError(
            f"row {rows[first] + 1}, column '{series.name}' {state} in a {column} "
            f"column{other_cells(faults)}: "
            f"correct it, or use {impute}{use('missing', 'drop')} (leaves such rows out)"
        )

    def codes(self, cells: polars.Series) -> np.ndarray:
        """Return each cell's category, int64; -1 where there is no cell, -2 (`UNSEEN`) for a new one."""
        place = {category: index for index, category in enumerate(self.categories)}
        found = (value for value in counts_of(cells) if value is not None)
        codes = {None: -1, **{value: place.get(as_kind(value, self.cells), UNSEEN) for value in found}}
        return np.fromiter(map(codes.__getitem__, cells.to_list()), np.int64, len(cells))

    def known_codes(
        self, cells: polars.Series, rows: np.ndarray, *, remedy: str = "correct it, or train on it"
    ) -> np.ndarray:
        """Return what `codes` gives.

        Raises:
            DataError: a category was not in the training rows.
        """
        codes = self.codes(cells)
        unseen = codes == UNSEEN
        if unseen.any():
            first = int(np.argmax(unseen))
            raise DataError(
                f"row {rows[first] + 1}, column '{self.name}' holds {cells[first]!r}, which no training "
                f"row has{other_cells(unseen)}; known: {shortened(self.categories)}: {remedy}"
            )
        return codes

    def encode(
        self,
        cells: Any,
        rows: np.ndarray,
        findings: Findings,
        *,
        missing: str = "impute",
        unseen: str = "error",
    ) -> np.ndarray:
        """Return the features of shape (rows, features).

        A missing cell gives its own category if there is one, else none, and so does a category that no
        training row has under ``unseen="ignore"``. ``missing`` and ``findings`` concern numbers.
        """
        remedy = f"correct it, train on it, or use {use('unseen', 'ignore')} (takes it for no category)"
        codes = self.codes(cells) if unseen == "ignore" else self.known_codes(cells, rows, remedy=remedy)
        features = features_of(codes, len(self.categories), self.form, self.own_missing)
        return robust(features, *np.asarray(self.scale_values)) if self.scales else features

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the categories (rows,) of codes, in their own type.

        Raises:
            DataError: a code is out of range.
        """
        if codes.size and not (codes.min() >= 0 and codes.max() < len(self.categories)):
            raise DataError(f"a class index is out of range: expected 0 to {len(self.categories) - 1}")
        return _category_array(self.categories)[codes.astype(np.int64)]

    @property
    def scale_values(self) -> tuple[list[float], list[float]]:
        """The centers and the factors of the features."""
        return [scale.center for scale in self.scales], [scale.factor for scale in self.scales]

    @property
    def is_old(self) -> bool:
        """Whether formats before the third can describe the column."""
        return self == Categorical(self.name, self.cells, self.categories)

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        described = {
            "kind": self.kind,
            "name": self.name,
            "cells": self.cells,
            "categories": list(self.categories),
            **({"own_missing": True} if self.own_missing else {}),
            **({} if self.form == "one-hot" else {"form": self.form}),
        }
        pairs = [list(pair) for pair in zip(*self.scale_values, strict=True)]
        return {**described, "scales": pairs} if pairs else described


def features_of(codes: np.ndarray, count: int, form: str, own_missing: bool) -> np.ndarray:
    """Return the features (rows, features) of the codes of a column of ``count`` categories.

    Args:
        codes: (rows,), from 0; below for cells that are none of the categories.
        count: the number of categories.
        form: "one-hot", "signed" or "codes".
        own_missing: whether the code -1 is a category of its own.

    >>> features_of(np.asarray([1, 0, -1]), 2, "signed", False).tolist()
    [[-1.0], [1.0], [0.0]]
    """
    if form == "codes":
        return np.maximum(codes + 1, 0).astype(np.float64)[:, None]
    if form == "signed" and count <= 2:
        second = codes == 1 if count == 2 else codes < 0
        return ((codes == 0).astype(np.float64) - second)[:, None]
    if own_missing:
        codes, count = np.where(codes == -1, count, codes), count + 1
    return (codes[:, None] == np.arange(count)).astype(np.float64)


def as_kind(value: Any, kind: str) -> Any:
    """Return ``value`` as a category of ``kind``, or None if it cannot be one.

    The same category may come in different types from different files: 1, 1.0 and "1" name one
    category of kind "int".
    """
    try:
        if kind == "str":
            return str(value).lower() if isinstance(value, bool) else str(value)
        if kind == "bool":
            return {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        if kind == "float":
            return float(value)
        number = int(value)
    except (ValueError, OverflowError):
        return None
    # whole numbers are not made by cutting off what is behind the point
    return number if isinstance(value, str) or number == value else None


def _category_array(categories: Sequence[Any]) -> np.ndarray:
    """Return categories as an array of their own type; whole numbers beyond 64 bits stay Python's."""
    if isinstance(categories[0], int) and not isinstance(categories[0], bool):
        low, high = min(categories), max(categories)
        if low < -(2**63) or high >= 2**63:
            return np.array(categories, dtype=np.uint64 if low >= 0 and high < 2**64 else object)
    return np.array(categories)
