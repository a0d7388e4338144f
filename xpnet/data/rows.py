"""Rows of a table: their cells read by column, and those kept whose cells can be used."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data.columns import Categorical, Column, Numeric
from xpnet.data.columns.cells import EXACT
from xpnet.data.columns.scaling import Quantile, Robust, robust
from xpnet.data.findings import Findings
from xpnet.data.stacks import stacks
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = [
    "check_columns",
    "choose_rows",
    "encode_ordinary",
    "filtered",
    "part_of",
    "read_columns",
    "whole_columns",
]

_MOST_LISTED, _MOST_NEAR = 20, 1000  # columns that are missing, and others whose names may be meant


def part_of(
    frame: polars.DataFrame, rows: Sequence[int] | np.ndarray | None
) -> tuple[polars.DataFrame, np.ndarray]:
    """Return the chosen rows of a table, and their numbers in it, counted from 0."""
    if rows is None:
        return frame, np.arange(frame.height)
    numbers = np.asarray(rows, dtype=np.int64)
    return frame[numbers], numbers


def read_columns(
    part: polars.DataFrame, numbers: np.ndarray, columns: Mapping[str, Column], findings: Findings
) -> dict[str, Any]:
    """Return the cells of columns; those that cannot be read are problems, and are not among them."""
    series = dict(zip(part.columns, part.get_columns(), strict=True))
    alike: dict[Any, list[str]] = {}
    for name, column in columns.items():
        alike.setdefault(_reader(column, series[name]) or name, []).append(name)
    cells: dict[str, Any] = {}
    for names in alike.values():
        if len(names) > 1 and part.height:
            with Findings().collecting():  # of a problem is told below, of its column alone
                cells.update(
                    zip(names, _read_alike([series[n] for n in names], columns[names[0]]), strict=True)
                )
    for name, column in columns.items():
        if name not in cells:
            with findings.collecting():
                cells[name] = column.read(series[name], numbers)
    return {name: cells[name] for name in columns if name in cells}


def _reader(column: Column, series: polars.Series) -> tuple[Any, ...] | None:
    """Return what is the same for columns that read a cell alike; None where it depends on other cells."""
    if isinstance(column, Categorical) or (isinstance(column, Numeric) and column.reads_words(series)):
        return None
    return type(column), column.notation if isinstance(column, Numeric) else column.form, series.dtype


def _read_alike(series: Sequence[polars.Series], column: Column) -> Iterator[np.ndarray]:
    """Yield the cells of columns that one of them reads alike."""
    for some, cells in stacks(series):
        read: Any = column.read(cells, np.arange(len(cells)))
        yield from read.reshape(len(some), -1)


def whole_columns(columns: Mapping[str, Column], cells: Mapping[str, Any]) -> set[str]:
    """Return the columns of which each cell holds something that can be encoded, without losing digits."""
    numbers = [
        name for name in cells if isinstance(cells[name], np.ndarray) and cells[name].dtype.kind == "f"
    ]
    others = cells.keys() - set(numbers)
    whole = {name for name in others if not columns[name].bad(cells[name]).any()}
    start = 0
    for some, block in stacks([cells[name] for name in numbers]):
        sound = (np.abs(block) < EXACT).all(axis=1)  # no NaN is; larger ones may have lost digits
        whole.update(itertools.compress(numbers[start : start + len(some)], sound))
        start += len(some)
    return whole


def choose_rows(
    part: polars.DataFrame,
    numbers: np.ndarray,
    columns: Mapping[str, Column],
    cells: Mapping[str, Any],
    missing: str,
    targets: Collection[str],
    findings: Findings,
    whole: Collection[str] = (),
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the cells of the rows that the policy ``missing`` keeps, and the numbers of these rows.

    Cells that it does not cover are problems of ``findings``, and their columns not among those returned;
    columns that are known to be `whole_columns` have none.
    """
    keep = np.ones(part.height, dtype=bool)
    doubtful = {name: found for name, found in cells.items() if name not in whole}
    if missing == "drop":
        for name, found in doubtful.items():
            keep &= ~columns[name].bad(found)
    elif missing != "error":
        keep = _with_targets(doubtful, columns, targets, keep, findings)
    # of rows that are left out under "impute" and "mean" nothing is told but text in a target
    kept = keep if missing != "drop" else np.ones_like(keep)
    series = dict(zip(part.columns, part.get_columns(), strict=True)) if doubtful else {}
    cells = dict(cells)
    for name, found in doubtful.items():
        problems = len(findings.problems)
        with findings.collecting():
            every = kept.all() or name in targets
            columns[name].complain(
                series[name] if every else series[name].filter(kept),
                found if every else filtered(found, kept),
                missing,
                numbers if every else numbers[kept],
                findings,
                target=name in targets,
            )
        if len(findings.problems) > problems:
            del cells[name]
    if keep.all():
        return cells, numbers
    return {name: filtered(found, keep) for name, found in cells.items()}, numbers[keep]


def _with_targets(
    cells: Mapping[str, Any],
    columns: Mapping[str, Column],
    targets: Collection[str],
    keep: np.ndarray,
    findings: Findings,
) -> np.ndarray:
    """Return which rows have all their targets, and note how many have not."""
    for name in targets:
        if name not in cells:
            continue
        gone = columns[name].gone(cells[name])
        if gone.any():
            lacking = int(np.count_nonzero(gone))
            findings.decide(
                name, "is a target that is missing in rows, which are left out",
                f"{lacking:,} of {len(gone):,} rows", cells=lacking,
            )  # fmt: skip
        keep = keep & ~gone
    return keep


def check_columns(needed: Sequence[str], found: Sequence[str]) -> None:
    """Raise a `DataError` for columns that a table does not have; it names those that may be meant."""
    there, wanted = set(found), set(needed)  # of perhaps 100,000 columns
    lacking = [name for name in needed if name not in there]
    if not lacking:
        return
    others = [name for name in found if name not in wanted][:_MOST_NEAR]
    listed = []
    for name in lacking[:_MOST_LISTED]:
        near = difflib.get_close_matches(name, others, n=1)
        listed.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    raise DataError(
        f"the table lacks {len(lacking)} of the {len(needed)} columns that the model was trained on: "
        f"{', '.join(listed)}{', ...' if len(lacking) > len(listed) else ''}; rename or add them"
    )


def filtered(cells: Any, keep: np.ndarray) -> Any:
    """Return the cells of the rows that are kept."""
    if keep.all():
        return cells
    return cells[keep] if isinstance(cells, np.ndarray) else cells.filter(keep)


def encode_ordinary(columns: Sequence[Column], cells: Mapping[str, Any], X: np.ndarray) -> set[str]:
    """Scale columns of numbers whose cells are all there and within limits into X, many at a time.

    Args:
        columns: the columns of which X (rows, features) has the features, in their order.
        cells: those of the columns, by name.

    Returns:
        The columns that are done; the others are to be encoded one by one.
    """
    places, numeric, place = [], [], 0
    for column in columns:
        if (
            isinstance(column, Numeric)
            and not (column.indicator or isinstance(column.scaling, Quantile))
            and column.limits
            and column.name in cells
        ):
            numeric.append(column)
            places.append(place)
        place += len(column.feature_names)
    done: set[str] = set()
    start = 0
    for some, block in stacks([cells[column.name] for column in numeric]):
        chunk, at = numeric[start : start + len(some)], np.asarray(places[start : start + len(some)])
        start += len(some)
        low, high = np.asarray([column.limits for column in chunk], dtype=np.float64).T[..., None]
        ordinary = ((block >= low) & (block <= high)).all(axis=1)
        z = _scaled(block, chunk)
        ordinary &= np.isfinite(z).all(axis=1)
        X[:, at[ordinary]] = z[ordinary].T
        done.update(column.name for column in itertools.compress(chunk, ordinary))
    return done


def _scaled(block: np.ndarray, columns: Sequence[Numeric]) -> np.ndarray:
    """Return z of cells (columns, rows), standardized or with the robust scaling."""
    mean, std = np.asarray([(column.mean, column.std) for column in columns]).T[..., None]
    with np.errstate(over="ignore", invalid="ignore"):
        z: np.ndarray = (block - mean) / std
    found = [(i, column.scaling) for i, column in enumerate(columns) if isinstance(column.scaling, Robust)]
    if found:
        chosen = [i for i, _ in found]
        told = np.asarray([(scaling.center, scaling.factor) for _, scaling in found])
        z[chosen] = robust(block[chosen], *told.T[..., None])
    return z
