"""Rows of a table: their cells read by column, and those kept whose cells can be used."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data.columns import Column
from xpnet.data.findings import Findings

if TYPE_CHECKING:
    import polars

__all__ = ["choose_rows", "part_of", "read_columns"]


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
    cells: dict[str, Any] = {}
    for name, column in columns.items():
        with findings.collecting():
            cells[name] = column.read(series[name], numbers)
    return cells


def choose_rows(
    part: polars.DataFrame,
    numbers: np.ndarray,
    columns: Mapping[str, Column],
    cells: Mapping[str, Any],
    missing: str,
    targets: Collection[str],
    findings: Findings,
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the cells of the rows that the policy ``missing`` keeps, and the numbers of these rows.

    Cells that it does not cover are problems of ``findings``.
    """
    series = dict(zip(part.columns, part.get_columns(), strict=True))
    keep = np.ones(part.height, dtype=bool)
    if missing == "drop":
        for name, found in cells.items():
            keep &= ~columns[name].bad(found)
    elif missing != "error":
        keep = _with_targets(cells, columns, targets, keep, findings)
    # of rows that are left out under "impute" and "mean" nothing is told but text in a target
    kept = keep if missing != "drop" else np.ones_like(keep)
    for name, found in cells.items():
        with findings.collecting():
            whole = kept.all() or name in targets
            columns[name].complain(
                series[name] if whole else series[name].filter(kept),
                found if whole else _filtered(found, kept),
                missing,
                numbers if whole else numbers[kept],
                findings,
                target=name in targets,
            )
    if keep.all():
        return dict(cells), numbers
    return {name: _filtered(found, keep) for name, found in cells.items()}, numbers[keep]


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


def _filtered(cells: Any, keep: np.ndarray) -> Any:
    return cells[keep] if isinstance(cells, np.ndarray) else cells.filter(keep)
