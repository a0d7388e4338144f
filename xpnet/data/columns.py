"""Columns as numbers: standardized if they are numeric, one-hot if they are categorical.

A cell is *bad* when it holds nothing that can be encoded: it is missing, NaN, infinite, or text in a numeric
column. The policy ``missing`` says what then happens; see `Encoder`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = [
    "MOSTLY_NUMERIC",
    "SMALL_TABLE",
    "UNSEEN",
    "Categorical",
    "Numeric",
    "column_from_json",
    "kind_of",
]

MOSTLY_NUMERIC = 0.8
"""Text is taken for a numeric column with bad cells if this share of its cells or more are numbers."""

SMALL_TABLE = 50
"""Rows up to which it is not suspicious that each has a category of its own."""

UNSEEN = -2
"""Code of a category that no training row has."""

_MOST_CATEGORIES = 1000
_EXACT = 2**53  # beyond it float64 does not tell neighbouring whole numbers apart


def kind_of(series: polars.Series, *, categorical: bool = False) -> str:
    """Return what the cells of a column are: "number", or categories of kind "str", "int", "float" or "bool".

    Columns of numbers and of booleans are numbers unless ``categorical`` declares otherwise; text is
    numbers where at least 80 % (`MOSTLY_NUMERIC`) of the cells that are there can be read as numbers.

    Raises:
        DataError: the cells are of a type that cannot be encoded, such as dates or lists.
    """
    pl = import_polars()
    dtype = series.dtype
    if dtype == pl.Null or (dtype == pl.String and series.null_count() == len(series)):
        return "number"
    if dtype == pl.String and not categorical:
        cells = series.drop_nulls()
        numbers = np.count_nonzero(~np.isnan(_numbers(cells)))
        return "number" if numbers >= MOSTLY_NUMERIC * len(cells) else "str"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "str"
    _check_type(series)
    if not categorical:
        return "number"
    if dtype == pl.Boolean:
        return "bool"
    whole = dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0)
    return "int" if whole else "float"


@dataclass(frozen=True)
class Numeric:
    """A column of numbers, standardized: z = (x - mean) / std.

    ``std`` is the population standard deviation. A column that is constant in the training rows has
    ``std`` 1, so that those rows give zeros.
    """

    kind: ClassVar[str] = "numeric"
    name: str
    mean: float
    std: float

    @classmethod
    def fit(cls, name: str, cells: np.ndarray) -> Numeric:
        """Take mean and deviation of the cells that are there (not NaN)."""
        present = cells[~np.isnan(cells)]
        if present.size == 0:
            raise DataError(
                f"column '{name}' has no value in {len(cells)} training rows: leave it out with --drop {name}"
            )
        low, high = float(present.min()), float(present.max())
        if low == high:
            return cls(name, low, 1.0)
        # scaled by a power of two, which is exact: huge squares do not overflow, tiny ones do not vanish
        exponent = math.frexp(max(abs(low), abs(high)))[1]
        scaled = np.ldexp(present, -exponent)
        mean, std = math.ldexp(float(scaled.mean()), exponent), math.ldexp(float(scaled.std()), exponent)
        if not 0.0 < std < math.inf or not math.isfinite(mean):
            raise DataError(
                f"column '{name}' cannot be standardized: its values run from {low!r} to {high!r}; rescale it"
            )
        return cls(name, mean, std)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The column's own name."""
        return (self.name,)

    @staticmethod
    def read(series: polars.Series, rows: np.ndarray) -> np.ndarray:
        """Return the cells as float64, with NaN where there is no number."""
        pl = import_polars()
        inexact = np.zeros(len(series), dtype=bool)
        if series.dtype.is_integer():
            wide = series.cast(pl.Int128, strict=False)
            inexact = ((wide > _EXACT) | (wide < -_EXACT)).fill_null(False).to_numpy()
        cells = _numbers(series)
        if series.dtype == pl.String:
            digits = series.str.strip_chars().str.contains(r"^[+-]?[0-9]+$").fill_null(False).to_numpy()
            inexact = digits & (np.abs(cells) > _EXACT)
        if inexact.any():
            first = int(np.argmax(inexact))
            raise DataError(
                f"row {rows[first] + 1}, column '{series.name}' holds {series[first]}: whole numbers beyond "
                f"2**53 are not exact in float64; leave the column out with --drop {series.name}, or take it "
                f"as categories with --categorical {series.name} (a target: with --task classification)"
            )
        return cells

    @staticmethod
    def bad(cells: np.ndarray) -> np.ndarray:
        """Return which cells hold no finite number, (rows,) bool."""
        return ~np.isfinite(cells)

    @staticmethod
    def complain(
        series: polars.Series, cells: np.ndarray, missing: str, rows: np.ndarray, *, target: bool = False
    ) -> None:
        """Raise a `DataError` for the first bad cell that the policy ``missing`` does not cover.

        A cell of the target is never replaced by the mean.
        """
        faults = np.isinf(cells) if missing == "mean" and not target else ~np.isfinite(cells)
        if not faults.any():
            return
        first = int(np.argmax(faults))
        value = series[first]
        where = f"row {rows[first] + 1}, column '{series.name}'"
        column = ("numeric target column" if target else "numeric column") + _others(faults)
        if np.isinf(cells[first]):
            raise DataError(
                f"{where} is infinite ({value}) in a {column}: correct it, or leave such rows out "
                "with --missing drop (an infinite value is never replaced by the mean)"
            )
        state = (
            "is missing"
            if value is None
            else "is NaN"
            if not isinstance(value, str)
            else f"holds text '{value}'"
        )
        remedy = f"{where} {state} in a {column}: correct it, or use --missing drop (leaves such rows out)"
        if not target:
            remedy += " or --missing mean (takes the mean of the training rows)"
            if isinstance(value, str):
                remedy += (
                    f"; if text is meant, declare the column categorical with --categorical {series.name}"
                )
        elif isinstance(value, str):
            remedy += "; if text is meant, use --task classification"
        raise DataError(remedy)

    def encode(self, cells: Any, rows: np.ndarray, *, unseen: str = "error") -> np.ndarray:
        """Return z of shape (rows,); NaN gives 0, which is the mean. ``unseen`` concerns categories alone."""
        with np.errstate(over="ignore"):
            z = (cells - self.mean) / self.std
        if np.isinf(z).any():
            first = int(np.argmax(np.isinf(z)))
            raise DataError(
                f"row {rows[first] + 1}, column '{self.name}': {cells[first]} is too far from the training "
                f"values (mean {self.mean!r}) to be standardized"
            )
        return np.where(np.isnan(z), 0.0, z)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the values (rows,) float64 that `encode` made z of."""
        return z.astype(np.float64) * self.std + self.mean

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        return {"kind": self.kind, "name": self.name, "mean": self.mean, "std": self.std}


@dataclass(frozen=True)
class Categorical:
    """A column of categories, one-hot: one feature for each category of the training rows, in sorted order.

    Attributes:
        name: the column.
        cells: what its categories are: "str", "int", "float" or "bool".
        categories: the categories, sorted (text by code points).
    """

    kind: ClassVar[str] = "categorical"
    name: str
    cells: str
    categories: tuple[Any, ...]

    @classmethod
    def fit(cls, name: str, series: polars.Series, cells: str) -> Categorical:
        """Take the categories of the cells that are there."""
        present = series.drop_nulls()
        categories = sorted({_as_kind(value, cells) for value in present.unique().to_list()})
        return cls(name, cells, tuple(categories))

    def check_feature(self, series: polars.Series) -> None:
        """Raise a `DataError` if the training cells make no useful feature: no category, or too many."""
        name, categories, present = self.name, self.categories, series.drop_nulls()
        if not categories:
            raise DataError(
                f"column '{name}' has no value in {len(series)} training rows: remove it with --drop {name}"
            )
        each_its_own = len(categories) == len(present) > SMALL_TABLE
        if each_its_own or len(categories) > _MOST_CATEGORIES:
            reason = "each row has its own" if each_its_own else f"at most {_MOST_CATEGORIES} are taken"
            raise DataError(
                f"column '{name}' has {len(categories)} categories in {len(present)} rows, "
                f"too many to learn from ({reason}): leave it out with --drop {name}"
            )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name for each category: "column=category"."""
        return tuple(f"{self.name}={category}" for category in self.categories)

    @staticmethod
    def read(series: polars.Series, rows: np.ndarray) -> polars.Series:
        """Return the cells with null where there is none."""
        pl = import_polars()
        if series.dtype in (pl.Categorical, pl.Enum):
            return series.cast(pl.String)
        _check_type(series)
        return series.fill_nan(None) if series.dtype.is_float() else series

    @staticmethod
    def bad(cells: polars.Series) -> np.ndarray:
        """Return which cells hold no category, (rows,) bool."""
        mask = cells.is_null()
        if cells.dtype.is_float():
            mask = mask | cells.is_infinite().fill_null(False)
        return mask.to_numpy()

    @staticmethod
    def complain(
        series: polars.Series, cells: polars.Series, missing: str, rows: np.ndarray, *, target: bool = False
    ) -> None:
        """Raise a `DataError` for the first bad cell that the policy ``missing`` does not cover."""
        faults = Categorical.bad(cells)
        if missing == "mean" and not target:
            faults = faults & cells.is_not_null().to_numpy()
        if not faults.any():
            return
        first = int(np.argmax(faults))
        state = "is missing" if cells[first] is None else f"is infinite ({cells[first]})"
        column = "target" if target else "categorical"
        mean = "" if target or cells[first] is not None else " or --missing mean (gives it no category)"
        raise DataError(
            f"row {rows[first] + 1}, column '{series.name}' {state} in a {column} column{_others(faults)}: "
            f"correct it, or use --missing drop (leaves such rows out){mean}"
        )

    def codes(self, cells: polars.Series) -> np.ndarray:
        """Return each cell's category, int64; -1 where there is no cell, -2 (`UNSEEN`) for a new one."""
        pl = import_polars()
        place = {category: index for index, category in enumerate(self.categories)}
        values = cells.drop_nulls().unique()
        indices = [place.get(_as_kind(value, self.cells), UNSEEN) for value in values.to_list()]
        if not indices:
            return np.full(len(cells), -1)
        new = pl.Series(indices, dtype=pl.Int64)
        return cells.replace_strict(values, new, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()

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
                f"row has{_others(unseen)}; known: {_shortened(self.categories)}: {remedy}"
            )
        return codes

    def encode(self, cells: Any, rows: np.ndarray, *, unseen: str = "error") -> np.ndarray:
        """Return the one-hot code of shape (rows, categories); a missing cell gives zeros alone.

        ``unseen="ignore"`` takes a category that no training row has for missing.
        """
        remedy = "correct it, train on it, or use --unseen ignore (takes it for no category)"
        codes = self.codes(cells) if unseen == "ignore" else self.known_codes(cells, rows, remedy=remedy)
        return (codes[:, None] == np.arange(len(self.categories))).astype(np.float64)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the categories (rows,) of codes, in their own type.

        Raises:
            DataError: a code is out of range.
        """
        if codes.size and not (codes.min() >= 0 and codes.max() < len(self.categories)):
            raise DataError(f"a class index is out of range: expected 0 to {len(self.categories) - 1}")
        return _category_array(self.categories)[codes.astype(np.int64)]

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "cells": self.cells,
            "categories": list(self.categories),
        }


def column_from_json(data: Mapping[str, Any]) -> Numeric | Categorical:
    """Return the column that ``to_json`` described; whatever is wrong raises KeyError or ValueError."""
    name = data["name"]
    if not isinstance(name, str):
        raise TypeError(f"a column's name is {name!r}")
    if data["kind"] == Numeric.kind:
        mean, std = float(data["mean"]), float(data["std"])
        if not (math.isfinite(mean) and 0.0 < std < math.inf):
            raise ValueError(f"column '{name}' has mean {mean} and deviation {std}")
        return Numeric(name, mean, std)
    if data["kind"] != Categorical.kind:
        raise ValueError(f"column '{name}' is of the unknown kind {data['kind']!r}")
    cells, categories = data["cells"], data["categories"]
    kind = {"str": str, "int": int, "float": float, "bool": bool}.get(cells)
    if kind is None or not isinstance(categories, list) or not categories:
        raise ValueError(f"column '{name}' has cells {cells!r} and categories {categories!r}")
    if any(type(category) is not kind for category in categories) or sorted(set(categories)) != categories:
        raise ValueError(f"column '{name}' has categories that are not sorted {cells} values")
    return Categorical(name, cells, tuple(categories))


def _check_type(series: polars.Series) -> None:
    pl = import_polars()
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise DataError(
            f"column '{series.name}' holds {series.dtype} values; expected numbers, text or booleans: "
            f"convert it, or leave it out with --drop {series.name}"
        )


def _numbers(series: polars.Series) -> np.ndarray:
    pl = import_polars()
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    _check_type(series)
    return series.cast(pl.Float64, strict=False).to_numpy()


def _as_kind(value: Any, kind: str) -> Any:
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


def _others(faults: np.ndarray) -> str:
    """Return how many faults there are besides the first one, in brackets; nothing if there is no other."""
    others = int(np.count_nonzero(faults)) - 1
    return f" ({others:,} more such {'cell' if others == 1 else 'cells'})" if others else ""


def _shortened(categories: Sequence[Any], most: int = 20) -> str:
    listed = ", ".join(repr(category) for category in categories[:most])
    return f"{listed}, ... ({len(categories)} in all)" if len(categories) > most else listed


def _category_array(categories: Sequence[Any]) -> np.ndarray:
    """Return categories as an array of their own type; whole numbers beyond 64 bits stay Python's."""
    if isinstance(categories[0], int) and not isinstance(categories[0], bool):
        low, high = min(categories), max(categories)
        if low < -(2**63) or high >= 2**63:
            return np.array(categories, dtype=np.uint64 if low >= 0 and high < 2**64 else object)
    return np.array(categories)
